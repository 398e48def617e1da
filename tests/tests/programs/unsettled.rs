//! Installs that cannot be settled: the rest of the host goes on, everybody is told, and there is a way out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::control::Control;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Group, OnFailure, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::{self, run};
use slipway_tests::revision::{BundleKind, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, failed_in, names, page, succeeded};
use crate::space::SmallDisk;

/// Files of a revision that takes a while to stage.
const FILES: usize = 3000;

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn ends_with(output: &Output, code: i32) -> Result<String> {
    let said = said(output);
    ensure!(output.status.code() == Some(code), "it ended with {}:\n{said}", output.status);
    Ok(said)
}

fn deploy(host: &Agent<'_>, revision: &Path, group: &str) -> Result<Output> {
    host.output(&["deploy-local", "-l", &revision.display().to_string(), "-g", group])
}

fn written(place: &Place, name: &str, revision: &Revision) -> Result<PathBuf> {
    let directory = place.directory(name)?;
    revision.write(&directory)?;
    Ok(directory)
}

/// How many files are staged beside a destination.
fn staged(apps: &Path) -> usize {
    names(apps).into_iter().map(|name| fs::read_dir(apps.join(name)).map_or(0, Iterator::count)).sum()
}

#[test]
fn a_volume_that_turned_read_only_holds_back_its_group_alone() -> Result<()> {
    scenario(|place| {
        let volume = place.path().join("volume");
        let Some(_volume) = SmallDisk::mount(place, &volume)? else { return Ok(()) };
        let remount = |how: &str| {
            run(place, Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&volume)).map(drop)
        };
        let control = Control::start(place)?;
        let api = Arc::new(control.administrator("tests")?);
        let mut agent = Agent::register(place, &control, "web-1", &["blue", "green"])?;
        let blue = Group::create(&control, &api, "blue", OnFailure::Leave)?;
        let green = Group::create(&control, &api, "green", OnFailure::Leave)?;
        agent.start()?;
        let (destination, other) = (volume.join("app"), place.path().join("other"));
        let large = (0..FILES)
            .fold(app(&destination, "large", &[]), |revision, number| revision.file(&format!("content/{number}"), "x"));
        let id = blue.begin(&blue.push("v1", &large, BundleKind::Tar)?)?;
        until_true("the install to stage", PATIENCE, || Ok(staged(&volume) > 0))?;
        agent.kill()?;
        remount("ro")?;

        // The daemon runs, and reports the deployment that was cut off.
        agent.start()?;
        let message = failed_in(&finish(&api, &id, PATIENCE)?, "Install")?;
        let transactions = names(&agent.root().join(".slipway/tx"));
        let transaction = transactions.first().context("a transaction is left")?;
        let command = format!("slipway-agent recover --abandon {transaction}");
        let parts = [command.as_str(), "Read-only file system", "Held back"];
        contains(&message, &parts)?;
        // The same for every deployment of the group, and for no other.
        let refused = blue.deploy(&blue.push("v2", &app(&destination, "two", &[]), BundleKind::Tar)?)?;
        ensure!(refused.status() == "Failed", "{}", refused.info);
        contains(refused.failed_event()?.diagnostic("message"), &parts)?;
        succeeded(&green.deploy(&green.push("v1", &app(&other, "other", &[]), BundleKind::Tar)?)?)?;
        ensure!(page(&other)? == "other");

        // Whoever asks is told.
        let status = agent.status()?;
        let unsettled = &status["unsettled"][0];
        ensure!(unsettled["transaction"] == transaction.as_str(), "{status}");
        ensure!(unsettled["why"].as_str().is_some_and(|why| why.contains("Read-only")), "{status}");
        ensure!(status["daemon"]["alive"] == true, "{status}");
        let noted = status["daemon"]["unsettled"][0].as_str().unwrap_or_default();
        contains(noted, &[&command])?;
        let shown = ends_with(&agent.output(&["status"])?, 1)?;
        contains(&shown, &["cannot be settled", "Read-only", &command])?;
        contains(&ends_with(&agent.output(&["doctor"])?, 1)?, &["installs", &command])?;
        contains(&ends_with(&agent.output(&["metrics"])?, 0)?, &["slipway_unsettled_installs 1\n"])?;
        contains(&ends_with(&agent.output(&["recover"])?, 1)?, &[&command])?;
        let revision = written(place, "plan", &app(&destination, "three", &[]))?;
        let group = unsettled["group"].as_str().context("the group is known")?;
        let planned = agent.output(&["plan", "-l", &revision.display().to_string(), "-g", group])?;
        contains(&ends_with(&planned, 3)?, &[&command])?;

        // Nobody gives it up by accident; one who means it does.
        let asked = ["recover", "--abandon", transaction];
        contains(&ends_with(&agent.output(&asked)?, 1)?, &["neither old nor new", "--yes"])?;
        contains(
            &ends_with(&agent.output(&["recover", "--abandon", "0123456789abcdef", "--yes"])?, 1)?,
            &[transaction],
        )?;
        let given_up = ends_with(&agent.output(&[&asked[..], &["--yes"]].concat())?, 0)?;
        contains(&given_up, &["given up", transaction])?;
        contains(&ends_with(&agent.output(&[&asked[..], &["--yes"]].concat())?, 0)?, &["given up already"])?;
        contains(&ends_with(&agent.output(&["recover"])?, 0)?, &["Nothing to recover"])?;
        ensure!(agent.status()?["unsettled"].as_array().is_some_and(Vec::is_empty));

        // Nothing is held back any more: the volume itself is what is in the way, and then nothing is.
        let refused = blue.deploy(&blue.push("v4", &app(&destination, "four", &[]), BundleKind::Tar)?)?;
        contains(&failed_in(&refused, "Install")?, &["mounted read-only"])?;
        remount("rw")?;
        succeeded(&blue.deploy(&blue.push("v5", &app(&destination, "five", &[]), BundleKind::Tar)?)?)?;
        ensure!(page(&destination)? == "five");
        agent.stop()
    })
}

#[test]
fn what_kept_an_install_from_being_settled_is_over_and_it_is_settled() -> Result<()> {
    scenario(|place| {
        let volume = place.path().join("volume");
        let Some(_volume) = SmallDisk::mount(place, &volume)? else { return Ok(()) };
        let remount = |how: &str| {
            run(place, Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&volume)).map(drop)
        };
        let host = Agent::alone(place, "web-1")?;
        let large = (0..FILES)
            .fold(app(&volume.join("app"), "one", &[]), |revision, n| revision.file(&format!("content/{n}"), "x"));
        let (large, small) = (
            written(place, "large", &large)?,
            written(place, "small", &app(&place.path().join("other"), "small", &[]))?,
        );
        let mut command = host.command(&["deploy-local", "-l", &large.display().to_string(), "-g", "large"])?;
        let mut deploying = program::Program::start(place, "deploying", &mut command)?;
        until_true("the install to stage", PATIENCE, || Ok(staged(&volume) > 0))?;
        deploying.kill()?;
        remount("ro")?;
        ends_with(&deploy(&host, &small, "small")?, 0)?;
        ensure!(host.status()?["unsettled"][0]["group"] == "large", "{}", host.status()?);
        remount("rw")?;
        // By the next deployment of whatever group.
        ends_with(&deploy(&host, &small, "small")?, 0)?;
        ensure!(host.status()?["unsettled"].as_array().is_some_and(Vec::is_empty));
        ensure!(names(&volume).is_empty(), "{:?}", names(&volume));
        ends_with(&deploy(&host, &large, "large")?, 0)?;
        Ok(())
    })
}

#[test]
fn a_destination_of_the_kernels_own_is_refused_before_anything_is_done() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let good = written(place, "good", &app(&place.path().join("other"), "good", &[]))?;
        for destination in ["/proc/slipway", "/sys/kernel/slipway"] {
            let bad = written(place, "bad", &app(Path::new(destination), "bad", &[]))?;
            let location = bad.display().to_string();
            contains(&ends_with(&host.output(&["plan", "-l", &location, "-g", "bad"])?, 3)?, &["kernel's own"])?;
            let validated = program::output(place, slipway_tests::binaries::agent()?.args(["validate", &location]))?;
            contains(&ends_with(&validated, 1)?, &["kernel's own", "destination"])?;
            let refused = ends_with(&deploy(&host, &bad, "bad")?, 1)?;
            contains(&refused, &["kernel's own", "nothing was changed", "choose another destination"])?;
            ends_with(&deploy(&host, &good, "other")?, 0)?;
        }
        contains(&ends_with(&host.output(&["recover"])?, 0)?, &["Nothing to recover"])
    })
}

/// `strace` answers for directories as a share does that syncs none.
#[test]
fn a_share_that_syncs_no_directories_is_installed_to() -> Result<()> {
    scenario(|place| {
        if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: there is no strace\n"));
            return Ok(());
        }
        let host = Agent::alone(place, "web-1")?;
        let (share, log) = (place.directory("share/app")?, place.path().join("strace"));
        for (version, errno) in [("one", "EINVAL"), ("two", "ENOSYS"), ("three", "EOPNOTSUPP")] {
            let revision = written(place, version, &app(&share, version, &[]))?;
            let deploying = host.command(&["deploy-local", "-l", &revision.display().to_string(), "-g", "share"])?;
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o"]).arg(&log).arg("-P").arg(&share);
            traced.args(["-e", "trace=fsync", "-e", &format!("inject=fsync:error={errno}"), "--"]);
            traced.arg(deploying.get_program()).args(deploying.get_args());
            let said = ends_with(&program::output(place, &mut traced)?, 0)?;
            let asked = fs::read_to_string(&log)?.matches("(INJECTED)").count();
            ensure!(asked > 0, "no directory was to be synced");
            ensure!(said.matches("syncs no directories").count() == 1, "it is said once: {said}");
            ensure!(page(&share)? == version);
        }
        contains(&ends_with(&host.output(&["recover"])?, 0)?, &["Nothing to recover"])
    })
}
