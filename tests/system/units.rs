//! A hook's unit: it is there while something of the hook runs, and no longer; and what a hook that goes wrong
//! leaves is ended with it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use slipway_tests::deployment::Event;
use slipway_tests::revision::{Hook, app};
use slipway_tests::secret::Secret;
use slipway_tests::until::until_true;

use crate::app::{self as waiting, DESTINATION, Order};
use crate::host::{Host, PATIENCE, UNIT, succeeded};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 7;

const EVENT: &str = "AfterInstall";
const PROXY_PASSWORD: &str = "hun+ter27f3a9c55e0";
/// Where scripts write down the processes that they leave.
const LEFT: &str = "/srv/left";

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "units")?;
    host.configure("20-grace.yml", "output_grace_seconds: 1\n")?;
    host.machine.run(&["systemctl", "restart", UNIT])?;
    host.check(report, "a hook has a unit while it runs, and none after", |host| comes_and_goes(host));
    host.check(
        report,
        "no secret of the host is in what systemd shows, in the journal, or in a hook's environment",
        |host| keeps_secrets(host),
    );
    host.check(report, "with a background process the unit stays, until that ends too", |host| {
        stays_for_background(host)
    });
    host.check(report, "a runner that is killed is reported, and its script ended", |host| lost(host));
    host.check(report, "a hook whose unit is stopped by hand is reported as interrupted", |host| stopped(host));
    host.check(report, "a script that ignores TERM is ended when its time is over", |host| timed_out(host));
    host.check(report, "output that is left open is reported, and who holds it is ended", |host| left_open(host));
    Ok(())
}

fn comes_and_goes(host: &Host<'_>) -> Result<()> {
    let order = Order::wait(host.machine.root(), EVENT)?;
    let deployment = host.begin(&host.push("waits", &waiting::revision("waits"))?)?;
    order.begun()?;
    let unit = host.hook_unit(&deployment, EVENT)?;
    let environment = host.property(&unit, "Environment")?;
    ensure!(environment.is_empty(), "every user of the host can read the unit's environment: {environment}");
    let pids = host.machine.run(&["systemctl", "status", "--no-pager", &unit])?;
    ensure!(pids.contains("scripts/AfterInstall.sh"), "the script is not one of the unit's processes:\n{pids}");
    order.end_with(0)?;
    succeeded(&host.finish(&deployment)?)?;
    none_left(host)
}

fn keeps_secrets(host: &Host<'_>) -> Result<()> {
    let identity = host.read("/etc/codedeploy-agent/conf/codedeploy.onpremises.yml");
    let key = identity.lines().find_map(|line| line.split_once("aws_secret_access_key:")).context("the host's key")?.1;
    let secrets = [Secret::new("the host's key", key.trim()), Secret::new("the proxy's password", PROXY_PASSWORD)];
    // Everything is excepted from it.
    let proxy = format!("proxy_uri: http://me:{PROXY_PASSWORD}@127.0.0.1:1\nno_proxy: 127.0.0.1\nlog_aws_wire: true\n");
    host.configure("30-proxy.yml", &proxy)?;
    host.machine.run(&["systemctl", "restart", UNIT])?;
    let order = Order::wait(host.machine.root(), EVENT)?;
    let deployment = host.begin(&host.push("secret", &waiting::revision("secret"))?)?;
    order.begun()?;
    let runs = order.runs();
    let script =
        runs.last().and_then(|run| run.split(' ').next_back()).context("the script has written its process down")?;
    let shown: [&[&str]; 5] = [
        &["systemctl", "show", "*"],
        &["systemctl", "show-environment"],
        &["systemctl", "status", "--no-pager", "--full", "--lines=1000", "*"],
        &["journalctl", "--no-pager", "--output=export"],
        &["cat", &format!("/proc/{script}/environ")],
    ];
    for words in shown {
        let text = host.machine.try_run(words)?;
        ensure!(!text.is_empty(), "{words:?} says nothing");
        let found = secrets.iter().find(|secret| secret.in_text(text.as_bytes()).is_some());
        ensure!(found.is_none(), "{words:?} shows {}", found.map(Secret::name).unwrap_or_default());
    }
    order.end_with(0)?;
    succeeded(&host.finish(&deployment)?)
}

fn stays_for_background(host: &Host<'_>) -> Result<()> {
    let lines = format!("sleep infinity >/dev/null 2>&1 &\necho $! > {LEFT}");
    let (deployment, pid) = deploy(host, "background", Hook::new(EVENT, &lines))?;
    succeeded(&host.finish(&deployment)?)?;
    let unit = host.hook_unit(&deployment, EVENT)?;
    host.machine.run(&["systemctl", "restart", UNIT])?;
    ensure!(host.hook_unit(&deployment, EVENT)? == unit, "the unit is another one after the restart of the agent");
    ensure!(host.is_running(&pid)?, "the background process was ended");
    host.machine.run(&["systemctl", "kill", "--signal=KILL", &unit])?;
    ended(host, &pid)
}

fn lost(host: &Host<'_>) -> Result<()> {
    let (deployment, pid) = deploy(host, "lost", Hook::new(EVENT, &waits("")))?;
    let unit = host.hook_unit(&deployment, EVENT)?;
    host.machine.run(&["systemctl", "kill", "--signal=KILL", "--kill-who=main", &unit])?;
    failed(host, &deployment, "UnknownError", "lost its runner")?;
    ended(host, &pid)
}

fn stopped(host: &Host<'_>) -> Result<()> {
    let (deployment, pid) = deploy(host, "stopped", Hook::new(EVENT, &waits("")))?;
    host.machine.run(&["systemctl", "stop", &host.hook_unit(&deployment, EVENT)?])?;
    failed(host, &deployment, "UnknownError", "was interrupted")?;
    ended(host, &pid)
}

fn timed_out(host: &Host<'_>) -> Result<()> {
    let lines = waits("trap '' TERM");
    let (deployment, pid) = deploy(host, "stubborn", Hook { timeout: 2, ..Hook::new(EVENT, &lines) })?;
    let event = failed(host, &deployment, "ScriptTimedOut", "failed to complete in 2 seconds")?;
    ensure!(!event.diagnostic("message").contains("Could not be ended"), "{}", event.diagnostics);
    ended(host, &pid)
}

fn left_open(host: &Host<'_>) -> Result<()> {
    let lines = format!("setsid sleep infinity &\necho $! > {LEFT}");
    let (deployment, pid) = deploy(host, "open", Hook::new(EVENT, &lines))?;
    failed(host, &deployment, "UnknownError", &format!("process {pid} (sleep infinity)"))?;
    ended(host, &pid)
}

/// Lines of a script that waits for ever, `first` before.
fn waits(first: &str) -> String {
    format!("{first}\necho $$ > {LEFT}\nwhile :; do sleep infinity; done")
}

/// Begins a deployment with that hook, and gives its id and the process that the hook has written down.
fn deploy(host: &Host<'_>, page: &str, hook: Hook<'_>) -> Result<(String, String)> {
    let _ = std::fs::remove_file(host.machine.root().join(LEFT.trim_start_matches('/')));
    let deployment = host.begin(&host.push(page, &app(Path::new(DESTINATION), page, &[hook]))?)?;
    let pid = host.until_written(LEFT)?;
    Ok((deployment, pid))
}

fn failed(host: &Host<'_>, deployment: &str, code: &str, words: &str) -> Result<Event> {
    let finished = host.finish(deployment)?;
    let event = finished.failed_event()?;
    ensure!(event.name == EVENT, "{} failed instead: {}", event.name, event.diagnostics);
    ensure!(event.diagnostic("errorCode") == code, "{code} was expected: {}", event.diagnostics);
    ensure!(event.diagnostic("message").contains(words), "{words:?} is missing: {}", event.diagnostics);
    Ok(event.clone())
}

/// Holds that a process has ended, and with it the last unit of a hook.
fn ended(host: &Host<'_>, pid: &str) -> Result<()> {
    until_true(&format!("process {pid} to end"), PATIENCE, || Ok(!host.is_running(pid)?))?;
    none_left(host)
}

fn none_left(host: &Host<'_>) -> Result<()> {
    until_true("the hooks' units to be gone", PATIENCE, || Ok(host.hook_units()?.is_empty()))
        .with_context(|| format!("there are {:?}", host.hook_units().unwrap_or_default()))
}
