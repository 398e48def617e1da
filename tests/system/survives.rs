//! The agent is interrupted while a hook runs: the hook goes on, runs once, and its true exit code is
//! reported. Every interruption with every event that has hooks.

use anyhow::{Result, ensure};
use slipway_tests::deployment::Finished;
use slipway_tests::fleet::Bundle;
use slipway_tests::until::until_true;

use crate::app::{self, EVENTS, Order};
use crate::host::{Host, PATIENCE, UNIT, succeeded};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are for each interruption.
pub const CHECKS: u64 = EVENTS.len() as u64;
/// How many there are without a bus.
pub const WITHOUT_BUS: u64 = 4;

/// What happens to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// `systemctl restart`.
    Restart,
    /// SIGKILL; systemd starts it again.
    Kill,
    /// `systemctl stop`, and `start` later.
    Stop,
    /// Another build is put in its place, and the unit restarted.
    Upgrade,
}

/// When the hook is allowed to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// As soon as nobody waits for it.
    WhileNoAgentRuns,
    /// Once the next agent runs.
    WithTheNextAgent,
}

/// One cell of the matrix.
struct Case {
    event: &'static str,
    sent_as: &'static str,
    interruption: Interruption,
    ending: Ending,
    code: u8,
}

/// This interruption with every event, on one host.
pub fn test(ground: &Ground, interruption: Interruption, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, &format!("hook-{interruption:?}").to_lowercase())?;
    let cases = (0_u8..).zip(EVENTS).map(|(index, (event, sent_as))| Case {
        event,
        sent_as,
        interruption,
        ending: if index % 4 < 2 { Ending::WithTheNextAgent } else { Ending::WhileNoAgentRuns },
        // Each event ends well after two of the interruptions, and badly after the other two.
        code: if (index + interruption as u8).is_multiple_of(2) { 0 } else { 10 + index },
    });
    carry_out(&mut host, cases, report)
}

/// Every interruption in one event, where hooks cannot have units of their own: systemd has no bus.
pub fn without_bus(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::install(ground, "no-bus")?;
    host.machine.boot()?;
    host.machine.run(&["systemctl", "mask", "--now", "dbus.service", "dbus.socket"])?;
    host.machine.run(&["systemctl", "enable", "--now", UNIT])?;
    let (event, sent_as) = ("AfterInstall", "AfterInstall");
    let all = [Interruption::Restart, Interruption::Kill, Interruption::Stop, Interruption::Upgrade];
    let cases = (10_u8..).zip(all).map(|(code, interruption)| Case {
        event,
        sent_as,
        interruption,
        ending: Ending::WithTheNextAgent,
        code,
    });
    carry_out(&mut host, cases, report)
}

fn carry_out(host: &mut Host<'_>, cases: impl Iterator<Item = Case>, report: &mut Report) -> Result<()> {
    let bundle = host.push("app", &app::revision("page"))?;
    host.deploy(&bundle)?;
    for case in cases {
        let what = format!("{:?} in {}, which ends with {}", case.interruption, case.event, case.code);
        host.check(report, &what, |host| case.carry_out(host, &bundle));
    }
    Ok(())
}

impl Case {
    fn carry_out(&self, host: &Host<'_>, bundle: &Bundle) -> Result<()> {
        host.wire.rename(self.sent_as, self.event);
        let order = Order::wait(host.machine.root(), self.event)?;
        let deployment = host.begin(bundle)?;
        self.interrupt(host, &order)?;
        self.judge(&host.finish(&deployment)?)?;
        let runs = order.runs();
        ensure!(runs.len() == 1, "the hook ran {} times: {runs:?}", runs.len());
        ensure!(runs[0].starts_with(&format!("{deployment} {} ", self.event)), "{runs:?} is not {}", self.event);
        host.one_result_each()
    }

    fn interrupt(&self, host: &Host<'_>, order: &Order) -> Result<()> {
        order.begun()?;
        let before = host.agent_pid()?;
        match self.interruption {
            Interruption::Restart => host.machine.run(&["systemctl", "restart", UNIT]).map(drop)?,
            Interruption::Kill => host.kill_agent()?,
            Interruption::Upgrade => {
                host.replace_program(self.event)?;
                ensure!(!host.runs_what_is_installed()?, "the agent was not replaced");
                // As packages do.
                host.machine.run(&["systemctl", "daemon-reload"])?;
                host.machine.run(&["systemctl", "restart", UNIT])?;
            }
            Interruption::Stop => {
                host.machine.run(&["systemctl", "stop", UNIT])?;
                let (state, result) = (host.property(UNIT, "ActiveState")?, host.property(UNIT, "Result")?);
                ensure!(state == "inactive" && result == "success", "after the stop it is {state}, with {result}");
                if self.ending == Ending::WhileNoAgentRuns {
                    self.end_hook(host, order)?;
                }
                host.machine.run(&["systemctl", "start", UNIT])?;
            }
        }
        host.until_replaced(before)?;
        ensure!(host.runs_what_is_installed()?, "an agent runs that is not the one that is installed");
        if self.interruption != Interruption::Stop || self.ending == Ending::WithTheNextAgent {
            order.end_with(self.code)?;
        }
        Ok(())
    }

    /// Lets the hook end, and waits until it has.
    fn end_hook(&self, host: &Host<'_>, order: &Order) -> Result<()> {
        let runs = order.runs();
        let script = runs.first().and_then(|run| run.split(' ').next_back()).unwrap_or_default();
        ensure!(host.is_running(script)?, "the script was ended with the agent");
        order.end_with(self.code)?;
        until_true("the script to end", PATIENCE, || Ok(!host.is_running(script)?))
    }

    fn judge(&self, finished: &Finished) -> Result<()> {
        if self.code == 0 {
            return succeeded(finished);
        }
        let event = finished.failed_event()?;
        ensure!(event.name == self.sent_as, "{} failed instead: {}", event.name, event.diagnostics);
        ensure!(event.diagnostic("errorCode") == "ScriptFailed", "{}", event.diagnostics);
        ensure!(event.diagnostic("scriptName") == format!("scripts/{}.sh", self.event), "{}", event.diagnostics);
        let exit_code = format!("failed with exit code {}.", self.code);
        ensure!(event.diagnostic("message").contains(&exit_code), "{exit_code:?} is missing: {}", event.diagnostics);
        ensure!(event.diagnostic("logTail").contains("waiting"), "its output is missing: {}", event.diagnostics);
        Ok(())
    }
}
