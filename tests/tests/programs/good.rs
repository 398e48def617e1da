//! Which deployment is the good one: none that has not ended well, at no moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::Program;
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{failed_in, page, succeeded};

/// The events between Install and the end.
const AFTER: [&str; 3] = ["AfterInstall", "ApplicationStart", "ValidateService"];

/// A revision each of whose scripts after Install waits until it may end, and the last one ends with that code.
struct Waiting {
    name: &'static str,
    home: PathBuf,
}

impl Waiting {
    fn new(place: &Place, name: &'static str) -> Result<Self> {
        Ok(Self { name, home: place.directory(&format!("waits-{name}"))? })
    }

    fn revision(&self, destination: &Path, code: u8) -> Revision {
        let lines = AFTER.map(|event| {
            let (began, go) = (self.began(event), self.home.join(format!("go-{event}")));
            let end = if event == "ValidateService" { code } else { 0 };
            format!("touch {}\nuntil [ -e {} ]; do sleep 0.02; done\nexit {end}", began.display(), go.display())
        });
        let hooks: Vec<Hook<'_>> = AFTER.iter().zip(&lines).map(|(event, lines)| Hook::new(event, lines)).collect();
        app(destination, self.name, &hooks)
    }

    fn began(&self, event: &str) -> PathBuf {
        self.home.join(format!("began-{event}"))
    }

    fn until_in(&self, event: &str) -> Result<()> {
        until_true(&format!("{event} of {}", self.name), PATIENCE, || Ok(self.began(event).exists()))
    }

    fn go_on(&self, event: &str) -> Result<()> {
        Ok(fs::write(self.home.join(format!("go-{event}")), "")?)
    }
}

/// The newest good deployment of the only group.
fn good(host: &Agent<'_>) -> Result<Option<String>> {
    let status: Value = host.status()?;
    let [group] = status["groups"].as_array().map(Vec::as_slice).context("groups are a list")? else {
        return Ok(None);
    };
    Ok(group["good"][0]["deployment"].as_str().map(str::to_owned))
}

#[test]
fn the_daemon_is_killed_at_each_moment_between_install_and_the_end() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let first = fleet.group.deploy(&fleet.group.push("v1", &app(&destination, "v1", &[]), BundleKind::Tar)?)?;
        succeeded(&first)?;
        // Without a script for it ValidateService is nothing to run, and ends the deployment all the same.
        ensure!(good(&fleet.agent)?.as_deref() == Some(first.id.as_str()), "{:?}", good(&fleet.agent)?);
        let mut expected = first.id;
        for (name, code) in [("v2", 0), ("v3", 7)] {
            let waiting = Waiting::new(place, name)?;
            let bundle = fleet.group.push(name, &waiting.revision(&destination, code), BundleKind::Tar)?;
            let id = fleet.group.begin(&bundle)?;
            for event in AFTER {
                waiting.until_in(event)?;
                ensure!(page(&destination)? == name, "its files are there");
                ensure!(
                    good(&fleet.agent)?.as_ref() == Some(&expected),
                    "{event} of {name}: {:?}",
                    good(&fleet.agent)?
                );
                fleet.agent.kill()?;
                ensure!(good(&fleet.agent)?.as_ref() == Some(&expected), "killed in {event} of {name}");
                if event == "ValidateService" {
                    // It ends while nobody looks.
                    waiting.go_on(event)?;
                }
                fleet.agent.start()?;
                waiting.go_on(event)?;
            }
            let finished = finish(&fleet.api, &id, PATIENCE)?;
            if code == 0 {
                succeeded(&finished)?;
                expected = id;
            } else {
                failed_in(&finished, "ValidateService")?;
            }
            ensure!(good(&fleet.agent)?.as_ref() == Some(&expected), "{name} has ended: {:?}", good(&fleet.agent)?);
        }
        fleet.agent.stop()
    })
}

#[test]
fn a_local_deployment_is_killed_at_each_moment_between_install_and_the_end() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let deploy = |name: &str, revision: &Revision| -> Result<Vec<String>> {
            let directory = place.directory(&format!("revision-{name}"))?;
            revision.write(&directory)?;
            Ok(["deploy-local", "-g", "shop", "-l", &directory.display().to_string()].map(str::to_owned).to_vec())
        };
        let run = |arguments: &[String]| -> Result<Output> {
            host.output(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let first = run(&deploy("v1", &app(&destination, "v1", &[]))?)?;
        ensure!(first.status.success(), "{first:?}");
        let expected = good(&host)?.context("the first one is good")?;
        for (name, event) in ["v2", "v3", "v4"].into_iter().zip(AFTER) {
            let waiting = Waiting::new(place, name)?;
            let arguments = deploy(name, &waiting.revision(&destination, 0))?;
            let mut command = host.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
            let mut deploying = Program::start(place, name, &mut command)?;
            for earlier in AFTER.iter().take_while(|earlier| **earlier != event) {
                waiting.until_in(earlier)?;
                waiting.go_on(earlier)?;
            }
            waiting.until_in(event)?;
            ensure!(good(&host)?.as_ref() == Some(&expected), "{event} of {name}: {:?}", good(&host)?);
            deploying.kill()?;
            waiting.go_on(event)?;
            ensure!(page(&destination)? == name);
            ensure!(good(&host)?.as_ref() == Some(&expected), "killed in {event} of {name}: {:?}", good(&host)?);
        }
        // What nobody validated is not gone back to.
        let back = host.output(&["rollback", "-g", "shop"])?;
        ensure!(back.status.success(), "{back:?}");
        ensure!(page(&destination)? == "v1", "{}", page(&destination)?);
        // One that fails is not good either; one that ends well is.
        let failed = run(&deploy("v5", &app(&destination, "v5", &[Hook::new("ValidateService", "exit 3")]))?)?;
        ensure!(failed.status.code() == Some(1), "{failed:?}");
        let before = good(&host)?;
        let ended = run(&deploy("v6", &app(&destination, "v6", &[Hook::new("ValidateService", "exit 0")]))?)?;
        ensure!(ended.status.success(), "{ended:?}");
        ensure!(good(&host)? != before, "{before:?}");
        Ok(())
    })
}
