//! What a script is born with, where systemd starts its runner: what systemd gives a service, whoever asked for the
//! deployment. The same table without systemd is in `tests/programs`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use slipway_tests::birth::{Born, probe};
use slipway_tests::revision::{Hook, app};

use crate::app::DESTINATION;
use crate::host::{CONFIG, Host};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 3;

/// Where the facts are written, on the host.
const FACTS: &str = "/srv/birth";
/// What of a shell is as careless as it can make it.
const CARELESS: &str = "trap '' HUP INT QUIT TERM USR1; umask 077; exec 9</dev/zero; \
                        echo 500 > /proc/self/oom_score_adj; ulimit -c 0; ulimit -n 300; exec nice -n 7 \"$@\"";

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "birth")?;
    std::fs::create_dir_all(on_host(&host, FACTS))?;
    let service = as_service(&host)?;
    host.check(report, "a script of the daemon is born as a service is", |host| {
        host.deploy(&host.push("v1", &probing("daemon"))?)?;
        is_like(&read(host, "daemon")?, &service)
    });
    host.check(report, "so is one of a local deployment, whose caller is careless", |host| {
        probing("local").write(&on_host(host, "/srv/revision"))?;
        let config = format!("{CONFIG}/codedeployagent.yml");
        let words = ["slipway-agent", "deploy-local", "-l", "/srv/revision", "-g", "local", "-c", &config];
        host.machine.run(&[&["sh", "-c", CARELESS, "sh"], &words[..]].concat())?;
        is_like(&read(host, "local")?, &service)
    });
    host.check(report, "it has a control group of its own", |host| {
        for name in ["daemon", "local"] {
            let born = read(host, name)?;
            let group = born.get("cgroup")?;
            ensure!(group.contains("/system.slice/slipway-hook-"), "{name}: {group}");
        }
        Ok(())
    });
    Ok(())
}

fn on_host(host: &Host<'_>, path: &str) -> PathBuf {
    host.machine.root().join(path.trim_start_matches('/'))
}

fn facts(name: &str) -> PathBuf {
    Path::new(FACTS).join(name)
}

fn read(host: &Host<'_>, name: &str) -> Result<Born> {
    Born::read(&on_host(host, &facts(name).display().to_string()))
}

fn probing(name: &str) -> slipway_tests::revision::Revision {
    app(Path::new(DESTINATION).join(name).as_path(), name, &[Hook::new("AfterInstall", &probe(&facts(name)))])
}

/// What systemd gives a service that says nothing about it.
fn as_service(host: &Host<'_>) -> Result<Born> {
    let script = on_host(host, FACTS).join("probe");
    std::fs::write(&script, probe(&facts("service"))).context("write the probe")?;
    let path = Path::new(FACTS).join("probe").display().to_string();
    host.machine.run(&["systemd-run", "--wait", "--quiet", "/bin/sh", &path])?;
    read(host, "service")
}

fn is_like(born: &Born, service: &Born) -> Result<()> {
    for name in ["SigBlk", "umask", "cwd", "terminal", "nice", "oom_score_adj", "fd 0"] {
        let (found, expected) = (born.get(name)?, service.get(name)?);
        ensure!(found == expected, "{name} is {found}, and a service's is {expected}");
    }
    let (found, expected) = (born.all("limit "), service.all("limit "));
    ensure!(found == expected, "the limits are {found:?}, and a service's are {expected:?}");
    // systemd has a service ignore SIGPIPE. With AWS's agent scripts do not, so that `yes | head` ends.
    ensure!(service.get("SigIgn")?.ends_with("1000"), "a service of systemd ignores {}", service.get("SigIgn")?);
    ensure!(born.get("SigIgn")? == "0000000000000000", "a script ignores {}", born.get("SigIgn")?);
    for name in ["session", "group"] {
        ensure!(born.get(name)? == born.get("pid")?, "its {name} is {}: {born:?}", born.get(name)?);
    }
    ensure!(born.inherited().is_empty(), "descriptors were inherited: {born:?}");
    Ok(())
}
