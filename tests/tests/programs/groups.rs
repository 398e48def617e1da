//! Two deployment groups of one host.

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, Group, OnFailure, PATIENCE};
use slipway_tests::place::scenario;
use slipway_tests::revision::{BundleKind, Hook, app};

use crate::expect::{contains, failed_in, page, succeeded};

#[test]
fn two_groups_deploy_at_once() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let mut host = Agent::register(place, &fleet.control, "shared-1", &["red", "green"])?;
        host.start()?;
        let groups = ["red", "green"].map(|name| Group::create(&fleet.control, &fleet.api, name, OnFailure::Leave));
        let [red, green] = groups;
        let (red, green) = (red?, green?);
        // Each hook waits for the other's: only hooks that run at the same time get past this.
        let meet = |own: &str, other: &str| {
            let scene = place.path().display();
            format!(
                "touch {scene}/{own}\nn=0\nuntil [ -e {scene}/{other} ]; do n=$((n+1)); [ $n -lt 400 ] || exit 9; sleep 0.05; done"
            )
        };
        let (red_lines, green_lines) = (meet("red-was-here", "green-was-here"), meet("green-was-here", "red-was-here"));
        let (red_home, green_home) = (place.path().join("red"), place.path().join("green"));
        let red_app = app(&red_home, "red", &[Hook::new("BeforeInstall", &red_lines)]);
        let green_app = app(&green_home, "green", &[Hook::new("BeforeInstall", &green_lines)]);
        let red_id = red.begin(&red.push("v1", &red_app, BundleKind::Tgz)?)?;
        let green_id = green.begin(&green.push("v1", &green_app, BundleKind::Tgz)?)?;
        succeeded(&finish(&fleet.api, &red_id, PATIENCE)?)?;
        succeeded(&finish(&fleet.api, &green_id, PATIENCE)?)?;
        ensure!(page(&red_home)? == "red" && page(&green_home)? == "green");
        Ok(())
    })
}

#[test]
fn one_group_does_not_take_the_files_of_another() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let mut host = Agent::register(place, &fleet.control, "shared-1", &["red", "green"])?;
        host.start()?;
        let red = Group::create(&fleet.control, &fleet.api, "red", OnFailure::Leave)?;
        let green = Group::create(&fleet.control, &fleet.api, "green", OnFailure::Leave)?;
        let destination = place.path().join("app");
        succeeded(&red.deploy(&red.push("v1", &app(&destination, "red", &[]), BundleKind::Zip)?)?)?;
        let finished = green.deploy(&green.push("v1", &app(&destination, "green", &[]), BundleKind::Zip)?)?;
        contains(&failed_in(&finished, "Install")?, &["page"])?;
        ensure!(page(&destination)? == "red");
        Ok(())
    })
}
