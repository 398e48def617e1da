//! The happy path, once for each way to pack a bundle.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use anyhow::{Context, Result, ensure};
use slipway_tests::fleet::Fleet;
use slipway_tests::place::scenario;
use slipway_tests::revision::{BundleKind, Hook, app};

use crate::expect::{self, page, succeeded};

#[test]
fn zip_is_deployed() -> Result<()> {
    deploys(BundleKind::Zip)
}

#[test]
fn tgz_is_deployed() -> Result<()> {
    deploys(BundleKind::Tgz)
}

#[test]
fn tar_is_deployed() -> Result<()> {
    deploys(BundleKind::Tar)
}

#[test]
fn tar_in_zstd_is_deployed() -> Result<()> {
    deploys(BundleKind::TarZstd)
}

/// Two versions: the second changes, adds and removes, and its ApplicationStop runs the first one's script.
fn deploys(kind: BundleKind) -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let trace = place.path().join("trace");
        let hook = |version: u8| {
            format!(
                "echo \"{version} $LIFECYCLE_EVENT $APPLICATION_NAME $DEPLOYMENT_GROUP_NAME $BUNDLE_KEY\" >> {}",
                trace.display()
            )
        };
        let events = ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];
        let version = |number: u8| {
            let lines = hook(number);
            let hooks = events.map(|event| Hook::new(event, &lines));
            app(&destination, &format!("page of version {number}"), &hooks)
        };
        let first = version(1).file("content/old", "goes away").script("content/bin/tool", "echo tool");
        let second = version(2).file("content/new/deep", "comes").script("content/bin/tool", "echo tool");
        // A change of nothing must be seen as one.
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &first, kind)?)?)?;
        ensure!(page(&destination)? == "page of version 1");
        let tool = fs::metadata(destination.join("bin/tool"))?;
        ensure!(tool.permissions().mode() & 0o7777 == 0o755, "the mode is the bundle's");

        let finished = fleet.group.deploy(&fleet.group.push("v2", &second, kind)?)?;
        succeeded(&finished)?;
        ensure!(page(&destination)? == "page of version 2");
        ensure!(expect::names(&destination) == ["bin", "new", "page"], "{:?}", expect::names(&destination));
        ensure!(fs::metadata(destination.join("bin/tool"))?.ino() == tool.ino(), "what did not change was left alone");

        let ran = fs::read_to_string(&trace)?;
        let expected: Vec<String> = [(1, &events[1..], "v1"), (1, &events[..1], "v2"), (2, &events[1..], "v2")]
            .iter()
            .flat_map(|(version, events, key)| {
                events.iter().map(move |event| format!("{version} {event} hello-web blue blue/{key}"))
            })
            .collect();
        ensure!(ran.lines().collect::<Vec<_>>() == expected, "the hooks ran as\n{ran}");

        let group = finished.info["deploymentGroupName"].as_str();
        ensure!(group == Some("blue"), "{:?}", finished.info);
        let root = fleet.agent.root();
        let status = fleet.agent.status()?;
        let group = status["groups"][0]["id"].as_str().context("status names the group")?;
        let revision = root.join(group).join(&finished.id);
        ensure!(revision.join("deployment-archive/appspec.yml").exists(), "the revision is kept");
        ensure!(!revision.join("bundle.tar").exists(), "the bundle is not");
        ensure!(revision.join("logs/scripts.log").exists(), "the scripts' log is kept");
        Ok(())
    })
}
