//! A host that boots before there is a network.

use anyhow::{Context, Result, ensure};
use slipway_tests::control::Control;
use slipway_tests::until::until_true;

use crate::app;
use crate::cable::Cable;
use crate::host::{Host, PATIENCE, UNIT};
use crate::job::Ground;
use crate::machine::Network;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 2;

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let cable = Cable::lay().context("lay a cable between the tests and the host")?;
    let control = Control::start_at(&ground.place, &cable.address())?;
    let mut host = Host::install_with(ground, "offline", control, Network::Own)?;
    host.connect_directly()?;
    host.machine.boot()?;
    host.machine.run(&["systemctl", "enable", UNIT])?;
    host.machine.reboot()?;
    host.check(report, "booted without a network the agent is ready, and says why it waits", |host| waits(host));
    host.check(report, "and deploys once the network is there, in the same life", |host| {
        let before = host.agent_pid()?;
        cable.plug_in(&host.machine)?;
        host.deploy(&host.push("one", &app::revision("one"))?)?;
        ensure!(host.agent_pid()? == before, "the agent was started again meanwhile");
        Ok(())
    });
    Ok(())
}

fn waits(host: &Host<'_>) -> Result<()> {
    until_true("the agent to be ready", PATIENCE, || Ok(host.property(UNIT, "ActiveState")? == "active"))?;
    until_true("systemctl status to say why polls fail", PATIENCE, || {
        let status = host.machine.try_run(&["systemctl", "status", "--no-pager", "--full", UNIT])?;
        Ok(status.contains("the poll failed") && status.contains("etwork is unreachable"))
    })
}
