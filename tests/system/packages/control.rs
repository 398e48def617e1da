//! The control service's deb: a user of its own, and a sandbox in which everything works.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slipway_tests::api::Api;
use slipway_tests::sign::AccessKey;
use slipway_tests::until::{until, until_true};
use slipway_tests::web::free_port;

use super::{Version, bring, package};
use crate::host::PATIENCE;
use crate::job::Ground;
use crate::machine::{Machine, Network};
use crate::report::Report;

const PROGRAM: &str = "slipway-control";
const UNIT: &str = "slipway-control.service";
const DATA: &str = "/var/lib/slipway";
/// The most that `systemd-analyze security` may find, of ten.
const EXPOSURE: f64 = 1.5;

/// From its installation to its purge, on one host.
pub fn deb(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut machine = Machine::create(ground, "deb-control", Network::Shared)?;
    // The host has the network of whoever runs this: the port has to be one that nobody has.
    let options = format!("SLIPWAY_CONTROL_OPTIONS=\"--listen 127.0.0.1:{}\"\n", free_port()?);
    let folder = machine.root().join("etc/slipway");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("control.env"), &options)?;
    machine.boot()?;
    report.check("installed it runs, as its own user", installed(&machine));
    report.check("root makes a key beside it, and an operator works with that", operator(&machine));
    report.check("root does so while it is stopped, and it starts", key_while_stopped(&machine));
    report.check("an upgrade restarts it, with its options and its data", upgraded(&machine, &options));
    let said = security(&machine);
    report.notes.extend(said.as_ref().ok().cloned());
    report.check("systemd-analyze finds little to say", said.map(drop));
    report.check("a purge takes its data", purged(&machine));
    Ok(())
}

fn install(machine: &Machine, version: Version) -> Result<()> {
    let path = bring(machine, &package(version, PROGRAM, ".deb")?)?;
    machine.run(&["dpkg", "--force-confold", "--install", &path]).map(drop)
}

fn property(machine: &Machine, name: &str) -> Result<String> {
    Ok(machine.run(&["systemctl", "show", "--property", name, "--value", UNIT])?.trim().to_owned())
}

/// Waits until it listens, and gives its URL.
fn listens(machine: &Machine) -> Result<String> {
    let file = machine.root().join("var/lib/slipway/endpoint");
    until("the control service to listen", PATIENCE, || {
        let state = property(machine, "ActiveState")?;
        let words = || machine.try_run(&["journalctl", "--no-pager", "--unit", UNIT]).unwrap_or_default();
        ensure!(state == "active" && property(machine, "NRestarts")? == "0", "it is {state}:\n{}", words());
        Ok(fs::read_to_string(&file).ok().map(|url| url.trim().to_owned()))
    })
}

fn installed(machine: &Machine) -> Result<()> {
    install(machine, Version::Own)?;
    listens(machine)?;
    ensure!(machine.run(&["systemctl", "is-enabled", UNIT])?.trim() == "enabled", "it is not enabled");
    let pid = property(machine, "MainPID")?;
    let user = machine.run(&["stat", "--format=%U %G", &format!("/proc/{pid}")])?;
    ensure!(user.trim() == "slipway-control slipway-control", "it runs as {user}");
    let data = machine.run(&["stat", "--format=%U %a", DATA])?;
    ensure!(data.trim() == "slipway-control 711", "its data is of {data}");
    // Every user reads the authority's certificate, by the program that every user has, and nothing else.
    let as_nobody = |words: &[&str]| machine.run(&[&["setpriv", "--reuid=nobody", "--clear-groups"], words].concat());
    ensure!(as_nobody(&[PROGRAM, "ca"])?.contains("BEGIN CERTIFICATE"), "nobody cannot read the certificate");
    ensure!(as_nobody(&["cat", &format!("{DATA}/pki/ca-key.pem")]).is_err(), "nobody reads the authority's key");
    ensure!(as_nobody(&["ls", DATA]).is_err(), "nobody lists the data");
    Ok(())
}

/// An operator's client with a key that root makes on the host.
fn administrator(machine: &Machine, name: &str) -> Result<AccessKey> {
    let printed = machine.run(&[PROGRAM, "keys", "create", "--administrator", name, "--json", "--data", DATA])?;
    serde_json::from_str(&printed).context("keys create --json prints a key")
}

fn works(machine: &Machine, key: AccessKey, application: &str) -> Result<()> {
    let api = Api::new(&listens(machine)?, &machine.root().join("var/lib/slipway/pki/ca.pem"), key)?;
    api.call("CreateApplication", json!({ "applicationName": application }))?;
    let bucket = format!("of-{application}");
    machine.run(&[PROGRAM, "bucket", "create", &bucket, "--data", DATA])?;
    api.put(&bucket, "object", b"content".to_vec())?;
    let (status, content) = api.get(&bucket, "object")?;
    ensure!(status == 200 && content == b"content", "the bucket gives {status}");
    Ok(())
}

fn operator(machine: &Machine) -> Result<()> {
    works(machine, administrator(machine, "alice")?, "first")
}

fn key_while_stopped(machine: &Machine) -> Result<()> {
    machine.run(&["systemctl", "stop", UNIT])?;
    let key = administrator(machine, "bob")?;
    machine.run(&["systemctl", "start", UNIT])?;
    works(machine, key, "second")
}

fn upgraded(machine: &Machine, options: &str) -> Result<()> {
    let before = property(machine, "MainPID")?;
    install(machine, Version::Next)?;
    until_true("another process to be the service", PATIENCE, || Ok(property(machine, "MainPID")? != before))?;
    works(machine, administrator(machine, "carol")?, "third")?;
    let kept = fs::read_to_string(machine.root().join("etc/slipway/control.env"))?;
    ensure!(kept == options, "its options are {kept}");
    Ok(())
}

fn security(machine: &Machine) -> Result<String> {
    let table = machine.run(&["systemd-analyze", "security", "--no-pager", UNIT])?;
    let last = table.lines().rev().find(|line| line.contains("exposure level")).unwrap_or_default().to_owned();
    let level: f64 = last.split_whitespace().find_map(|word| word.parse().ok()).with_context(|| table.clone())?;
    ensure!(level <= EXPOSURE, "{table}");
    Ok(format!("systemd-analyze security {UNIT}: {level} of 10"))
}

fn purged(machine: &Machine) -> Result<()> {
    machine.run(&["dpkg", "--purge", PROGRAM])?;
    for gone in [
        "var/lib/slipway",
        "etc/slipway/control.env",
        "etc/systemd/system/multi-user.target.wants/slipway-control.service",
    ] {
        ensure!(machine.root().join(gone).symlink_metadata().is_err(), "/{gone} is still there");
    }
    let state = machine.try_run(&["systemctl", "is-active", UNIT])?;
    ensure!(matches!(state.trim(), "inactive" | "unknown"), "it is {state}");
    Ok(())
}
