//! The agent's rpm, by Debian's `rpm`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};

use super::{EDIT, PROGRAM, Version, bring, config, installed, is, package, runs, stays_stopped, upgraded};
use crate::app;
use crate::host::{Host, UNIT};
use crate::job::Ground;
use crate::report::Report;

/// From its installation to its erasure, on one host.
pub fn agent(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::register(ground, "rpm")?;
    host.machine.boot()?;
    host.check(report, "installed where the configuration is already, it runs, and the host deploys", |host| {
        installed(host, install)?;
        host.deploy(&host.push("v1", &app::revision("v1"))?)
    });
    host.check(report, "all files are as they were packed, and the old names work", |host| verified(host));
    host.check(report, "an upgrade while a hook runs: one hook, one report, the edit stays", |host| {
        upgraded(host, install)?;
        ensure!(rpm(host, &["--query", PROGRAM])?.contains(Version::Next.number()), "the old one is installed");
        Ok(())
    });
    host.check(report, "what was stopped stays stopped after an upgrade", |host| stays_stopped(host, install));
    host.check(report, "what was disabled stays disabled", |host| stays_disabled(host));
    host.check(report, "erased, it is stopped and gone; configuration and state are there", |host| erased(host));
    host.check(report, "installed again, it is the host that it was, and deploys", |host| {
        installed(host, install)?;
        ensure!(config(host).ends_with(EDIT), "the edit is gone:\n{}", config(host));
        host.deploy(&host.push("v3", &app::revision("v3"))?)
    });
    Ok(())
}

/// Debian's packages are not in rpm's database, so dependencies cannot be looked for.
fn rpm(host: &Host<'_>, words: &[&str]) -> Result<String> {
    host.machine.run(&[&["rpm", "--force-debian"], words].concat())
}

fn install(host: &Host<'_>, version: Version) -> Result<()> {
    let path = bring(&host.machine, &package(version, PROGRAM, ".rpm")?)?;
    rpm(host, &["--upgrade", "--nodeps", "--oldpackage", &path]).map(drop)
}

fn verified(host: &Host<'_>) -> Result<()> {
    let differs = host.machine.try_run(&["rpm", "--force-debian", "--verify", "--nodeps", PROGRAM])?;
    ensure!(differs.is_empty(), "{differs}");
    for (path, mode) in [("usr/bin/slipway-agent", 0o755), ("usr/lib/systemd/system/slipway-agent.service", 0o644)] {
        let found = fs::metadata(host.machine.root().join(path))?.permissions().mode() & 0o7777;
        ensure!(found == mode, "/{path} has mode {found:o}");
    }
    let help = host.machine.run(&["/opt/codedeploy-agent/bin/codedeploy-local", "--help"])?;
    ensure!(help.contains("deploy-local"), "codedeploy-local --help says {help}");
    host.machine.run(&["/opt/codedeploy-agent/bin/codedeploy-agent", "--version"]).map(drop)
}

fn stays_disabled(host: &Host<'_>) -> Result<()> {
    host.machine.run(&["systemctl", "disable", UNIT])?;
    install(host, Version::Next)?;
    is(host, "is-active", UNIT, "inactive")?;
    is(host, "is-enabled", UNIT, "disabled")?;
    host.machine.run(&["systemctl", "enable", "--now", UNIT])?;
    runs(host)
}

fn erased(host: &Host<'_>) -> Result<()> {
    rpm(host, &["--erase", PROGRAM])?;
    let state = host.machine.try_run(&["systemctl", "is-active", UNIT])?;
    ensure!(matches!(state.trim(), "inactive" | "unknown"), "it is {state}");
    for gone in [
        "usr/bin/slipway-agent",
        "opt/codedeploy-agent/bin",
        "etc/systemd/system/multi-user.target.wants/slipway-agent.service",
    ] {
        ensure!(host.machine.root().join(gone).symlink_metadata().is_err(), "/{gone} is still there");
    }
    let state = "/opt/codedeploy-agent/deployment-root/.slipway/host.json";
    ensure!(!host.read(state).is_empty(), "the state is gone");
    ensure!(config(host).ends_with(EDIT), "the edit of the configuration is gone:\n{}", config(host));
    Ok(())
}
