//! The deployments that this host remembers, for commands that speak of them.

use jiff::Timestamp;

use super::output::visible_lines;
use super::when::when;
use crate::layout::Layout;
use crate::ledger::{self, Entry, Ledger, LedgerError, Past, Standing};
use crate::outcome::{Failure, Outcome};

/// The ending of a deployment's id that names the way back from it: `on_failure: restore`.
const RESTORE: &str = "-restore";

/// All that are remembered, the newest first.
pub(super) fn remembered(layout: &Layout) -> Result<Vec<Past>, LedgerError> {
    let listing = Ledger::look(layout).recent(usize::MAX)?;
    for error in &listing.unreadable {
        eprintln!("slipway-agent: {error}");
    }
    Ok(newest_first(listing.entries))
}

/// As [`remembered`], for a command that does without them where this user may not read them.
pub(super) fn readable(layout: &Layout) -> Result<Vec<Past>, LedgerError> {
    match remembered(layout) {
        Err(LedgerError::Disk(error)) if error.is_not_permitted() => Ok(Vec::new()),
        other => other,
    }
}

/// Newest entries in, newest deployments out.
pub(super) fn newest_first(mut entries: Vec<Entry>) -> Vec<Past> {
    entries.reverse();
    let mut found = ledger::deployments(entries);
    found.reverse();
    found
}

/// When a deployment's first command began.
pub(super) fn begun(past: &Past) -> Option<Timestamp> {
    past.entries.first().map(|entry| entry.begun)
}

/// The command by which a deployment failed, and its failure.
pub(super) fn failure(past: &Past) -> Option<(&Entry, &Failure)> {
    let entry = past.failed()?;
    match entry.outcome()? {
        Outcome::Failed(failure) => Some((entry, failure)),
        Outcome::Succeeded { .. } => None,
    }
}

/// How a deployment stands and since when: `FAILED in Install 3 min ago (…)`.
pub(super) fn standing(past: &Past) -> String {
    let last = past.entries.last();
    let ended = last.and_then(Entry::finished_at).or_else(|| begun(past)).map(when).unwrap_or_default();
    match (past.standing(), past.failed()) {
        (Standing::Failed, Some(failed)) => {
            let at = failed.finished_at().map(when).unwrap_or_default();
            format!("FAILED in {} {at}", failed.name)
        }
        (Standing::Open, _) => {
            let event = last.map(|entry| entry.name.as_str()).unwrap_or_default();
            format!("in {event}, which began {}", last.map(|entry| when(entry.begun)).unwrap_or_default())
        }
        _ => format!("succeeded {ended}"),
    }
}

/// The first line of a failure's message, without anything that a terminal would act on.
pub(super) fn first_line(failure: &Failure) -> String {
    visible_lines(failure.message.lines().next().unwrap_or_default())
}

/// The deployment that a host went back from under this id, where that is what the id says.
pub(super) fn restored_from(deployment: &str) -> Option<&str> {
    deployment.strip_suffix(RESTORE)
}
