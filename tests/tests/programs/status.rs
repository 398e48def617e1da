//! What somebody sees who is called because something failed: where to look, and what to do next.

use std::path::PathBuf;
use std::process::Output;

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, Group, OnFailure, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::{until, until_true};

use crate::expect::{contains, failed_in, page, succeeded};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn ends_with(output: &Output, code: i32) -> Result<String> {
    let said = said(output);
    ensure!(output.status.code() == Some(code), "it ended with {} and not {code}:\n{said}", output.status);
    Ok(said)
}

/// A host without a service to which a revision is deployed as some group of some application.
struct Shop<'a> {
    host: Agent<'a>,
    place: &'a Place,
}

impl Shop<'_> {
    fn deploy(&self, [group, name, application]: [&str; 3], page: &str, check: &str) -> Result<(String, Output)> {
        let directory = self.place.directory(&format!("{group}-{page}"))?;
        app(&self.app(group), page, &[Hook::new("ValidateService", check)]).write(&directory)?;
        let location = directory.display().to_string();
        let words = ["deploy-local", "-l", &location, "-g", group, "-d", name, "-a", application];
        let output = self.host.output(&words)?;
        let said = said(&output);
        let id = said.split_whitespace().find(|word| word.starts_with("d-") && word.ends_with("-local"));
        Ok((id.unwrap_or_default().to_owned(), output))
    }

    fn app(&self, group: &str) -> PathBuf {
        self.place.path().join(group)
    }
}

#[test]
fn a_failure_is_the_first_thing_that_status_says_with_what_to_do_next() -> Result<()> {
    scenario(|place| {
        let shop = Shop { host: Agent::alone(place, "web-1")?, place };
        let blue = ["blue", "Production", "shop"];
        let (first, output) = shop.deploy(blue, "one", "true")?;
        ends_with(&output, 0)?;
        let (second, output) = shop.deploy(blue, "two", "echo oh no; exit 7")?;
        ends_with(&output, 1)?;
        let output = shop.host.output(&["status"])?;
        // No daemon runs.
        let text = ends_with(&output, 3)?;
        ensure!(
            text.starts_with(&format!("FAILED  {second} to group blue (shop, Production): ValidateService")),
            "{text}"
        );
        let first_part = text.split("\n\n").next().unwrap_or_default();
        let rollback = format!("goes back to {first}");
        let logs = format!("slipway-agent logs {second}");
        let parts = ["script ", " ago (20", "exit code 7", &logs, "slipway-agent rollback --group blue", &rollback];
        contains(first_part, &parts)?;
        let json = shop.host.status()?;
        let problem = &json["problems"][0];
        ensure!(problem["problem"] == "deployment_failed" && problem["deployment"] == second.as_str(), "{json:#}");
        ensure!(problem["event"] == "ValidateService" && problem["rollback_to"] == first.as_str(), "{json:#}");
        ensure!(json["problems"][1]["problem"] == "no_daemon", "{json:#}");
        // Another group's status is another group's, and what it says is what can be typed.
        shop.deploy(["green", "Canary", "other"], "one", "true")?;
        let text = ends_with(&shop.host.output(&["status", "-g", "Canary"])?, 3)?;
        ensure!(!text.contains("FAILED") && text.contains("Group green") && !text.contains("Group blue"), "{text}");
        ends_with(&shop.host.output(&["rollback", "--group", "blue"])?, 0)?;
        ensure!(page(&shop.app("blue"))? == "one");
        let text = ends_with(&shop.host.output(&["status"])?, 3)?;
        ensure!(!text.contains("FAILED"), "what was mended is no failure any more:\n{text}");
        Ok(())
    })
}

#[test]
fn a_failure_before_install_says_what_is_still_installed() -> Result<()> {
    scenario(|place| {
        let shop = Shop { host: Agent::alone(place, "web-1")?, place };
        let blue = ["blue", "Production", "shop"];
        let (first, _) = shop.deploy(blue, "one", "true")?;
        let directory = place.directory("broken")?;
        std::fs::write(directory.join("appspec.yml"), "version: 0.0\nos: linux\nfiles: 7\n")?;
        let output = shop.host.output(&["deploy-local", "-l", &directory.display().to_string(), "-g", "blue"])?;
        ends_with(&output, 1)?;
        let text = ends_with(&shop.host.output(&["status"])?, 3)?;
        contains(&text, &["FAILED", ": DownloadBundle", &format!("{first} is installed")])?;
        ensure!(!text.contains("slipway-agent rollback"), "there is nothing to go back from:\n{text}");
        // There is no output, and the reason is told in its place.
        let logs = ends_with(&shop.host.output(&["logs"])?, 0)?;
        contains(
            &logs,
            &["FAILED in DownloadBundle", "No script of", "DownloadBundle failed: ", "the AppSpec has mistakes"],
        )
    })
}

#[test]
fn the_exit_status_tells_a_fine_host_from_one_that_fails_and_one_without_a_daemon() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        until_true("polls to be answered", PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"]["connection"]["state"] == "connected")
        })?;
        let version =
            |page: &str, check: &str| app(&place.path().join("app"), page, &[Hook::new("ValidateService", check)]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &version("one", "true"), BundleKind::Tgz)?)?)?;
        ends_with(&fleet.agent.output(&["status"])?, 0)?;
        ends_with(&fleet.agent.output(&["status", "--json"])?, 0)?;
        let bad = fleet.group.deploy(&fleet.group.push("v2", &version("two", "exit 3"), BundleKind::Tgz)?)?;
        failed_in(&bad, "ValidateService")?;
        contains(&ends_with(&fleet.agent.output(&["status"])?, 1)?, &["FAILED", &bad.id, "exit code 3"])?;
        ends_with(&fleet.agent.output(&["status", "--json"])?, 1)?;
        succeeded(&fleet.group.deploy(&fleet.group.push("v3", &version("three", "true"), BundleKind::Tgz)?)?)?;
        ends_with(&fleet.agent.output(&["status"])?, 0)?;
        fleet.control.kill()?;
        let text = until("status to say that polls fail", PATIENCE, || {
            let output = fleet.agent.output(&["status"])?;
            Ok((output.status.code() == Some(1)).then(|| said(&output)))
        })?;
        ensure!(text.starts_with("FAILED  polls of the service"), "{text}");
        contains(&text, &["in a row since", "slipway-agent doctor"])?;
        fleet.agent.stop()?;
        ends_with(&fleet.agent.output(&["status"])?, 3)?;
        Ok(())
    })
}

#[test]
fn groups_are_found_by_id_by_name_and_by_application() -> Result<()> {
    scenario(|place| {
        let shop = Shop { host: Agent::alone(place, "web-1")?, place };
        let host = &shop.host;
        let nothing = ends_with(&host.output(&["rollback", "-g", "blue"])?, 1)?;
        contains(&nothing, &["\"blue\"", "nothing has been deployed"])?;
        shop.deploy(["blue", "Production", "shop"], "one", "true")?;
        shop.deploy(["blue", "Production", "shop"], "two", "true")?;
        shop.deploy(["green", "Canary", "shop"], "one", "true")?;
        shop.deploy(["red", "Canary", "other"], "one", "true")?;

        for (name, groups) in [("blue", 1), ("Production", 1), ("shop", 2), ("Canary", 2), ("other", 1)] {
            let shown = ends_with(&host.output(&["drift", "-g", name])?, 0)?;
            ensure!(shown.lines().count() == groups, "{name}: {shown}");
            let past = ends_with(&host.output(&["history", "--group", name])?, 0)?;
            let found = ["blue", "green", "red"].into_iter().filter(|group| past.contains(&format!("group {group} ")));
            ensure!(found.count() == groups, "{name}: {past}");
            ends_with(&host.output(&["logs", "--group", name])?, 0)?;
            ends_with(&host.output(&["logs", name])?, 0)?;
        }
        ends_with(&host.output(&["rollback", "--group", "Production"])?, 0)?;
        ensure!(page(&shop.app("blue"))? == "one");
        // What changes something has to know which group is meant.
        for words in [["rollback", "-g", "shop"], ["forget", "-g", "shop"]] {
            let two = ends_with(&host.output(&words)?, 1)?;
            contains(&two, &["\"shop\" stands for 2", "blue", "green", "Canary"])?;
        }
        let all: [(&[&str], i32); 7] = [
            (&["history", "-g", "shp"], 1),
            (&["rollback", "-g", "shp"], 1),
            (&["forget", "-g", "shp"], 1),
            (&["drift", "-g", "shp"], 2),
            (&["status", "-g", "shp"], 1),
            (&["logs", "-g", "shp"], 1),
            (&["logs", "shp"], 1),
        ];
        for (words, code) in all {
            contains(&ends_with(&host.output(words)?, code)?, &["\"shp\"", "blue", "green", "red"])?;
        }
        let to = ends_with(&host.output(&["rollback", "-g", "blue", "--to", "d-NONE"])?, 1)?;
        contains(&to, &["d-NONE", "current", "good"])
    })
}

#[test]
fn logs_says_which_deployment_it_shows_and_finds_the_one_that_failed() -> Result<()> {
    scenario(|place| {
        let shop = Shop { host: Agent::alone(place, "web-1")?, place };
        let blue = ["blue", "Production", "shop"];
        let (first, _) = shop.deploy(blue, "one", "echo all is well")?;
        let none = ends_with(&shop.host.output(&["logs", "--failed"])?, 1)?;
        contains(&none, &["no deployment has failed", &first])?;
        let (second, _) = shop.deploy(blue, "two", "echo oh no; exit 7")?;
        ends_with(&shop.host.output(&["rollback", "-g", "blue"])?, 0)?;
        let newest = ends_with(&shop.host.output(&["logs"])?, 0)?;
        let heading = newest.lines().next().unwrap_or_default();
        contains(heading, &["Deployment d-", "-local to group blue (shop, Production): succeeded"])?;
        contains(&newest, &["[stdout]all is well", &format!("before it, {second}, FAILED in ValidateService")])?;
        contains(&newest, &[&format!("slipway-agent logs {second}")])?;
        ensure!(!newest.contains("oh no"), "{newest}");
        let failed = ends_with(&shop.host.output(&["logs", "--failed"])?, 0)?;
        contains(
            &failed,
            &[&format!("Deployment {second} "), "FAILED in ValidateService", "[stdout]oh no", "exit code 7"],
        )?;
        let of_group = ends_with(&shop.host.output(&["logs", "--failed", "-g", "blue"])?, 0)?;
        contains(&of_group, &[&format!("Deployment {second} "), "[stdout]oh no"])?;
        contains(
            &ends_with(&shop.host.output(&["logs", &first])?, 0)?,
            &[&format!("Deployment {first} "), "all is well"],
        )
    })
}

#[test]
fn after_an_automatic_rollback_logs_points_to_what_failed() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let group = Group::create(&fleet.control, &fleet.api, "green", OnFailure::RollBack)?;
        let mut host = Agent::register(place, &fleet.control, "web-2", &["green"])?;
        host.start()?;
        let version =
            |page: &str, check: &str| app(&place.path().join("app"), page, &[Hook::new("ValidateService", check)]);
        succeeded(&group.deploy(&group.push("v1", &version("one", "echo fine"), BundleKind::Tgz)?)?)?;
        let bad = group.deploy(&group.push("v2", &version("two", "echo oh no; exit 3"), BundleKind::Tgz)?)?;
        failed_in(&bad, "ValidateService")?;
        let back = until("the rollback to begin", PATIENCE, || {
            let info = slipway_tests::deployment::info(&fleet.api, &bad.id)?;
            Ok(info["rollbackInfo"]["rollbackDeploymentId"].as_str().map(str::to_owned))
        })?;
        succeeded(&finish(&fleet.api, &back, PATIENCE)?)?;
        let newest = ends_with(&host.output(&["logs"])?, 0)?;
        contains(
            &newest,
            &[&format!("Deployment {back} "), "[stdout]fine", &format!("before it, {}, FAILED", bad.id)],
        )?;
        contains(&ends_with(&host.output(&["logs", "--failed"])?, 0)?, &[&bad.id, "[stdout]oh no"])
    })
}

#[test]
fn a_host_that_went_back_by_itself_shows_what_failed_first() -> Result<()> {
    scenario(|place| {
        let shop = Shop { host: Agent::alone(place, "web-1")?, place };
        shop.host.configure("20-restore.yml", "on_failure: restore\n")?;
        let blue = ["blue", "Production", "shop"];
        shop.deploy(blue, "one", "echo fine")?;
        let (failed, _) = shop.deploy(blue, "two", "echo oh no; exit 3")?;
        ensure!(page(&shop.app("blue"))? == "one");
        let shown = ends_with(&shop.host.output(&["logs"])?, 0)?;
        contains(
            &shown,
            &[&format!("Deployment {failed} "), "[stdout]oh no", &format!("slipway-agent logs {failed}-restore")],
        )?;
        let back = ends_with(&shop.host.output(&["logs", &format!("{failed}-restore")])?, 0)?;
        contains(&back, &["[stdout]fine", &format!("before it, {failed}, FAILED")])
    })
}
