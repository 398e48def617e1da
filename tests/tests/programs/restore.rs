//! `on_failure: restore`: the host goes back by itself before it reports.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use slipway_tests::deployment::{Finished, finish};
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::scenario;
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, failed_in, page, succeeded};

/// A revision whose scripts put down that they ran.
fn version(name: &str, place: &Path, extra: &[(&str, &str)]) -> Revision {
    let said: Vec<(&str, String)> =
        ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"]
            .into_iter()
            .map(|event| {
                let more = extra.iter().find(|(of, _)| *of == event).map_or("", |(_, lines)| lines);
                (event, format!("echo {name} {event} >> {}\n{more}", place.join("ran").display()))
            })
            .collect();
    let hooks: Vec<Hook<'_>> = said.iter().map(|(event, lines)| Hook::new(event, lines)).collect();
    app(&place.join("app"), name, &hooks)
}

fn restoring_fleet(place: &slipway_tests::place::Place) -> Result<Fleet<'_>> {
    let mut fleet = Fleet::gather(place)?;
    fleet.agent.configure("restore.yml", "on_failure: restore\n")?;
    fleet.agent.start()?;
    Ok(fleet)
}

fn deploy(fleet: &Fleet<'_>, name: &str, revision: &Revision) -> Result<Finished> {
    fleet.group.deploy(&fleet.group.push(name, revision, BundleKind::Tgz)?)
}

/// What ran since the last look.
fn ran(place: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(place.join("ran"))?;
    fs::remove_file(place.join("ran"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[test]
fn a_failed_start_brings_the_last_good_revision_back_before_it_is_reported() -> Result<()> {
    scenario(|place| {
        let fleet = restoring_fleet(place)?;
        let good = deploy(&fleet, "v1", &version("v1", place.path(), &[]))?;
        succeeded(&good)?;
        ran(place.path())?;
        let bad = version("v2", place.path(), &[("ApplicationStart", "exit 9"), ("ApplicationStop", "exit 8")]);
        let finished = deploy(&fleet, "v2", &bad)?;
        let message = failed_in(&finished, "ApplicationStart")?;
        let id = good.info["deploymentId"].as_str().unwrap_or_default();
        contains(&message, &["exit code 9", &format!("back at the revision of deployment {id}")])?;
        ensure!(page(&place.path().join("app"))? == "v1");
        let expected = [
            "v1 ApplicationStop",
            "v2 BeforeInstall",
            "v2 AfterInstall",
            "v2 ApplicationStart",
            "v2 ApplicationStop",
            "v1 AfterInstall",
            "v1 ApplicationStart",
            "v1 ValidateService",
        ];
        let ran_now = ran(place.path())?;
        ensure!(ran_now == expected, "{ran_now:?}");
        // And what follows is an ordinary deployment over the good revision.
        succeeded(&deploy(&fleet, "v3", &version("v3", place.path(), &[]))?)?;
        ensure!(page(&place.path().join("app"))? == "v3");
        ensure!(ran(place.path())?.first().map(String::as_str) == Some("v1 ApplicationStop"));
        Ok(())
    })
}

#[test]
fn a_failure_before_install_or_with_nothing_good_leaves_the_host_as_it_is() -> Result<()> {
    scenario(|place| {
        let fleet = restoring_fleet(place)?;
        let finished = deploy(&fleet, "v1", &version("v1", place.path(), &[("AfterInstall", "exit 3")]))?;
        let message = failed_in(&finished, "AfterInstall")?;
        contains(&message, &["exit code 3", "no other good revision", "rollback --group"])?;
        ensure!(page(&place.path().join("app"))? == "v1");
        succeeded(&deploy(&fleet, "v2", &version("v2", place.path(), &[]))?)?;
        ran(place.path())?;
        let finished = deploy(&fleet, "v3", &version("v3", place.path(), &[("BeforeInstall", "exit 4")]))?;
        let message = failed_in(&finished, "BeforeInstall")?;
        ensure!(!message.contains("restore"), "{message}");
        ensure!(ran(place.path())? == ["v2 ApplicationStop", "v3 BeforeInstall"]);
        Ok(())
    })
}

#[test]
fn an_agent_that_is_killed_while_it_goes_back_goes_on_with_it() -> Result<()> {
    scenario(|place| {
        let mut fleet = restoring_fleet(place)?;
        let (second, go_on) = (place.path().join("second"), place.path().join("go-on"));
        // The second time that the good revision starts, it waits.
        let waits = format!(
            "if [ -e {0} ]; then touch {0}.began; until [ -e {1} ]; do sleep 0.05; done; fi\ntouch {0}",
            second.display(),
            go_on.display()
        );
        succeeded(&deploy(&fleet, "v1", &version("v1", place.path(), &[("ApplicationStart", &waits)]))?)?;
        ran(place.path())?;
        let bad = version("v2", place.path(), &[("ValidateService", "exit 5")]);
        let id = fleet.group.begin(&fleet.group.push("v2", &bad, BundleKind::Tgz)?)?;
        until_true("the good revision to start again", PATIENCE, || Ok(place.path().join("second.began").exists()))?;
        fleet.agent.kill()?;
        fleet.agent.start()?;
        fs::write(&go_on, "")?;
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        let message = failed_in(&finished, "ValidateService")?;
        contains(&message, &["exit code 5", "back at the revision of deployment"])?;
        ensure!(page(&place.path().join("app"))? == "v1");
        let ran_now = ran(place.path())?;
        let expected = [
            "v1 ApplicationStop",
            "v2 BeforeInstall",
            "v2 AfterInstall",
            "v2 ApplicationStart",
            "v2 ValidateService",
            "v2 ApplicationStop",
            "v1 AfterInstall",
            "v1 ApplicationStart",
            "v1 ValidateService",
        ];
        ensure!(ran_now == expected, "{ran_now:?}");
        Ok(())
    })
}
