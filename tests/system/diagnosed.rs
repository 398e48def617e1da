//! `doctor` on a host that systemd runs: all is well, and then the unit is not.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::app;
use crate::host::{Host, UNIT};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 3;

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "doctor")?;
    host.connect_directly()?;
    host.machine.run(&["systemctl", "restart", UNIT])?;
    host.check(report, "a host that has deployed passes every check", |host| {
        host.deploy(&host.push("one", &app::revision("one"))?)?;
        ensure!(others_than(host, "pass")?.is_empty(), "{}", others_than(host, "pass")?.join("\n"));
        Ok(())
    });
    host.check(report, "a unit that is not enabled fails, and nothing else", |host| {
        host.machine.run(&["systemctl", "disable", UNIT])?;
        only_fails(host, "systemd unit enabled")
    });
    host.check(report, "a unit that does not run fails, and nothing else", |host| {
        host.machine.run(&["systemctl", "enable", UNIT])?;
        host.machine.run(&["systemctl", "stop", UNIT])?;
        only_fails(host, "systemd unit active")?;
        host.machine.run(&["systemctl", "start", UNIT]).map(drop)
    });
    Ok(())
}

/// That check fails, and beside it there is only what cannot be tried without a daemon.
fn only_fails(host: &Host<'_>, check: &str) -> Result<()> {
    let others = others_than(host, "pass")?;
    let (untried, failed): (Vec<_>, Vec<_>) = others.iter().partition(|one| one.contains(r#""result":"not_tried""#));
    let holds = matches!(failed[..], [one] if one.contains(check) && one.contains(r#""result":"fail""#))
        && untried.iter().all(|one| check == "systemd unit active" && one.contains("no daemon runs"));
    ensure!(holds, "{}", others.join("\n"));
    Ok(())
}

/// The checks with any other result.
fn others_than(host: &Host<'_>, result: &str) -> Result<Vec<String>> {
    let said = host.machine.try_run(&["slipway-agent", "doctor", "--json"])?;
    let report: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let checks = report["checks"].as_array().context("a list of checks")?;
    Ok(checks.iter().filter(|check| check["result"] != result).map(Value::to_string).collect())
}
