//! What `status` says first, and what it ends with: a deployment that failed, polls that fail, no daemon.

use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use super::next_steps::{self, Aftermath};
use super::status::Only;
use super::terminal::{Terminal, Tone};
use super::when::{since_when, when};
use super::{FAILED, NOT_RUNNING, past};
use crate::daemon::status::{Connection, Status};
use crate::ids::{DeploymentId, GroupId};
use crate::install::{self, Unsettled};
use crate::layout::Layout;
use crate::ledger::{Past, Standing};
use crate::store::{self, Who};

/// Something that somebody has to look at.
#[derive(Debug, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub(super) enum Problem {
    /// The newest deployment of a group failed.
    DeploymentFailed(Box<FailedDeployment>),
    /// An install was cut off and cannot be settled.
    InstallNotSettled(Box<Unsettled>),
    /// A file in which something is kept of a group, or of the daemon, is damaged.
    RecordUnreadable {
        /// The group, if it is one's.
        group: Option<GroupId>,
        /// Which file, why, and what to do.
        why: String,
    },
    /// The daemon runs and gets no answer.
    PollsFail {
        /// Since when.
        since: Timestamp,
        /// How many in a row.
        attempts: u64,
        /// The last one's error.
        why: String,
    },
    /// No daemon runs on this root.
    NoDaemon {
        /// When the last one started, if there was one.
        last_started: Option<Timestamp>,
    },
}

/// A deployment that ended as failed, and how to go on.
#[derive(Debug, Serialize)]
pub(super) struct FailedDeployment {
    /// Absent where its specification was never read.
    deployment: Option<DeploymentId>,
    group: Option<GroupId>,
    #[serde(skip)]
    who: Option<Who>,
    /// The lifecycle event or command.
    event: String,
    /// As the AppSpec names it; absent where no script failed.
    script: Option<String>,
    message: String,
    at: Option<Timestamp>,
    /// The deployment whose files are on the host now.
    installed: Option<DeploymentId>,
    /// Where `rollback` would go, where the failed revision is the one that is installed.
    rollback_to: Option<DeploymentId>,
}

/// Looks for all of it.
pub(super) fn find(layout: &Layout, daemon: Option<(bool, &Status)>, only: &Only) -> anyhow::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for past in newest_of_each(past::remembered(layout)?, only) {
        if let Some(failed) = failed(layout, past)? {
            problems.push(Problem::DeploymentFailed(Box::new(failed)));
        }
    }
    for unsettled in install::unsettled(layout)? {
        let is_wanted = only.is_all() || unsettled.group.as_ref().is_some_and(|group| only.shows(group));
        // What nobody has tried to settle most likely will be.
        if is_wanted && unsettled.why.is_some() {
            problems.push(Problem::InstallNotSettled(Box::new(unsettled)));
        }
    }
    match daemon {
        Some((true, status)) => {
            if let Connection::Failing { since, why, attempts, .. } = &status.connection {
                problems.push(Problem::PollsFail { since: *since, attempts: *attempts, why: why.clone() });
            }
        }
        Some((false, status)) => problems.push(Problem::NoDaemon { last_started: Some(status.started) }),
        None => problems.push(Problem::NoDaemon { last_started: None }),
    }
    Ok(problems)
}

/// What `status` exits with. That no daemon runs goes before the rest, as with service managers.
pub(super) fn exit_code(problems: &[Problem]) -> ExitCode {
    if problems.iter().any(|problem| matches!(problem, Problem::NoDaemon { .. })) {
        return ExitCode::from(NOT_RUNNING);
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// The newest deployment of each group. One whose specification was never read is of no group: it counts where nothing
/// came after it.
fn newest_of_each(pasts: Vec<Past>, only: &Only) -> Vec<Past> {
    let mut newest: Vec<Past> = Vec::new();
    for (n, past) in pasts.into_iter().enumerate() {
        let is_wanted = match &past.group {
            Some(group) => only.shows(group) && newest.iter().all(|newer| newer.group.as_ref() != Some(group)),
            None => n == 0 && only.is_all(),
        };
        if is_wanted {
            newest.push(past);
        }
    }
    newest
}

fn failed(layout: &Layout, found: Past) -> anyhow::Result<Option<FailedDeployment>> {
    let Some((entry, failure)) = past::failure(&found).filter(|_| found.standing() == Standing::Failed) else {
        return Ok(None);
    };
    let (event, message) = (entry.name.clone(), failure.message.clone());
    let script = Some(failure.script.clone()).filter(|script| !script.is_empty());
    let at = entry.finished_at();
    let (mut who, mut aftermath) = (None, Aftermath::default());
    if let Some(group) = &found.group {
        // One that cannot be read is a problem of its own.
        let markers = store::read_markers(layout, group).unwrap_or_default();
        aftermath = Aftermath::by(layout, group, found.deployment.as_ref(), &markers);
        who = markers.who;
    }
    let (deployment, group) = (found.deployment, found.group);
    let Aftermath { installed, rollback_to } = aftermath;
    Ok(Some(FailedDeployment { deployment, group, who, event, script, message, at, installed, rollback_to }))
}

/// Each with what to do next; nothing where there is nothing to do.
pub(super) fn text(problems: &[Problem], terminal: Terminal) -> String {
    let mut out = String::new();
    for problem in problems {
        match problem {
            Problem::DeploymentFailed(failed) => failed.write(&mut out, terminal),
            Problem::InstallNotSettled(unsettled) => not_settled(&mut out, unsettled, terminal),
            Problem::RecordUnreadable { group, why } => {
                let head = match group {
                    Some(group) => format!("what is kept of group {group} cannot be read"),
                    None => "what the daemon wrote last cannot be read".to_owned(),
                };
                write(&mut out, terminal, &head, why, &[]);
            }
            Problem::PollsFail { since, attempts, why } => {
                let head = format!("polls of the service, {attempts} in a row since {}", since_when(*since));
                let next = next_steps::step("slipway-agent doctor", "checks what is in the way");
                write(&mut out, terminal, &head, why, &[next]);
            }
            // The daemon's own lines say it, and on hosts with local deployments alone it is no failure.
            Problem::NoDaemon { .. } => {}
        }
    }
    out
}

fn not_settled(out: &mut String, unsettled: &Unsettled, terminal: Terminal) {
    let whose = match (&unsettled.deployment, &unsettled.group) {
        (Some(deployment), Some(group)) => format!("{deployment} to group {group}: "),
        (None, Some(group)) => format!("group {group}: "),
        (_, None) => String::new(),
    };
    let since = unsettled.since.map(|since| format!(", since {}", since_when(since))).unwrap_or_default();
    let head =
        format!("{whose}an install that was cut off cannot be settled{since}; held back are {}", unsettled.reach);
    let abandon = format!("slipway-agent recover --abandon {}", unsettled.transaction);
    let next = [format!("{:<34}  tries again", "slipway-agent recover"), format!("{abandon:<34}  gives it up")];
    write(out, terminal, &head, unsettled.why.as_deref().unwrap_or_default(), &next);
}

impl FailedDeployment {
    fn write(&self, out: &mut String, terminal: Terminal) {
        let group = match (&self.group, &self.who) {
            (Some(group), Some(who)) => format!(" to group {group} ({}, {})", who.application, who.group),
            (Some(group), None) => format!(" to group {group}"),
            (None, _) => String::new(),
        };
        let deployment = self.deployment.as_ref().map_or("a deployment that could not be read", DeploymentId::as_str);
        let script = self.script.as_ref().map(|script| format!(", script {script}")).unwrap_or_default();
        let at = self.at.map(|at| format!(", {}", when(at))).unwrap_or_default();
        let head = format!("{deployment}{group}: {}{script}{at}", self.event);
        let aftermath = Aftermath { installed: self.installed.clone(), rollback_to: self.rollback_to.clone() };
        let next = aftermath.next_steps(self.deployment.as_ref(), self.group.as_ref());
        write(out, terminal, &head, &self.message, &next);
    }
}

fn write(out: &mut String, terminal: Terminal, head: &str, why: &str, next: &[String]) {
    let word = "FAILED  ";
    let lines = terminal.wrap(word, head);
    out.push_str(&terminal.paint(Tone::Bad, word.trim_end()));
    out.push_str(lines.strip_prefix(word.trim_end()).unwrap_or(&lines));
    out.push('\n');
    out.push_str(&terminal.wrap("        ", &super::output::visible_lines(why)));
    out.push('\n');
    out.push_str(&next_steps::listed(next));
    out.push('\n');
}
