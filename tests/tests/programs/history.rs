//! What a host tells of its deployments afterwards, and while they run.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::scenario;
use slipway_tests::program::Program;
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::{until, until_true};

use crate::expect::{contains, failed_in, succeeded};

fn done(output: Output) -> Result<String> {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "it ended with {}:\n{said}", output.status);
    Ok(said)
}

fn history(agent: &Agent<'_>, arguments: &[&str]) -> Result<Vec<Value>> {
    let arguments = [&["history", "--json"], arguments].concat();
    let report: Value = serde_json::from_str(&done(agent.output(&arguments)?)?)?;
    Ok(report["deployments"].as_array().context("a list of deployments")?.clone())
}

#[test]
fn deployments_of_the_service_and_of_the_host_are_remembered() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        ensure!(done(fleet.agent.output(&["history"])?)?.contains("No deployment has happened"));
        let destination = place.path().join("app");
        let good = app(&destination, "one", &[Hook::new("AfterInstall", "true")]);
        let bad = app(&destination, "two", &[Hook::new("AfterInstall", "echo oh no; exit 7")]);
        let first = fleet.group.deploy(&fleet.group.push("v1", &good, BundleKind::Tgz)?)?;
        succeeded(&first)?;
        let second = fleet.group.deploy(&fleet.group.push("v2", &bad, BundleKind::Tgz)?)?;
        failed_in(&second, "AfterInstall")?;
        let local = place.directory("local")?;
        app(&place.path().join("elsewhere"), "page", &[]).write(&local)?;
        done(fleet.agent.output(&["deploy-local", "-l", &local.display().to_string(), "-g", "mine"])?)?;
        done(fleet.agent.output(&["deploy-local", "-l", &local.display().to_string(), "-g", "mine"])?)?;
        done(fleet.agent.output(&["rollback", "-g", "mine"])?)?;

        let all = until("the last report to be accepted", PATIENCE, || {
            let all = history(&fleet.agent, &[])?;
            let is_reported = all.iter().all(|past| {
                let events = past["events"].as_array().into_iter().flatten();
                events.into_iter().all(|event| event["report"] != "waiting")
            });
            Ok(is_reported.then_some(all))
        })?;
        ensure!(all.len() == 5, "{all:#?}");
        ensure!(all[3]["deployment"] == second.id.as_str() && all[4]["deployment"] == first.id.as_str(), "{all:#?}");
        ensure!(all[3]["outcome"] == "failed" && all[4]["outcome"] == "succeeded", "{all:#?}");
        ensure!(all[3]["cause"].as_str().is_some_and(|cause| cause.starts_with("AfterInstall: ")), "{}", all[3]);
        for past in &all[..3] {
            ensure!(past["group"] == "mine" && past["outcome"] == "succeeded", "{past}");
            let install = past["events"].as_array().into_iter().flatten().find(|event| event["name"] == "Install");
            let install = install.with_context(|| format!("no Install in {past}"))?;
            ensure!(install["report"] == "local" && install["seconds"].is_f64(), "{install}");
        }
        ensure!(history(&fleet.agent, &["--group", "mine"])?.len() == 3);
        let text = done(fleet.agent.output(&["history"])?)?;
        contains(&text, &[&first.id, &second.id, "group mine", "FAILED", "AfterInstall: "])
    })
}

#[test]
fn the_output_of_scripts_is_shown_and_followed() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let none = fleet.agent.output(&["logs"])?;
        ensure!(none.status.code() == Some(1));
        contains(&String::from_utf8_lossy(&none.stderr), &["no deployment has happened"])?;
        let destination = place.path().join("app");
        let quiet = fleet.group.deploy(&fleet.group.push("v0", &app(&destination, "page", &[]), BundleKind::Tgz)?)?;
        succeeded(&quiet)?;
        contains(&done(fleet.agent.output(&["logs"])?)?, &["No script of", &quiet.id])?;

        let go_on = place.path().join("go-on");
        let hook = format!("echo first words\nuntil [ -e {} ]; do sleep 0.05; done\necho last words", go_on.display());
        let revision = app(&destination, "page", &[Hook::new("AfterInstall", &hook)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        let root = fleet.agent.root();
        until_true("the hook to begin", PATIENCE, || Ok(root.join(format!(".slipway/hooks/{id}")).exists()))?;
        let follower = Program::start(place, "follower", &mut fleet.agent.command(&["logs", "-f", &id])?)?;
        until_true("the first words", PATIENCE, || Ok(follower.log_text().contains("[stdout]first words")))?;
        ensure!(!follower.log_text().contains("last words"));
        std::fs::write(&go_on, "")?;
        until_true("the last words", PATIENCE, || Ok(follower.log_text().contains("[stdout]last words")))?;
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)?;
        // The service knows of the end a moment before the agent has put down that it does.
        let newest = until("the agent to know the end", PATIENCE, || {
            let shown = done(fleet.agent.output(&["logs"])?)?;
            Ok(Some(shown).filter(|shown| shown.lines().next().is_some_and(|line| line.contains("succeeded"))))
        })?;
        contains(&newest, &["LifecycleEvent - AfterInstall", "[stdout]first words", "[stdout]last words"])?;
        let (followed, lines) = (follower.log_text(), newest.lines().skip(1));
        ensure!(lines.eq(followed.lines().skip(1)), "{newest}\n{followed}");
        for (heading, standing) in [(&newest, "succeeded"), (&followed, "in AfterInstall")] {
            contains(heading.lines().next().unwrap_or_default(), &[&id, standing])?;
        }
        let unknown = fleet.agent.output(&["logs", "d-NOBODY"])?;
        ensure!(unknown.status.code() == Some(1));
        // What there is.
        contains(&String::from_utf8_lossy(&unknown.stderr), &["d-NOBODY", "slipway-agent history", &id, &quiet.id])
    })
}

/// A deployment of the service waits for a local one to the same group, until somebody ends that.
#[test]
fn who_waits_says_for_whom() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let page = app(&destination, "page", &[]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &page, BundleKind::Tgz)?)?)?;
        let group = fleet.agent.status()?["groups"][0]["id"].as_str().context("a group has an id")?.to_owned();

        let began = place.path().join("began");
        let held = format!("touch {}\nwhile true; do sleep 0.05; done", began.display());
        let directory = place.directory("local")?;
        app(&destination, "local", &[Hook::new("BeforeInstall", &held)]).write(&directory)?;
        let location = directory.display().to_string();
        let mut command = fleet.agent.command(&["deploy-local", "-l", &location, "-g", &group])?;
        let mut local = Program::start(place, "deploy-local", &mut command)?;
        until_true("the local hook to begin", PATIENCE, || Ok(began.exists()))?;
        let running = history(&fleet.agent, &[])?[0].clone();
        let holder = running["deployment"].as_str().context("the local deployment")?.to_owned();
        ensure!(holder.ends_with("-local") && running["outcome"] == "running", "{running}");

        let id = fleet.group.begin(&fleet.group.push("v2", &page, BundleKind::Tgz)?)?;
        until_true("status to say who is waited for", PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"]["running"][0]["behind"] == holder.as_str())
        })?;
        let text = done(fleet.agent.output(&["status"])?)?;
        contains(&text, &["queued", &id, &format!("behind {holder}")])?;

        let cancelled = done(fleet.agent.output(&["cancel", &holder, "--reason", "in the way"])?)?;
        contains(&cancelled, &["Told whoever deploys"])?;
        let ended = until("the local deployment to end", PATIENCE, || local.ended())?;
        ensure!(ended.code() == Some(1), "{ended}: {}", local.log_text());
        contains(&local.log_text(), &["cancelled on this host", "in the way"])?;
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)?;
        ensure!(
            history(&fleet.agent, &[])?
                .iter()
                .any(|past| past["deployment"] == holder.as_str() && past["outcome"] == "failed")
        );
        Ok(())
    })
}

/// One that waits can be cancelled, too: nothing of it is begun.
#[test]
fn who_waits_can_be_cancelled() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let page = app(&destination, "page", &[]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &page, BundleKind::Tgz)?)?)?;
        let group = fleet.agent.status()?["groups"][0]["id"].as_str().context("a group has an id")?.to_owned();
        let (began, go_on) = (place.path().join("began"), place.path().join("go-on"));
        let held = format!("touch {}\nuntil [ -e {} ]; do sleep 0.05; done", began.display(), go_on.display());
        let directory = place.directory("local")?;
        app(&destination, "local", &[Hook::new("BeforeInstall", &held)]).write(&directory)?;
        let location = directory.display().to_string();
        let mut command = fleet.agent.command(&["deploy-local", "-l", &location, "-g", &group])?;
        let mut local = Program::start(place, "deploy-local", &mut command)?;
        until_true("the local hook to begin", PATIENCE, || Ok(began.exists()))?;
        let id = fleet.group.begin(&fleet.group.push("v2", &page, BundleKind::Tgz)?)?;
        until_true("the deployment to wait", PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"]["running"][0]["behind"].is_string())
        })?;
        done(fleet.agent.output(&["cancel", &id])?)?;
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        contains(&failed_in(&finished, "DownloadBundle")?, &["nothing was begun", "cancelled on this host"])?;
        std::fs::write(&go_on, "")?;
        let ended = until("the local deployment to end", PATIENCE, || local.ended())?;
        ensure!(ended.success(), "{}", local.log_text());
        Ok(())
    })
}
