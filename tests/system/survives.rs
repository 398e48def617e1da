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
    let host = Host::start(ground, &format!("hook-{interruption:?}").to_lowercase())?;
    let bundle = host.push("app", &app::revision("page"))?;
    host.deploy(&bundle)?;
    for (index, (event, sent_as)) in (0_u8..).zip(EVENTS) {
        let case = Case {
            event,
            sent_as,
            interruption,
            ending: if index % 4 < 2 { Ending::WithTheNextAgent } else { Ending::WhileNoAgentRuns },
            // Each event ends well after two of the interruptions, and badly after the other two.
            code: if (index + interruption as u8).is_multiple_of(2) { 0 } else { 10 + index },
        };
        let what = format!("{interruption:?} in {event}, which ends with {}", case.code);
        let result = case.carry_out(&host, &bundle);
        if result.is_err() {
            eprintln!("{what}:\n{}", host.last_words());
        }
        report.check(&what, result);
        host.wire.let_pass();
        host.machine.run(&["systemctl", "start", UNIT])?;
    }
    Ok(())
}

impl Case {
    fn carry_out(&self, host: &Host<'_>, bundle: &Bundle) -> Result<()> {
        host.wire.rename(self.sent_as, self.event);
        let order = Order::wait(host.machine.root(), self.event)?;
        let deployment = host.group.begin(bundle)?;
        let outcome = self.interrupt(host, &order);
        if outcome.is_err() {
            // What was reported says more than that nobody took the exit code.
            drop(order);
            let finished = host.finish(&deployment)?;
            return outcome.and_then(|()| self.judge(&finished)).map_err(|error| {
                let told = finished.failed_event().map(|event| event.diagnostics.to_string());
                error.context(format!("the service was told {}", told.unwrap_or_else(|_| "of a success".to_owned())))
            });
        }
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
