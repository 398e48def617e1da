//! A service that a hook starts in the background, in the two ways that people know, outlives the hook and
//! whatever happens to the agent.

use std::path::Path;

use anyhow::{Result, ensure};
use slipway_tests::revision::{Hook, app};

use crate::app::DESTINATION;
use crate::host::{Host, UNIT};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 6;

const STARTS: &str = "\
mkdir -p /srv/background
setsid sh -c 'echo $$ > /srv/background/setsid; exec sleep infinity' >/dev/null 2>&1 &
nohup sleep infinity >/dev/null 2>&1 &
echo $! > /srv/background/nohup";

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "background")?;
    let first = app(Path::new(DESTINATION), "v1", &[Hook::new("ApplicationStart", STARTS)]);
    host.deploy(&host.push("v1", &first)?)?;
    let pids = [host.until_written("/srv/background/setsid")?, host.until_written("/srv/background/nohup")?];
    let mut check = |when: &str, act: &dyn Fn(&Host<'_>) -> Result<()>| {
        host.check(report, &format!("both run on {when}"), |host| {
            act(host)?;
            alive(host, &pids)
        });
    };
    check("after the hook and its deployment", &|_| Ok(()));
    check("when the agent is restarted", &|host| run(host, &["systemctl", "restart", UNIT]));
    check("when the agent is killed", &|host| {
        let before = host.agent_pid()?;
        host.kill_agent()?;
        host.until_replaced(before)
    });
    check("while the agent is stopped", &|host| run(host, &["systemctl", "stop", UNIT]));
    check("when another build of the agent is started", &|host| {
        host.replace_program("upgrade")?;
        run(host, &["systemctl", "start", UNIT])?;
        ensure!(host.runs_what_is_installed()?, "the old build runs");
        Ok(())
    });
    check("when the next revision is deployed, which does not stop them", &|host| {
        host.deploy(&host.push("v2", &app(Path::new(DESTINATION), "v2", &[]))?)
    });
    Ok(())
}

fn run(host: &Host<'_>, words: &[&str]) -> Result<()> {
    host.machine.run(words).map(drop)
}

fn alive(host: &Host<'_>, pids: &[String]) -> Result<()> {
    for pid in pids {
        ensure!(host.is_running(pid)?, "process {pid}, which the hook left running, was ended");
        let name = host.machine.try_run(&["cat", &format!("/proc/{pid}/comm")])?;
        ensure!(name.trim() == "sleep", "process {pid} is {name}");
    }
    Ok(())
}
