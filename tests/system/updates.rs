//! The service asks for an update of the agent: the host's own apt upgrades the package, whose script restarts the
//! agent with systemd, and the agent that comes then reports what became of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries;
use slipway_tests::until::until_true;

use crate::app;
use crate::host::{Host, PATIENCE, UNIT, succeeded};
use crate::job::{Ground, run};
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 3;

/// The event that the wire makes the command of.
const EVENT: &str = "ApplicationStop";
/// A repository of packages, on the host.
const REPOSITORY: &str = "/srv/repository";

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::install(ground, "updates")?;
    host.machine.boot()?;
    let sources = format!("deb [trusted=yes] file:{REPOSITORY} ./\n");
    fs::write(inside(&host, "/etc/apt/sources.list"), sources)?;
    let first = build(&host, "1")?;
    host.machine.run(&["dpkg", "--install", &first])?;
    let second = build(&host, "2")?;
    publish(&host, "2", &second)?;
    host.machine.run(&["systemctl", "enable", "--now", UNIT])?;
    host.check(report, "as the agent is, it refuses", |host| refused(host));
    host.configure("20-updates.yml", "update_agent: packages\n")?;
    host.machine.run(&["systemctl", "restart", UNIT])?;
    host.check(report, "apt upgrades it, and the agent that comes then reports that", |host| upgraded(host));
    host.check(report, "once more, and there is nothing to do", |host| nothing_to_do(host));
    Ok(())
}

fn inside(host: &Host<'_>, path: &str) -> std::path::PathBuf {
    host.machine.root().join(path.trim_start_matches('/'))
}

fn control(version: &str) -> String {
    format!(
        "Package: slipway-agent\nVersion: {version}\nArchitecture: all\nMaintainer: tests <tests@example.invalid>\n\
         Description: the agent, for this test alone\n"
    )
}

/// Builds a version of the package on the host; gives its path there.
fn build(host: &Host<'_>, version: &str) -> Result<String> {
    let tree = format!("/srv/packages/{version}");
    let package = format!("{REPOSITORY}/slipway-agent_{version}.deb");
    for directory in [format!("{tree}/usr/bin"), format!("{tree}/DEBIAN"), REPOSITORY.to_owned()] {
        fs::create_dir_all(inside(host, &directory))?;
    }
    let built = binaries::profile_directory()?.join("slipway-agent");
    let program = inside(host, &format!("{tree}/usr/bin/slipway-agent"));
    // It is smaller so, and memory is what these hosts are kept in.
    if run(Command::new("strip").arg("-o").arg(&program).arg(&built)).is_err() {
        fs::copy(&built, &program)?;
    }
    let mut content = fs::read(&program)?;
    content.extend_from_slice(version.as_bytes());
    fs::write(&program, content)?;
    fs::write(inside(host, &format!("{tree}/DEBIAN/control")), control(version))?;
    let script = inside(host, &format!("{tree}/DEBIAN/postinst"));
    let restarts = format!("#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl try-restart {UNIT}\n");
    fs::write(&script, restarts)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    host.machine.run(&["dpkg-deb", "--build", "--root-owner-group", "-Znone", &tree, &package])?;
    fs::remove_dir_all(inside(host, &tree))?;
    Ok(package)
}

/// Puts a package into the repository's list, alone.
fn publish(host: &Host<'_>, version: &str, package: &str) -> Result<()> {
    let size = fs::metadata(inside(host, package))?.len();
    let digest = host.machine.run(&["sha256sum", package])?;
    let digest = digest.split_whitespace().next().context("a digest")?;
    let name = Path::new(package).file_name().context("a package has a name")?.to_string_lossy();
    let entry = format!("{}Filename: ./{name}\nSize: {size}\nSHA256: {digest}\n\n", control(version));
    Ok(fs::write(inside(host, &format!("{REPOSITORY}/Packages")), entry)?)
}

fn version(host: &Host<'_>) -> Result<String> {
    host.machine.run(&["dpkg-query", "--show", "--showformat", "${Version}", "slipway-agent"])
}

fn refused(host: &Host<'_>) -> Result<()> {
    host.wire.rename(EVENT, "UpdateDeploymentAgent");
    let deployment = host.begin(&host.push("refused", &app::revision("refused"))?)?;
    let finished = host.finish(&deployment)?;
    let event = finished.failed_event()?;
    ensure!(event.diagnostic("message").contains("apt-get install --only-upgrade"), "{}", event.diagnostics);
    ensure!(version(host)? == "1", "it was upgraded all the same");
    Ok(())
}

fn upgraded(host: &Host<'_>) -> Result<()> {
    let before = host.agent_pid()?;
    host.wire.rename(EVENT, "UpdateDeploymentAgent");
    let deployment = host.begin(&host.push("upgraded", &app::revision("upgraded"))?)?;
    let finished = host.finish(&deployment)?;
    succeeded(&finished)?;
    let tail = finished.event(EVENT)?.diagnostic("logTail").to_owned();
    ensure!(tail.contains("Setting up slipway-agent (2)"), "{tail}");
    ensure!(version(host)? == "2", "it was not upgraded");
    ensure!(host.agent_pid()? != before && host.runs_what_is_installed()?, "it was not restarted");
    until_true("the units of the upgrade to be gone", PATIENCE, || Ok(host.hook_units()?.is_empty()))?;
    host.one_result_each()
}

fn nothing_to_do(host: &Host<'_>) -> Result<()> {
    let before = host.agent_pid()?;
    host.wire.rename(EVENT, "UpdateDeploymentAgent");
    let deployment = host.begin(&host.push("again", &app::revision("again"))?)?;
    let finished = host.finish(&deployment)?;
    succeeded(&finished)?;
    let tail = finished.event(EVENT)?.diagnostic("logTail").to_owned();
    ensure!(tail.contains("slipway-agent is already the newest version"), "{tail}");
    ensure!(host.agent_pid()? == before, "it was restarted");
    host.one_result_each()
}
