//! The agent's deb.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::{EDIT, PROGRAM, Version, bring, config, installed, is, package, runs, stays_stopped, upgraded};
use crate::app::{self, DESTINATION};
use crate::host::{CONFIG, Host, UNIT};
use crate::job::{Ground, run};
use crate::report::Report;

const ROOT: &str = "/opt/codedeploy-agent/deployment-root";

/// From its installation to its purge, on one host.
pub fn agent(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::register(ground, "deb")?;
    host.machine.boot()?;
    host.check(report, "installed where the configuration is already, it asks nothing, and runs", |host| {
        installed(host, install)
    });
    host.check(report, "the host deploys; the old names work; all files are as they were packed", |host| works(host));
    host.check(report, "an upgrade while a hook runs: one hook, one report, the new agent", |host| {
        upgraded(host, install)
    });
    host.check(report, "what was stopped stays stopped after an upgrade", |host| {
        stays_stopped(host, install)?;
        host.machine.run(&["systemctl", "start", UNIT])?;
        runs(host)
    });
    host.check(report, "what was disabled stays disabled, and is restarted if it runs", |host| stays_disabled(host));
    host.check(report, "a removal stops it and keeps configuration and state", |host| removed(host));
    host.check(report, "installed again it runs, as the host that it was", |host| installed_again(host));
    host.check(report, "a purge takes state and logs, and leaves the application and the host's key", |host| {
        purged(host)
    });
    host.check(
        report,
        "a host that was never configured: the sample, and a first deployment in two commands",
        |host| unconfigured(host),
    );
    Ok(())
}

fn dpkg(host: &Host<'_>, words: &[&str]) -> Result<String> {
    host.machine.run(&[&["dpkg"], words].concat())
}

fn install(host: &Host<'_>, version: Version) -> Result<()> {
    let path = bring(&host.machine, &package(version, PROGRAM, ".deb")?)?;
    dpkg(host, &["--install", &path]).map(drop)
}

fn deploy(host: &Host<'_>, page: &str) -> Result<()> {
    host.deploy(&host.push(page, &app::revision(page))?)?;
    let shown = host.read(&format!("{DESTINATION}/page"));
    ensure!(shown == page, "the page is {shown}, not {page}");
    Ok(())
}

fn works(host: &Host<'_>) -> Result<()> {
    deploy(host, "v1")?;
    let version = format!("slipway-agent {}", Version::Own.number());
    let said = host.machine.run(&["/opt/codedeploy-agent/bin/codedeploy-agent", "--version"])?;
    ensure!(said.trim() == version, "codedeploy-agent --version says {said}");
    let help = host.machine.run(&["/opt/codedeploy-agent/bin/codedeploy-local", "--help"])?;
    ensure!(help.contains("deploy-local"), "codedeploy-local --help says {help}");
    let differs = dpkg(host, &["--verify", PROGRAM])?;
    ensure!(differs.is_empty(), "{differs}");
    for file in [
        "man/man1/slipway-agent.1.gz",
        "man/man5/codedeployagent.yml.5.gz",
        "bash-completion/completions/slipway-agent",
        "doc/slipway-agent/copyright",
    ] {
        ensure!(!dpkg(host, &["--search", &format!("/usr/share/{file}")])?.is_empty(), "there is no {file}");
    }
    Ok(())
}

fn stays_disabled(host: &Host<'_>) -> Result<()> {
    host.machine.run(&["systemctl", "disable", UNIT])?;
    let before = host.agent_pid()?;
    install(host, Version::Next)?;
    host.until_replaced(before)?;
    is(host, "is-enabled", UNIT, "disabled")?;
    host.machine.run(&["systemctl", "enable", UNIT])?;
    runs(host)
}

fn removed(host: &Host<'_>) -> Result<()> {
    dpkg(host, &["--remove", PROGRAM])?;
    let state = host.machine.try_run(&["systemctl", "is-active", UNIT])?;
    ensure!(matches!(state.trim(), "inactive" | "unknown"), "it is {state}");
    ensure!(config(host).ends_with(EDIT), "the configuration is gone");
    ensure!(!host.read(&format!("{ROOT}/.slipway/host.json")).is_empty(), "the state is gone");
    Ok(())
}

fn installed_again(host: &Host<'_>) -> Result<()> {
    install(host, Version::Own)?;
    runs(host)?;
    ensure!(config(host).ends_with(EDIT), "the configuration is another one");
    deploy(host, "v3")
}

fn purged(host: &Host<'_>) -> Result<()> {
    dpkg(host, &["--purge", PROGRAM])?;
    let root = host.machine.root();
    let is_there = |path: &str| root.join(path.trim_start_matches('/')).symlink_metadata().is_ok();
    for gone in [
        ROOT,
        "/opt/codedeploy-agent/bin",
        "/var/log/aws/codedeploy-agent",
        "/etc/codedeploy-agent/conf/codedeployagent.yml",
        "/etc/systemd/system/codedeploy-agent.service",
        "/etc/systemd/system/multi-user.target.wants/slipway-agent.service",
    ] {
        ensure!(!is_there(gone), "{gone} is still there");
    }
    ensure!(is_there(&format!("{CONFIG}/codedeploy.onpremises.yml")), "the administrator's file is gone");
    ensure!(host.read(&format!("{DESTINATION}/page")) == "v3", "the application is gone");
    Ok(())
}

fn unconfigured(host: &Host<'_>) -> Result<()> {
    let conf = host.machine.root().join(CONFIG.trim_start_matches('/'));
    fs::remove_dir_all(conf)?;
    install(host, Version::Own)?;
    runs(host)?;
    ensure!(config(host).starts_with("# Configuration of slipway-agent"), "there is no sample");
    // As the README says.
    host.machine.run(&["slipway-agent", "deploy-local", "-l", "/usr/share/slipway-agent/hello", "-g", "hello"])?;
    ensure!(host.read("/opt/hello/hello.txt") == "Hello from Slipway.\n", "the example was not installed");
    dpkg(host, &["--purge", PROGRAM])?;
    ensure!(!host.machine.root().join("etc/codedeploy-agent").exists(), "the purge left a directory");
    Ok(())
}

/// AWS's package is on the host, with a configuration that was edited.
pub fn takeover(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::register(ground, "deb-takeover")?;
    host.machine.boot()?;
    let theirs = bring(&host.machine, &their_package(ground.place.path())?)?;
    host.check(report, "where AWS's package is, it takes its place without a question, and runs", |host| {
        dpkg(host, &["--install", "--force-confold", &theirs])?;
        is(host, "is-active", "codedeploy-agent.service", "active")?;
        let before = config(host);
        install(host, Version::Own)?;
        runs(host)?;
        let state =
            host.machine.try_run(&["dpkg-query", "--show", "--showformat=${db:Status-Status}", "codedeploy-agent"])?;
        ensure!(state != "installed", "AWS's package is {state}");
        ensure!(config(host) == before, "the configuration was changed");
        deploy(host, "v1")
    });
    host.check(report, "a purge of what AWS's package left behind does not end it", |host| {
        dpkg(host, &["--purge", "codedeploy-agent"])?;
        runs(host)
    });
    host.check(report, "once AWS's package is back, a purge leaves it what it needs", |host| {
        // As apt does, where one is to be installed in the other's place.
        dpkg(host, &["--remove", PROGRAM])?;
        dpkg(host, &["--install", "--force-confold", &theirs])?;
        dpkg(host, &["--purge", PROGRAM])?;
        is(host, "is-active", "codedeploy-agent.service", "active")?;
        let instructions = host.machine.root().join(ROOT.trim_start_matches('/')).join("deployment-instructions");
        ensure!(instructions.exists(), "the state that both share is gone");
        ensure!(!config(host).is_empty(), "the configuration is gone");
        Ok(())
    });
    Ok(())
}

/// A package like AWS's: a program in /opt, a service, and the configuration as a conffile.
fn their_package(place: &Path) -> Result<std::path::PathBuf> {
    let folder = place.join("codedeploy-agent");
    let files = [
        (
            "DEBIAN/control",
            "Package: codedeploy-agent\nVersion: 1.7.1-1\nArchitecture: all\nMaintainer: tests <tests@example.invalid>\n\
             Description: in the place of AWS's agent\n",
        ),
        ("DEBIAN/conffiles", "/etc/codedeploy-agent/conf/codedeployagent.yml\n"),
        ("DEBIAN/postinst", "#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl restart codedeploy-agent\n"),
        ("DEBIAN/prerm", "#!/bin/sh\nset -e\nsystemctl stop codedeploy-agent\n"),
        ("etc/codedeploy-agent/conf/codedeployagent.yml", ":log_aws_wire: false\n:verbose: false\n"),
        ("opt/codedeploy-agent/bin/codedeploy-agent", "#!/bin/sh\nexec sleep infinity\n"),
        (
            "usr/lib/systemd/system/codedeploy-agent.service",
            "[Service]\nExecStart=/opt/codedeploy-agent/bin/codedeploy-agent\n[Install]\nWantedBy=multi-user.target\n",
        ),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        fs::write(&path, text)?;
        let mode = if text.starts_with("#!") { "755" } else { "644" };
        run(Command::new("chmod").arg(mode).arg(&path))?;
    }
    run(Command::new("chmod").arg("755").arg(folder.join("DEBIAN")))?;
    let file = place.join("codedeploy-agent.deb");
    run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&folder).arg(&file))?;
    Ok(file)
}
