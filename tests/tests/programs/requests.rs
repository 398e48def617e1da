//! What operators ask a host for while deployments run on it: to end one, and to take no new ones.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::deployment::{events, finish};
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, failed_in, lines, succeeded};

/// An application whose hooks wait in BeforeInstall until somebody lets them go on.
struct Held {
    began: PathBuf,
    go_on: PathBuf,
    ran: PathBuf,
}

impl Held {
    fn new(place: &Place) -> Self {
        let file = |name: &str| place.path().join(name);
        Self { began: file("began"), go_on: file("go-on"), ran: file("ran") }
    }

    fn revision(&self, destination: &Path) -> Revision {
        let ran = format!("echo $LIFECYCLE_EVENT >> {}", self.ran.display());
        let held = format!(
            "{ran}\ntouch {}\nuntil [ -e {} ]; do sleep 0.05; done",
            self.began.display(),
            self.go_on.display()
        );
        app(destination, "page", &[Hook::new("BeforeInstall", &held), Hook::new("AfterInstall", &ran)])
    }

    fn until_begun(&self) -> Result<()> {
        until_true("the hook to begin", PATIENCE, || Ok(self.began.exists()))
    }
}

/// What a command of the command line said, and how it ended.
fn said(agent: &Agent<'_>, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = agent.output(arguments)?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), text))
}

#[test]
fn a_cancelled_deployment_ends_its_hook_and_says_who_wanted_that() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let held = Held::new(place);
        let revision = held.revision(&place.path().join("app"));
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        held.until_begun()?;
        let (code, text) = said(&fleet.agent, &["cancel", &id, "--reason", "the wrong build"])?;
        ensure!(code == Some(0), "{text}");
        contains(&text, &["Told the daemon", &id])?;
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        contains(&failed_in(&finished, "BeforeInstall")?, &["cancelled on this host", "uid", "the wrong build"])?;
        ensure!(lines(&held.ran) == 1, "what came after the hook ran");
        let (_, status) = said(&fleet.agent, &["status"])?;
        contains(&status, &["cancelled", &id, "the wrong build"])?;
        // The next deployment is another one.
        std::fs::write(&held.go_on, "")?;
        succeeded(&fleet.group.deploy(&fleet.group.push("v2", &revision, BundleKind::Tgz)?)?)?;
        let (code, text) = said(&fleet.agent, &["cancel", "--undo", &id])?;
        ensure!(code == Some(0), "{text}");
        ensure!(fleet.agent.status()?["cancelled"].as_array().is_some_and(Vec::is_empty));
        let (code, text) = said(&fleet.agent, &["cancel", "--undo", &id])?;
        ensure!(code == Some(1), "{text}");
        Ok(())
    })
}

#[test]
fn a_deployment_is_cancelled_when_the_daemon_starts() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let held = Held::new(place);
        let revision = held.revision(&place.path().join("app"));
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        held.until_begun()?;
        fleet.agent.kill()?;
        let (code, text) = said(&fleet.agent, &["cancel", &id])?;
        ensure!(code == Some(0), "{text}");
        contains(&text, &["No daemon runs on this root"])?;
        fleet.agent.start()?;
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        contains(&failed_in(&finished, "BeforeInstall")?, &["cancelled on this host"])
    })
}

#[test]
fn what_comes_after_a_cancel_fails_at_once() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let held = Held::new(place);
        let revision = held.revision(&place.path().join("app"));
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        held.until_begun()?;
        fleet.agent.kill()?;
        // The hook has succeeded when the daemon looks; its true result is reported.
        std::fs::write(&held.go_on, "")?;
        let exit = fleet.agent.root().join(format!(".slipway/hooks/{id}/BeforeInstall-0/exit.json"));
        until_true("the hook to end", PATIENCE, || Ok(exit.exists()))?;
        ensure!(said(&fleet.agent, &["cancel", &id, "--reason", "enough"])?.0 == Some(0));
        fleet.agent.start()?;
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        ensure!(finished.event("BeforeInstall")?.status == "Succeeded", "{:?}", finished.events);
        contains(&failed_in(&finished, "Install")?, &["nothing was begun", "cancelled on this host", "enough"])?;
        ensure!(!place.path().join("app").exists(), "something was installed");
        Ok(())
    })
}

#[test]
fn a_deployment_that_nobody_knows_is_not_cancelled() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let (code, text) = said(&fleet.agent, &["cancel", "d-NOBODY"])?;
        ensure!(code == Some(1), "{text}");
        contains(&text, &["nothing of d-NOBODY is known here"])?;
        ensure!(!fleet.agent.root().join(".slipway/requests/cancel-d-NOBODY").exists());
        ensure!(said(&fleet.agent, &["cancel", "../x"])?.0 == Some(2));
        Ok(())
    })
}

#[test]
fn a_paused_host_takes_nothing_until_it_is_resumed() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let mut other = Agent::register(place, &fleet.control, "web-2", &["blue"])?;
        other.start()?;
        ensure!(said(&fleet.agent, &["resume"])?.1.contains("Not paused"));
        let (code, text) = said(&fleet.agent, &["pause", "--reason", "new disks"])?;
        ensure!(code == Some(0), "{text}");
        until_true("the daemon to pause", PATIENCE, || Ok(fleet.agent.status()?["daemon"]["paused"].is_object()))?;
        let paused = fleet.agent.status()?["paused"].clone();
        ensure!(paused["reason"] == "new disks" && paused["at"].is_string(), "{paused}");
        // It stays so over a restart, and a second wish is not the first one.
        fleet.agent.kill()?;
        ensure!(said(&fleet.agent, &["pause"])?.1.contains("Paused already"));
        fleet.agent.start()?;
        // Both hosts are this machine, so nothing is installed.
        let hooks = "version: 0.0\nos: linux\nhooks:\n  ValidateService:\n    - location: scripts/check.sh\n";
        let revision = Revision::with_appspec(hooks).script("scripts/check.sh", "true");
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the other host to be through", PATIENCE, || {
            let events = events(&fleet.api, &id)?;
            Ok(events
                .iter()
                .any(|event| event.host == "web-2" && event.name == "ValidateService" && event.status == "Succeeded"))
        })?;
        let own: Vec<_> = events(&fleet.api, &id)?.into_iter().filter(|event| event.host == "web-1").collect();
        ensure!(!own.is_empty() && own.iter().all(|event| event.status == "Pending"), "{own:?}");
        let text = said(&fleet.agent, &["status"])?.1;
        contains(&text, &["PAUSED", "new disks", "uid"])?;
        fleet.agent.program().context("it runs")?.must_run()?;
        ensure!(said(&fleet.agent, &["resume"])?.0 == Some(0));
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)?;
        ensure!(fleet.agent.status()?["paused"].is_null());
        Ok(())
    })
}

#[test]
fn what_runs_goes_on_while_a_host_is_paused() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let held = Held::new(place);
        let revision = held.revision(&place.path().join("app"));
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        held.until_begun()?;
        ensure!(said(&fleet.agent, &["pause"])?.0 == Some(0));
        until_true("the daemon to pause", PATIENCE, || Ok(fleet.agent.status()?["daemon"]["paused"].is_object()))?;
        std::fs::write(&held.go_on, "")?;
        until_true("the result to be reported", PATIENCE, || {
            let events = events(&fleet.api, &id)?;
            Ok(events.iter().any(|event| event.name == "BeforeInstall" && event.status == "Succeeded"))
        })?;
        ensure!(said(&fleet.agent, &["resume"])?.0 == Some(0));
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)
    })
}

/// What a cancel ends has failed; what the host does about a failure is not ended with it.
#[test]
fn a_host_goes_back_from_a_deployment_that_was_cancelled() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        fleet.agent.configure("30-restore.yml", "on_failure: restore\n")?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        let ran = place.path().join("ran");
        let started = Hook { event: "ApplicationStart", lines: &format!("echo one >> {}", ran.display()), timeout: 60 };
        let good = app(&destination, "one", &[started]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &good, BundleKind::Tgz)?)?)?;
        let began = place.path().join("began");
        let held = format!("touch {}\nwhile true; do sleep 0.05; done", began.display());
        let bad = app(&destination, "two", &[Hook::new("AfterInstall", &held)]);
        let id = fleet.group.begin(&fleet.group.push("v2", &bad, BundleKind::Tgz)?)?;
        until_true("the hook to begin", PATIENCE, || Ok(began.exists()))?;
        ensure!(said(&fleet.agent, &["cancel", &id])?.0 == Some(0));
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        let message = failed_in(&finished, "AfterInstall")?;
        contains(&message, &["cancelled on this host", "The host is back at the revision of deployment"])?;
        ensure!(std::fs::read_to_string(destination.join("page"))? == "one");
        ensure!(lines(&ran) == 2, "the good revision was not started again");
        Ok(())
    })
}
