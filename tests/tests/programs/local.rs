//! Without a service: local deploys, rollback, recover, and what the command line says of itself.

use std::os::unix::process::CommandExt;
use std::process::Output;

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::scenario;
use slipway_tests::program;
use slipway_tests::revision::{BundleKind, Hook, app};

use crate::expect::{contains, page, succeeded};

fn done(output: &Output) -> Result<String> {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "it ended with {}:\n{said}", output.status);
    Ok(said)
}

#[test]
fn directories_and_bundles_are_deployed_from_disk() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let ran = place.path().join("ran");
        let hook = format!("echo $LIFECYCLE_EVENT $DEPLOYMENT_GROUP_ID $APPLICATION_NAME >> {}", ran.display());
        let version = |page: &str| app(&destination, page, &[Hook::new("AfterInstall", &hook)]);
        let directory = place.directory("revision")?;
        version("from a directory").write(&directory)?;
        let location = directory.display().to_string();
        done(&host.output(&["deploy-local", "-l", &location, "-g", "g1", "-a", "shop"])?)?;
        ensure!(page(&destination)? == "from a directory");
        for (kind, name) in [(BundleKind::Zip, "zip"), (BundleKind::Tgz, "tgz"), (BundleKind::Tar, "tar")] {
            let bundle = place.path().join(format!("bundle.{name}"));
            std::fs::write(&bundle, version(name).pack(kind)?)?;
            let location = bundle.display().to_string();
            done(&host.output(&["deploy-local", "--bundle-location", &location, "--type", name, "-g", "g1"])?)?;
            ensure!(page(&destination)? == name);
            ensure!(bundle.exists(), "the user's bundle is the user's");
        }
        let ran = std::fs::read_to_string(&ran)?;
        ensure!(ran.lines().count() == 4 && ran.starts_with("AfterInstall g1 shop\n"), "{ran}");
        Ok(())
    })
}

#[test]
fn codedeploy_local_is_the_same_by_another_name() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let directory = place.directory("revision")?;
        app(&destination, "page", &[]).write(&directory)?;
        let mut command = slipway_tests::binaries::agent()?;
        command.arg0("codedeploy-local").arg("-l").arg(&directory).arg("-c").arg(host.config_file());
        program::run(place, command.args(["-e", "BeforeInstall,AfterInstall"]))?;
        ensure!(page(&destination)? == "page");
        Ok(())
    })
}

#[test]
fn a_failed_local_deploy_ends_with_1_and_says_why() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let directory = place.directory("revision")?;
        app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", "echo oh no; exit 7")]).write(&directory)?;
        let output = host.output(&["deploy-local", "-l", &directory.display().to_string()])?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.code() == Some(1), "it ended with {}:\n{said}", output.status);
        contains(&said, &["AfterInstall", "7", "oh no"])
    })
}

#[test]
fn a_rollback_needs_no_network() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let ran = place.path().join("ran");
        let version = |page: &str| {
            let hook = format!("echo {page} >> {}", ran.display());
            app(&destination, page, &[Hook::new("ApplicationStart", &hook)])
        };
        for page in ["one", "two"] {
            succeeded(&fleet.group.deploy(&fleet.group.push(page, &version(page), BundleKind::Tgz)?)?)?;
        }
        fleet.agent.stop()?;
        fleet.control.kill()?;
        let status = fleet.agent.status()?;
        let group = status["groups"][0]["id"].as_str().unwrap_or_default().to_owned();
        done(&fleet.agent.output(&["rollback", "--group", &group])?)?;
        ensure!(page(&destination)? == "one");
        let ran = std::fs::read_to_string(&ran)?;
        ensure!(ran == "one\ntwo\none\n", "its events ran: {ran}");
        // Back and forth: the newest good one other than the current.
        done(&fleet.agent.output(&["rollback", "--group", &group])?)?;
        ensure!(page(&destination)? == "two");
        Ok(())
    })
}

#[test]
fn a_broken_stop_script_of_an_old_revision_can_be_forgotten() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let deploy = |page: &str, stop: &str| -> Result<Output> {
            let directory = place.directory(page)?;
            app(&destination, page, &[Hook::new("ApplicationStop", stop)]).write(&directory)?;
            host.output(&["deploy-local", "-l", &directory.display().to_string(), "-g", "shop"])
        };
        done(&deploy("one", "exit 9")?)?;
        let blocked = deploy("two", "true")?;
        let said = String::from_utf8_lossy(&blocked.stderr).into_owned();
        ensure!(blocked.status.code() == Some(1), "the broken stop script blocks: {said}");
        contains(&said, &["not from the one you are deploying", "slipway-agent forget --group shop"])?;
        ensure!(page(&destination)? == "one");

        let unknown = host.output(&["forget", "--group", "nobody"])?;
        ensure!(unknown.status.code() == Some(1), "an unknown group is said to be unknown");
        done(&host.output(&["forget", "--group", "shop"])?)?;
        // Its files are still its own: no clash with what it installed itself.
        done(&deploy("three", "true")?)?;
        ensure!(page(&destination)? == "three");
        Ok(())
    })
}

#[test]
fn recover_has_nothing_to_do_on_a_sound_host() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        done(&host.output(&["recover"])?)?;
        Ok(())
    })
}

#[test]
fn the_programs_say_their_version() -> Result<()> {
    scenario(|place| {
        for mut command in [slipway_tests::binaries::agent()?, slipway_tests::binaries::control()?] {
            let said = program::run(place, command.arg("--version"))?;
            contains(&said, &["slipway-", env!("CARGO_PKG_VERSION")])?;
        }
        Ok(())
    })
}

#[test]
fn a_second_daemon_on_one_root_is_refused() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        slipway_tests::until::until_true("the daemon to be alive", slipway_tests::fleet::PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"]["alive"] == true)
        })?;
        let output = fleet.agent.output(&["run"])?;
        ensure!(!output.status.success());
        contains(&String::from_utf8_lossy(&output.stderr), &["another slipway-agent"])
    })
}

#[test]
fn old_revisions_go_when_all_groups_together_take_more_than_they_may() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        host.configure("20-retention.yml", "retain_bytes: 2500K\n")?;
        let deploy = |group: &str, page: &str| -> Result<String> {
            let directory = place.directory(&format!("revision-{group}-{page}"))?;
            let noise = vec![7; 1 << 20];
            app(&place.path().join(group), page, &[]).file("content/noise", noise).write(&directory)?;
            let said = done(&host.output(&["deploy-local", "-l", &directory.display().to_string(), "-g", group])?)?;
            let id = said.split_whitespace().nth(1).unwrap_or_default().to_owned();
            ensure!(host.root().join(group).join(&id).is_dir(), "{said}");
            Ok(id)
        };
        let kept = |group: &str, id: &str| host.root().join(group).join(id).exists();
        let (first, second) = (deploy("red", "one")?, deploy("red", "two")?);
        ensure!(kept("red", &first) && kept("red", &second), "there is room for two");
        let third = deploy("green", "one")?;
        ensure!(!kept("red", &first) && kept("red", &second) && kept("green", &third), "the oldest of all goes");
        // Each is the current one of its group now, so a third group is one more than may be, and nothing goes.
        let fourth = deploy("blue", "one")?;
        ensure!(kept("red", &second) && kept("green", &third) && kept("blue", &fourth));
        let rolled = host.output(&["rollback", "--group", "red"])?;
        ensure!(!rolled.status.success(), "there is nothing to go back to any more");
        Ok(())
    })
}

#[test]
fn a_script_that_empties_its_revision_is_what_the_next_event_tells() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let directory = place.directory("revision")?;
        let hooks = ["AfterInstall", "ApplicationStart"].map(|event| Hook::new(event, "rm -rf \"${0%/scripts/*}\"/*"));
        app(&place.path().join("app"), "page", &hooks).write(&directory)?;
        let output = host.output(&["deploy-local", "-l", &directory.display().to_string()])?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.code() == Some(1), "it ended with {}:\n{said}", output.status);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        contains(&said, &["the AppSpec is gone from", "which is empty", "scripts/AfterInstall.sh (AfterInstall)"])
    })
}
