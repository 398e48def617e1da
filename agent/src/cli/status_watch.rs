//! `status --watch`: what runs, as it changes.

use std::time::Duration;

use jiff::Timestamp;

use super::output::{say, visible_lines};
use super::script_lines;
use super::settings::Context;
use super::status::{self, Only, write_daemon_line};
use super::terminal::Terminal;
use super::when::lasting;
use crate::daemon::status::{Running, Status};
use crate::disk::Watch;
use crate::ids::{DeploymentId, GroupId};
use crate::ledger::Ledger;
use crate::outcome::Outcome;

/// How often elapsed times are drawn anew.
const TICK: Duration = Duration::from_secs(1);
/// How often is looked where nothing is drawn: for changes that the kernel does not tell of.
const LOOK: Duration = Duration::from_secs(5);
/// Lines of output that are shown of each script.
const LINES: usize = 5;

/// Shows what runs until somebody interrupts it.
pub(super) fn watch(context: &Context, only: &Only) -> anyhow::Result<()> {
    let mut watching = Watching { watch: Watch::directory(&context.layout.own()).ok(), logs: Vec::new() };
    let is_terminal = Terminal::stdout().is_terminal();
    let mut teller = Teller::default();
    loop {
        let status = crate::daemon::status::read(&context.layout.status())?;
        let running: Vec<Running> = status
            .iter()
            .flat_map(|status| status.running.clone())
            .filter(|running| {
                let group = running.group.as_deref().and_then(|group| GroupId::parse(group).ok());
                group.map_or(only.is_all(), |group| only.shows(&group))
            })
            .collect();
        let is_read = if is_terminal {
            draw(context, &status::text_of(context, only)?, &running)?
        } else {
            teller.tell(context, status.as_ref(), running.clone())?
        };
        if !is_read {
            return Ok(());
        }
        watching.wait(context, &running, if is_terminal && !running.is_empty() { TICK } else { LOOK })?;
    }
}

/// The directories in which something may change.
struct Watching {
    watch: Option<Watch>,
    logs: Vec<String>,
}

impl Watching {
    fn wait(&mut self, context: &Context, running: &[Running], at_most: Duration) -> anyhow::Result<()> {
        let Some(watch) = &self.watch else {
            // Nothing has run on this root yet.
            std::thread::sleep(TICK);
            self.watch = Watch::directory(&context.layout.own()).ok();
            return Ok(());
        };
        for running in running {
            if let Some(deployment) = running.deployment.as_ref().filter(|id| !self.logs.contains(id))
                && let Some(log) = log_of(context, running)
                && log.parent().is_some_and(|logs| watch.add(logs).is_ok())
            {
                self.logs.push(deployment.clone());
            }
        }
        Ok(watch.wait(at_most)?)
    }
}

fn draw(context: &Context, text: &str, running: &[Running]) -> anyhow::Result<bool> {
    // From the upper left corner, without a flicker; long lines are cut and not wrapped.
    let mut screen = String::from("\x1b[?7l\x1b[H");
    let mut line = |line: &str| {
        screen.push_str(line);
        screen.push_str("\x1b[K\r\n");
    };
    for said in text.lines() {
        line(said);
    }
    for running in running {
        line("");
        line(&format!("{} {}", what(running), doing(running)));
        for said in last_lines(context, running)? {
            line(&format!("    {said}"));
        }
    }
    screen.push_str("\x1b[J\x1b[?7h");
    say(&screen)
}

/// Tells in lines what has changed since it was asked last.
#[derive(Default)]
struct Teller {
    told: Option<String>,
    running: Vec<Told>,
}

struct Told {
    running: Running,
    lines: Vec<String>,
}

impl Teller {
    fn tell(&mut self, context: &Context, status: Option<&Status>, running: Vec<Running>) -> anyhow::Result<bool> {
        let mut out = String::new();
        let mut line = |said: &str| out.push_str(&format!("{}  {said}\n", Timestamp::now().strftime("%H:%M:%S")));
        let daemon = write_daemon_line(context, status)?;
        if self.told.as_ref() != Some(&daemon) {
            line(&daemon);
            self.told = Some(daemon);
        }
        let mut next = Vec::new();
        for running in running.into_iter().filter(|running| running.deployment.is_some()) {
            let place = self.running.iter().position(|told| is_same(&told.running, &running));
            let earlier = place.map(|place| self.running.swap_remove(place));
            if earlier.as_ref().is_none_or(|earlier| earlier.running.behind != running.behind) {
                let waits = running.behind.as_ref().map(|holder| format!("waits behind {holder}"));
                line(&format!("{} {}", what(&running), waits.as_deref().unwrap_or("runs")));
            }
            let lines = last_lines(context, &running)?;
            let seen = earlier.map(|earlier| earlier.lines).unwrap_or_default();
            let fresh = seen.last().and_then(|last| lines.iter().rposition(|line| line == last)).map_or(0, |at| at + 1);
            lines.iter().skip(fresh).for_each(|said| line(&format!("    {said}")));
            next.push(Told { running, lines });
        }
        for ended in std::mem::replace(&mut self.running, next) {
            line(&format!("{} {}", what(&ended.running), ended_as(context, &ended.running)?));
        }
        if out.is_empty() { Ok(true) } else { say(&out) }
    }
}

fn is_same(one: &Running, other: &Running) -> bool {
    one.since == other.since && one.command == other.command
}

fn what(running: &Running) -> String {
    format!("{} of {}", running.command, running.deployment.as_deref().unwrap_or("a deployment that is being read"))
}

fn doing(running: &Running) -> String {
    let elapsed = elapsed(running);
    match &running.behind {
        Some(holder) => format!("has waited for {elapsed} behind {holder}"),
        None => format!("has run for {elapsed}"),
    }
}

fn elapsed(running: &Running) -> String {
    lasting(Duration::try_from(Timestamp::now().duration_since(running.since)).unwrap_or_default())
}

fn ended_as(context: &Context, running: &Running) -> anyhow::Result<String> {
    let entries = Ledger::look(&context.layout).recent(usize::MAX)?.entries;
    let entry = entries.into_iter().find(|entry| {
        let deployment = entry.work.as_ref().map(|work| work.deployment.as_str());
        entry.name == running.command && deployment == running.deployment.as_deref()
    });
    let took = elapsed(running);
    Ok(match entry.as_ref().and_then(|entry| entry.outcome()) {
        Some(Outcome::Succeeded { .. }) => format!("succeeded after {took}"),
        Some(Outcome::Failed(failure)) => {
            let message = failure.message.lines().next().unwrap_or_default();
            format!("FAILED after {took}: {}", visible_lines(message))
        }
        None => "was left to the agent's next life".to_owned(),
    })
}

fn last_lines(context: &Context, running: &Running) -> anyhow::Result<Vec<String>> {
    let Some(log) = log_of(context, running) else { return Ok(Vec::new()) };
    Ok(script_lines::last_lines(&log, Some(&running.command), LINES)?)
}

fn log_of(context: &Context, running: &Running) -> Option<std::path::PathBuf> {
    let group = GroupId::parse(running.group.as_ref()?).ok()?;
    let deployment = DeploymentId::parse(running.deployment.as_ref()?).ok()?;
    Some(context.layout.scripts_log(&group, &deployment))
}
