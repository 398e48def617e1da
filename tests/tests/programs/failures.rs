//! Deployments that fail in the host's own hands.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use slipway_tests::deployment::finish;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::fleet::{Fleet, Group, OnFailure};
use slipway_tests::place::{processes, scenario};
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until;

use crate::expect::{contains, failed_in, page, succeeded};

#[test]
fn a_failing_hook_fails_its_event_with_the_end_of_its_output() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let lines = "echo to the log\necho to the errors >&2\nexit 3";
        let revision = app(&destination, "page", &[Hook::new("AfterInstall", lines)]);
        let finished = fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Zip)?)?;
        let message = failed_in(&finished, "AfterInstall")?;
        contains(&message, &["scripts/AfterInstall.sh", "3"])?;
        let event = finished.failed_event()?;
        ensure!(event.diagnostic("errorCode") == "ScriptFailed", "{}", event.diagnostics);
        ensure!(event.diagnostic("scriptName") == "scripts/AfterInstall.sh", "{}", event.diagnostics);
        contains(event.diagnostic("logTail"), &["to the log", "to the errors"])?;
        for skipped in ["ApplicationStart", "ValidateService"] {
            ensure!(finished.event(skipped)?.status == "Skipped", "{skipped} comes after the failure");
        }
        Ok(())
    })
}

#[test]
fn a_hook_beyond_its_time_is_ended_with_all_that_it_started() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        // Neither the script nor its child listens to TERM.
        let lines =
            "trap '' TERM\nsh -c 'trap \"\" TERM; exec -a stubborn-child sleep 600' &\nwhile :; do sleep 1; done";
        let revision = app(&destination, "page", &[Hook { event: "ApplicationStart", lines, timeout: 1 }]);
        let finished = fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        let message = failed_in(&finished, "ApplicationStart")?;
        contains(&message, &["scripts/ApplicationStart.sh", "1 s"])?;
        ensure!(finished.failed_event()?.diagnostic("errorCode") == "ScriptTimedOut");
        // Only the service, the agent and nothing of the script are left.
        until("the script's processes to be gone", Duration::from_secs(10), || {
            Ok((processes(place.path()).len() <= 2).then_some(()))
        })
    })
}

#[test]
fn a_script_that_is_not_in_the_revision_has_a_code_of_its_own() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let appspec = "version: 0.0\nos: linux\nhooks:\n  BeforeInstall:\n    - location: scripts/gone.sh\n";
        let revision = Revision::with_appspec(appspec);
        let finished = fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Tar)?)?;
        contains(&failed_in(&finished, "DownloadBundle")?, &["scripts/gone.sh", "the first script of this revision"])?;
        ensure!(finished.failed_event()?.diagnostic("errorCode") == "ScriptMissing");
        Ok(())
    })
}

#[test]
fn every_mistake_of_an_appspec_is_told_with_its_place() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let appspec = "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: relative/path\n\
                       hooks:\n  BeforeInstall:\n    - location: a.sh\n      timeout: soon\n";
        let revision = Revision::with_appspec(appspec).file("content/page", "x").script("a.sh", "true");
        let finished = fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Zip)?)?;
        let failed = finished.failed_event()?;
        contains(failed.diagnostic("message"), &["appspec.yml:5:", "relative/path", "appspec.yml:9:", "soon"])?;
        ensure!(failed.diagnostic("errorCode") == "UnknownError", "{}", failed.diagnostics);
        ensure!(!place.path().join("relative").exists());
        Ok(())
    })
}

#[test]
fn a_file_that_is_there_already_is_not_overwritten_unasked() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.directory("app")?;
        fs::write(destination.join("page"), "somebody's own")?;
        let bundle = fleet.group.push("v1", &app(&destination, "ours", &[]), BundleKind::Zip)?;
        let finished = fleet.group.deploy(&bundle)?;
        contains(&failed_in(&finished, "Install")?, &["page", "OVERWRITE"])?;
        ensure!(page(&destination)? == "somebody's own");
        let id = fleet.group.begin_with(&bundle, serde_json::json!({"fileExistsBehavior": "OVERWRITE"}))?;
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)?;
        ensure!(page(&destination)? == "ours");
        Ok(())
    })
}

#[test]
fn a_failure_is_rolled_back_by_a_deployment_of_its_own() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        let green = Group::create(&fleet.control, &fleet.api, "green", OnFailure::RollBack)?;
        let mut host = slipway_tests::agent::Agent::register(place, &fleet.control, "web-2", &["green"])?;
        host.start()?;
        succeeded(&green.deploy(&green.push("v1", &app(&destination, "one", &[]), BundleKind::Zip)?)?)?;
        let bad = app(&destination, "two", &[Hook::new("ValidateService", "exit 1")]);
        let failed = green.deploy(&green.push("v2", &bad, BundleKind::Zip)?)?;
        failed_in(&failed, "ValidateService")?;
        let rollback = until("the rollback to begin", PATIENCE, || {
            let info = slipway_tests::deployment::info(&fleet.api, &failed.id)?;
            Ok(info["rollbackInfo"]["rollbackDeploymentId"].as_str().map(str::to_owned))
        })?;
        let rolled = finish(&fleet.api, &rollback, PATIENCE)?;
        succeeded(&rolled)?;
        ensure!(rolled.info["creator"] == "codeDeployRollback", "{}", rolled.info);
        ensure!(rolled.info["rollbackInfo"]["rollbackTriggeringDeploymentId"] == failed.id.as_str(), "{}", rolled.info);
        ensure!(page(&destination)? == "one");
        Ok(())
    })
}
