//! The unit as it is: what systemd sees of it, deployments, a reboot between them, and a host that comes up
//! before its service.

use std::path::Path;

use anyhow::{Result, ensure};
use slipway_tests::until::until_true;

use crate::app::{self, DESTINATION};
use crate::host::{Host, PATIENCE, UNIT};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 9;

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::install(ground, "deploys")?;
    host.connect_directly()?;
    host.machine.boot()?;
    host.check(report, "systemd finds nothing wrong with the unit", |host| nothing_wrong(host));
    host.check(report, "enabled and started, the agent is ready, by AWS's name too", |host| started(host));
    host.check(report, "a deployment succeeds", |host| deployed(host, "v1"));
    host.check(report, "so does one while another build is installed and not started yet", |host| between_builds(host));
    host.machine.reboot()?;
    host.check(report, "after a reboot the agent is there", |host| active(host));
    host.check(report, "and the next deployment succeeds", |host| deployed(host, "v3"));
    host.check(report, "systemctl stop ends it in order", |host| stopped(host));
    host.check(report, "booted without its service the agent is ready, and says why it waits", without_service);
    host.check(report, "and deploys once the service is there", service_is_back);
    Ok(())
}

fn nothing_wrong(host: &Host<'_>) -> Result<()> {
    // Settings that this systemd does not know yet are ignored by it, as the unit says.
    let mut verify = host.machine.command(&["systemd-analyze", "verify", "--man=no", UNIT])?;
    let output = verify.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let newer = ["RestartSteps", "RestartMaxDelaySec"];
    let wrong: Vec<&str> =
        said.lines().filter(|line| line.contains(UNIT) && !newer.iter().any(|name| line.contains(name))).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    ensure!(output.status.success(), "{} {said}", output.status);
    Ok(())
}

fn started(host: &Host<'_>) -> Result<()> {
    host.machine.run(&["systemctl", "enable", UNIT])?;
    host.machine.run(&["systemctl", "start", UNIT])?;
    active(host)?;
    let status = host.machine.run(&["systemctl", "status", "--no-pager", "codedeploy-agent"])?;
    for part in ["slipway-agent.service - Slipway deployment agent", "Active: active (running)", "slipway-agent starts"]
    {
        ensure!(status.contains(part), "{part:?} is missing in:\n{status}");
    }
    Ok(())
}

/// Started by notification: systemd calls the unit active only once it was told READY=1.
fn active(host: &Host<'_>) -> Result<()> {
    ensure!(host.property(UNIT, "Type")? == "notify", "the unit does not wait for the agent's word");
    until_true("the agent to be ready", PATIENCE, || Ok(host.property(UNIT, "ActiveState")? == "active"))?;
    ensure!(host.property(UNIT, "NRestarts")? == "0", "it was restarted");
    Ok(())
}

fn deployed(host: &Host<'_>, page: &str) -> Result<()> {
    host.deploy(&host.push(page, &app::revision(page))?)?;
    let path = Path::new(DESTINATION).join("page");
    ensure!(host.read(&path.display().to_string()) == page, "the page is not {page}");
    Ok(())
}

fn between_builds(host: &Host<'_>) -> Result<()> {
    host.replace_program("another build")?;
    ensure!(!host.runs_what_is_installed()?, "the agent was not replaced");
    deployed(host, "v2")
}

fn stopped(host: &Host<'_>) -> Result<()> {
    host.machine.run(&["systemctl", "stop", UNIT])?;
    let result = host.property(UNIT, "Result")?;
    ensure!(result == "success", "its result is {result}");
    Ok(())
}

fn without_service(host: &mut Host<'_>) -> Result<()> {
    host.control.stop()?;
    host.machine.reboot()?;
    active(host)?;
    until_true("systemctl status to say that polls fail, and why", PATIENCE, || {
        let status = host.machine.try_run(&["systemctl", "status", "--no-pager", "--full", UNIT])?;
        Ok(status.contains("the poll failed") && status.contains("onnection refused"))
    })?;
    active(host)
}

fn service_is_back(host: &mut Host<'_>) -> Result<()> {
    let before = host.agent_pid()?;
    host.control.restart()?;
    deployed(host, "v4")?;
    ensure!(host.agent_pid()? == before, "the agent was started again meanwhile");
    Ok(())
}
