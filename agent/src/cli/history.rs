//! `history`: the deployments of this host, by the ledger.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::cancel::daemon_runs;
use super::groups::{GroupName, Groups};
use super::output::{print, print_json, visible_lines};
use super::settings::Context;
use super::terminal::{Terminal, Tone};
use super::when::when;
use super::{ConfigFile, fail, past, unreadable};
use crate::disk::Lock;
use crate::ids::{DeploymentId, GroupId};
use crate::ledger::{self, Delivery, Entry, Ledger, Progress, Standing};
use crate::outcome::Outcome;

/// Which deployments, and how to show them.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show the deployments of this group alone: its id, its name, or its application's
    #[arg(short = 'g', long, value_name = "GROUP")]
    group: Option<GroupName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// The newest deployment first.
#[derive(Debug, Serialize)]
struct Report {
    deployments: Vec<Past>,
}

/// One deployment, as far as it happened on this host.
#[derive(Debug, Serialize)]
struct Past {
    /// Absent where its specification was never read.
    deployment: Option<DeploymentId>,
    group: Option<GroupId>,
    begun: Timestamp,
    /// When its last command ended; absent while one runs.
    ended: Option<Timestamp>,
    outcome: State,
    /// The first line of what made it fail.
    cause: Option<String>,
    events: Vec<Event>,
}

/// One command of a deployment.
#[derive(Debug, Serialize)]
struct Event {
    name: String,
    begun: Timestamp,
    /// From its begin to its end, recoveries included.
    seconds: Option<f64>,
    outcome: State,
    message: Option<String>,
    report: ReportState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Succeeded,
    Failed,
    Running,
    /// It has begun and nobody works on it now.
    CutOff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ReportState {
    /// There is nothing to report yet.
    None,
    /// The result waits for the service.
    Waiting,
    Accepted,
    Refused,
    /// The service did not wait for it.
    Settled,
    /// Nobody was to be told.
    Local,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    match show(&context, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn show(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let listing = Ledger::look(&context.layout).recent(usize::MAX)?;
    for error in &listing.unreadable {
        eprintln!("slipway-agent: {error}");
    }
    let groups = arguments.group.as_ref().map(|name| Groups::look(&context.layout)?.called(name)).transpose()?;
    let workers = Workers::look(context, &listing.entries)?;
    let mut deployments = by_deployment(listing.entries, |entry| workers.work_on(entry));
    if let Some(groups) = groups {
        deployments.retain(|past| past.group.as_ref().is_some_and(|group| groups.contains(group)));
    }
    let report = Report { deployments };
    if arguments.json { print_json(&report) } else { print(&text(&report, Terminal::stdout())) }
}

/// Who may still work on what has begun.
struct Workers {
    daemon: bool,
    local: Vec<String>,
}

impl Workers {
    fn look(context: &Context, entries: &[Entry]) -> anyhow::Result<Self> {
        let mut local = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_local() && entry.progress == Progress::Begun) {
            if let Some(work) = &entry.work {
                local.extend(Lock::holder(&context.layout.group_lock(&work.group))?);
            }
        }
        Ok(Self { daemon: daemon_runs(context)?, local })
    }

    fn work_on(&self, entry: &Entry) -> bool {
        match &entry.work {
            Some(work) if entry.is_local() => self.local.iter().any(|holder| *holder == work.deployment.as_str()),
            _ => self.daemon,
        }
    }
}

/// Newest entries in, newest deployments out.
fn by_deployment(entries: Vec<Entry>, is_worked_on: impl Fn(&Entry) -> bool) -> Vec<Past> {
    past::newest_first(entries).iter().filter_map(|past| Past::of(past, &is_worked_on)).collect()
}

fn event(entry: &Entry, is_worked_on: bool) -> Event {
    let (outcome, message) = match entry.outcome() {
        None if is_worked_on => (State::Running, None),
        None => (State::CutOff, None),
        Some(Outcome::Succeeded { .. }) => (State::Succeeded, None),
        Some(Outcome::Failed(failure)) => (State::Failed, failure.message.lines().next().map(str::to_owned)),
    };
    Event {
        name: entry.name.clone(),
        begun: entry.begun,
        seconds: entry.finished_at().map(|at| at.duration_since(entry.begun).as_secs_f64()),
        outcome,
        message,
        report: match &entry.progress {
            Progress::Begun => ReportState::None,
            Progress::Finished { .. } => ReportState::Waiting,
            Progress::Reported { delivery, .. } => match delivery {
                Delivery::Accepted => ReportState::Accepted,
                Delivery::Refused { .. } => ReportState::Refused,
                Delivery::Settled { .. } => ReportState::Settled,
                Delivery::Local => ReportState::Local,
            },
        },
    }
}

impl Past {
    fn of(past: &ledger::Past, is_worked_on: &impl Fn(&Entry) -> bool) -> Option<Self> {
        let (first, last) = (past.entries.first()?, past.entries.last()?);
        let events: Vec<_> = past.entries.iter().map(|entry| event(entry, is_worked_on(entry))).collect();
        let failed = events.iter().find(|event| event.outcome == State::Failed);
        let cause =
            failed.map(|failed| format!("{}: {}", failed.name, failed.message.as_deref().unwrap_or("it failed")));
        Some(Self {
            deployment: past.deployment.clone(),
            group: past.group.clone(),
            begun: first.begun,
            ended: last.finished_at(),
            outcome: match past.standing() {
                Standing::Succeeded => State::Succeeded,
                Standing::Failed => State::Failed,
                Standing::Open if events.iter().any(|event| event.outcome == State::Running) => State::Running,
                Standing::Open => State::CutOff,
            },
            cause,
            events,
        })
    }
}

fn text(report: &Report, terminal: Terminal) -> String {
    let mut out = String::new();
    if report.deployments.is_empty() {
        out.push_str("No deployment has happened on this host yet.\n");
    }
    for past in &report.deployments {
        // Writing to a string cannot fail.
        let _ = write_past(&mut out, past, terminal);
    }
    out
}

fn write_past(out: &mut String, past: &Past, terminal: Terminal) -> std::fmt::Result {
    let deployment = past.deployment.as_ref().map_or("a deployment that was never read", DeploymentId::as_str);
    let group = past.group.as_ref().map(|group| format!("  group {group}")).unwrap_or_default();
    let strong = terminal.paint(Tone::Strong, deployment);
    writeln!(out, "{strong}{group}  {}", painted(past.outcome, 0, terminal))?;
    writeln!(out, "  began {}", when(past.begun))?;
    for Event { name, seconds, outcome, report, .. } in &past.events {
        let took = seconds.map_or_else(String::new, |seconds| format!("{seconds:.1} s"));
        let line = format!("  {name:<20} {} {took:>9}  {}", painted(*outcome, 10, terminal), told(*report));
        writeln!(out, "{}", line.trim_end())?;
    }
    if let Some(cause) = &past.cause {
        writeln!(out, "{}", terminal.wrap("  ", &visible_lines(cause)))?;
    }
    Ok(())
}

fn painted(state: State, width: usize, terminal: Terminal) -> String {
    let word = format!("{:<width$}", word(state));
    match state {
        State::Succeeded => terminal.paint(Tone::Good, &word),
        State::Failed => terminal.paint(Tone::Bad, &word),
        State::Running => word,
        State::CutOff => terminal.paint(Tone::Warning, &word),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Succeeded => "succeeded",
        State::Failed => "FAILED",
        State::Running => "running",
        State::CutOff => "cut off",
    }
}

fn told(report: ReportState) -> &'static str {
    match report {
        ReportState::None | ReportState::Accepted | ReportState::Local => "",
        ReportState::Waiting => "not reported yet",
        ReportState::Refused => "the service refused the report",
        ReportState::Settled => "the service did not wait for it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::HostCommandId;
    use crate::ledger::Work;
    use crate::outcome::Failure;

    fn entry(deployment: Option<&str>, execution: &str, name: &str, begun: i64, progress: Progress) -> Entry {
        let work = deployment.map(|id| Work {
            deployment: DeploymentId::parse(id).unwrap(),
            group: GroupId::parse("g").unwrap(),
            spec_sha256: String::new(),
        });
        Entry {
            command: HostCommandId::new(format!("{execution}{name}")),
            name: name.to_owned(),
            execution: execution.to_owned(),
            work,
            begun: Timestamp::from_second(begun).unwrap(),
            lives: 0,
            progress,
        }
    }

    fn reported(ended: i64, outcome: Outcome) -> Progress {
        let at = Timestamp::from_second(ended).unwrap();
        Progress::Reported { finished: at, at, outcome, delivery: Delivery::Accepted }
    }

    fn failed() -> Outcome {
        Failure::unknown("no space\nat all").into()
    }

    #[test]
    fn entries_become_deployments() {
        let mut entries = vec![
            entry(Some("d-1"), "x/1", "DownloadBundle", 10, reported(12, Outcome::succeeded())),
            entry(Some("d-2"), "x/2", "Install", 20, reported(21, Outcome::succeeded())),
            // Its specification could not be fetched any more, and it is the same deployment.
            entry(None, "x/1", "Install", 30, reported(33, failed())),
            entry(Some("d-3-local"), "", "Install", 40, Progress::Begun),
            entry(Some("d-4-local"), "", "Install", 50, Progress::Begun),
        ];
        entries.reverse();
        let found = by_deployment(entries, |entry| entry.begun.as_second() == 50);
        let said: Vec<_> = found
            .iter()
            .map(|past| (past.deployment.as_ref().unwrap().as_str(), past.outcome, past.events.len()))
            .collect();
        let expected = [
            ("d-4-local", State::Running, 1),
            ("d-3-local", State::CutOff, 1),
            ("d-2", State::Succeeded, 1),
            ("d-1", State::Failed, 2),
        ];
        assert_eq!(said, expected);
        assert_eq!(found[3].cause.as_deref(), Some("Install: no space"));
        assert_eq!(found[3].events[0].seconds, Some(2.0));
        assert_eq!(found[0].ended, None);
    }
}
