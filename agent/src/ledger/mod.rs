//! Host commands: begun, finished, reported; and the outbox of results.
//!
//! Each command is one file under `ledger/`, replaced as a whole at each step, so it is always in exactly
//! one state. A file under `outbox/` says that a result may have to be sent; it is written before the
//! result and removed after the report, so at every point between two writes the outbox holds at least
//! what is not reported, and the entry decides.

mod entry;
mod past;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

pub use entry::{Delivery, Entry, Progress, Work};
pub use past::{Past, Standing, deployments};

use crate::disk::{self, Dir};
use crate::ids::{DeploymentId, HostCommandId};
use crate::layout::Layout;
use crate::outcome::Outcome;
use crate::store::{self, StoreError};
use entry::Pointer;

/// Reported commands that are kept, so that one that is sent again gets its result again. A number and not
/// an age: a clock that jumps must not make the agent forget what it has done.
const KEEP_ENTRIES: usize = 1000;
/// Old entries are looked for each time this many were begun.
const PRUNE_EVERY: u32 = 100;

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A directory could not be listed, or a file not removed.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A step was asked for out of turn.
    #[error(
        "the host command {command} cannot be {step}: it {state}; this is a mistake in slipway-agent, please report it"
    )]
    OutOfTurn {
        /// The command's file name.
        command: String,
        /// What was asked for.
        step: &'static str,
        /// What the ledger holds.
        state: &'static str,
    },
}

/// What a host command is when it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// As the service gave it.
    pub command: HostCommandId,
    /// The command's name.
    pub name: String,
    /// The service's name of the deployment's run on this host; empty for local deploys.
    pub execution: String,
}

/// What is known of a command that arrives.
#[derive(Debug)]
pub enum Known {
    /// Nothing: it is new.
    New,
    /// It was begun, by this process or by an earlier life.
    Begun(Entry),
    /// It has a result, which is to be reported again.
    Finished(Entry, Outcome),
}

/// Entries that could be read, and the files that could not, for a warning: one bad file must not keep the
/// agent from its work.
#[derive(Debug, Default)]
pub struct Listing {
    /// What could be read.
    pub entries: Vec<Entry>,
    /// What could not, and why.
    pub unreadable: Vec<StoreError>,
}

/// The record of host commands under one root.
#[derive(Debug)]
pub struct Ledger {
    layout: Layout,
    /// Begun since old entries were looked for. The lock also keeps two steps from mixing.
    begun: Mutex<u32>,
}

impl Ledger {
    /// Opens the ledger, making its directories where they are missing, and lets old entries go.
    pub fn open(layout: &Layout) -> Result<Self, LedgerError> {
        Dir::open_or_create(layout.ledger(), 0o700)?;
        Dir::open_or_create(layout.outbox(), 0o700)?;
        let ledger = Self { layout: layout.clone(), begun: Mutex::new(0) };
        ledger.prune(KEEP_ENTRIES)?;
        Ok(ledger)
    }

    /// The ledger as it is, for a command that only looks: nothing is made, and nothing goes.
    pub fn look(layout: &Layout) -> Self {
        Self { layout: layout.clone(), begun: Mutex::new(0) }
    }

    /// What is known of a command that has just arrived.
    pub fn lookup(&self, command: &HostCommandId) -> Result<Known, LedgerError> {
        Ok(match self.entry(command)? {
            None => Known::New,
            Some(entry) => match entry.outcome().cloned() {
                None => Known::Begun(entry),
                Some(outcome) => Known::Finished(entry, outcome),
            },
        })
    }

    /// One command's entry.
    pub fn entry(&self, command: &HostCommandId) -> Result<Option<Entry>, LedgerError> {
        Ok(store::read(&self.layout.ledger_entry(command))?)
    }

    /// Records that a command's work begins. A command that was begun before keeps its first time.
    pub fn begin(&self, received: Received, work: Work) -> Result<Entry, LedgerError> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = self.entry(&received.command)?;
        if let Some(earlier) = earlier.as_ref().filter(|entry| entry.outcome().is_some()) {
            return Err(out_of_turn(&earlier.command, "begun", "has a result already"));
        }
        let (since, lives) = earlier.map_or_else(|| (Timestamp::now(), 0), |entry| (entry.begun, entry.lives));
        let entry = Entry { lives, ..received.into_entry(Some(work), since, Progress::Begun) };
        self.write(&entry)?;
        *begun += 1;
        if *begun >= PRUNE_EVERY {
            *begun = 0;
            self.prune(KEEP_ENTRIES)?;
        }
        Ok(entry)
    }

    /// Records a command's result and puts it into the outbox. Both are durable when this returns. The first
    /// result of a command stays: a second one is not taken.
    pub fn finish(&self, command: &HostCommandId, outcome: Outcome) -> Result<Entry, LedgerError> {
        let _turn = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(command)?.ok_or_else(|| out_of_turn(command, "finished", "was never begun"))?;
        if entry.outcome().is_some() {
            return Ok(entry);
        }
        self.put_out(Entry { progress: Progress::Finished { at: Timestamp::now(), outcome }, ..entry })
    }

    /// Records the result of a command that failed before its work could begin: its specification was not
    /// fetched, not signed, or not readable.
    pub fn finish_at_once(&self, received: Received, outcome: Outcome) -> Result<Entry, LedgerError> {
        let _turn = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = self.entry(&received.command)?
            && entry.outcome().is_some()
        {
            return Ok(entry);
        }
        let now = Timestamp::now();
        self.put_out(received.into_entry(None, now, Progress::Finished { at: now, outcome }))
    }

    /// Results that wait to be reported, the oldest first.
    pub fn pending(&self) -> Result<Listing, LedgerError> {
        let mut listing = Listing::default();
        for path in files_in(&self.layout.outbox())? {
            let entry = match store::read::<Pointer>(&path) {
                Ok(None) => continue,
                Ok(Some(pointer)) => store::read::<Entry>(&self.layout.ledger_entry(&pointer.command)),
                Err(error) => Err(error),
            };
            match entry {
                Ok(Some(entry)) => match entry.progress {
                    Progress::Finished { .. } => listing.entries.push(entry),
                    // Cut off between the pointer and the result: the command is not finished.
                    Progress::Begun => {}
                    // Cut off between the report and the removal of the pointer.
                    Progress::Reported { .. } => disk::remove_if_exists(&path)?,
                },
                Ok(None) => disk::remove_if_exists(&path)?,
                Err(error) => listing.unreadable.push(error),
            }
        }
        listing.entries.sort_by_key(|entry| (entry.finished_at(), entry.begun));
        Ok(listing)
    }

    /// Records what became of a result's report and takes it out of the outbox.
    pub fn mark_reported(&self, command: &HostCommandId, delivery: Delivery) -> Result<(), LedgerError> {
        let _turn = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(command)?.ok_or_else(|| out_of_turn(command, "reported", "was never begun"))?;
        match entry.progress.clone() {
            Progress::Begun => return Err(out_of_turn(command, "reported", "has no result yet")),
            Progress::Finished { at: finished, outcome } => {
                let progress = Progress::Reported { finished, at: Timestamp::now(), outcome, delivery };
                self.write(&Entry { progress, ..entry })?;
            }
            Progress::Reported { .. } => {}
        }
        Ok(disk::remove_if_exists(&self.outbox_file(command))?)
    }

    /// Puts a result that was reported into the outbox again: the service asks for it once more.
    pub fn report_again(&self, command: &HostCommandId) -> Result<(), LedgerError> {
        let _turn = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(command)?.ok_or_else(|| out_of_turn(command, "reported again", "was never begun"))?;
        if let Progress::Reported { finished, outcome, .. } = entry.progress.clone() {
            self.put_out(Entry { progress: Progress::Finished { at: finished, outcome }, ..entry })?;
        }
        Ok(())
    }

    /// Ends a command that was begun and is not to be run: the service has settled it, so there is
    /// nothing to report.
    pub fn skip(&self, command: &HostCommandId, outcome: Outcome, answer: &str) -> Result<(), LedgerError> {
        let _turn = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(command)?.ok_or_else(|| out_of_turn(command, "skipped", "was never begun"))?;
        if entry.outcome().is_some() {
            return Ok(());
        }
        let (at, delivery) = (Timestamp::now(), Delivery::Settled { answer: answer.to_owned() });
        self.write(&Entry { progress: Progress::Reported { finished: at, at, outcome, delivery }, ..entry })
    }

    /// Records the result of a command that nobody is to be told of.
    pub fn finish_locally(&self, command: &HostCommandId, outcome: Outcome) -> Result<(), LedgerError> {
        let _turn = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(command)?.ok_or_else(|| out_of_turn(command, "finished", "was never begun"))?;
        let at = Timestamp::now();
        self.write(&Entry {
            progress: Progress::Reported { finished: at, at, outcome, delivery: Delivery::Local },
            ..entry
        })
    }

    /// Counts that a life of the agent takes a begun command up from its beginning; answers how many did.
    pub fn count_life(&self, command: &HostCommandId) -> Result<u32, LedgerError> {
        let _turn = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(command)?.ok_or_else(|| out_of_turn(command, "taken up again", "was never begun"))?;
        let lives = entry.lives.saturating_add(1);
        self.write(&Entry { lives, ..entry })?;
        Ok(lives)
    }

    /// Commands of the service that have begun and have no result: at the start, those that an earlier life left.
    pub fn unfinished(&self) -> Result<Listing, LedgerError> {
        let (mut entries, unreadable) =
            self.each(|entry| (entry.progress == Progress::Begun && !entry.is_local()).then_some(entry))?;
        entries.sort_by_key(|entry| entry.begun);
        Ok(Listing { entries, unreadable })
    }

    /// Whether a deployment has had a command on this host that is still remembered.
    pub fn knows(&self, deployment: &DeploymentId) -> Result<bool, LedgerError> {
        Ok(self
            .all()?
            .entries
            .iter()
            .any(|entry| entry.work.as_ref().is_some_and(|work| work.deployment == *deployment)))
    }

    /// Whether one of these commands was begun for a deployment, and is still remembered.
    pub fn has_begun(&self, deployment: &DeploymentId, names: &[&str]) -> Result<bool, LedgerError> {
        let is_one = |entry: Entry| {
            let its = entry.work.as_ref().is_some_and(|work| work.deployment == *deployment);
            (its && names.contains(&entry.name.as_str())).then_some(())
        };
        Ok(!self.each(is_one)?.0.is_empty())
    }

    /// The newest commands, the newest first.
    pub fn recent(&self, at_most: usize) -> Result<Listing, LedgerError> {
        let mut listing = self.all()?;
        listing.entries.sort_by_key(|entry| std::cmp::Reverse((entry.begun, entry.finished_at())));
        listing.entries.truncate(at_most);
        Ok(listing)
    }

    /// How many results wait to be reported.
    pub fn waiting(&self) -> Result<usize, LedgerError> {
        Ok(files_in(&self.layout.outbox())?.len())
    }

    /// The newest command that failed.
    pub fn last_failure(&self) -> Result<Option<Entry>, LedgerError> {
        let failed = |entry: &Entry| matches!(entry.outcome(), Some(Outcome::Failed(_)));
        let entries = self.all()?.entries;
        Ok(entries.into_iter().filter(failed).max_by_key(Entry::finished_at))
    }

    fn all(&self) -> Result<Listing, LedgerError> {
        let (entries, unreadable) = self.each(Some)?;
        Ok(Listing { entries, unreadable })
    }

    /// Reads one entry after the other and keeps what is wanted of each: all of them at once are megabytes,
    /// with the ends of the scripts' output.
    fn each<T>(&self, wanted: impl Fn(Entry) -> Option<T>) -> Result<(Vec<T>, Vec<StoreError>), LedgerError> {
        let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
        for path in files_in(&self.layout.ledger())? {
            match store::read(&path) {
                Ok(entry) => kept.extend(entry.and_then(&wanted)),
                Err(error) => unreadable.push(error),
            }
        }
        Ok((kept, unreadable))
    }

    /// Lets reported entries go that are beyond the newest `keep`. What is not reported stays for ever; nobody
    /// waits for the report of a local deploy that was cut off.
    fn prune(&self, keep: usize) -> Result<(), LedgerError> {
        let reported = |entry: Entry| match entry.progress {
            Progress::Reported { at, .. } => Some((at, entry.command)),
            Progress::Begun if entry.execution.is_empty() => Some((entry.begun, entry.command)),
            Progress::Begun | Progress::Finished { .. } => None,
        };
        let (mut entries, _unreadable) = self.each(reported)?;
        entries.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        for (_, command) in entries.iter().skip(keep) {
            disk::remove_if_exists(&self.layout.ledger_entry(command))?;
        }
        Ok(())
    }

    fn put_out(&self, entry: Entry) -> Result<Entry, LedgerError> {
        store::write(&self.outbox_file(&entry.command), &Pointer { command: entry.command.clone() })?;
        self.write(&entry)?;
        Ok(entry)
    }

    fn write(&self, entry: &Entry) -> Result<(), LedgerError> {
        Ok(store::write(&self.layout.ledger_entry(&entry.command), entry)?)
    }

    fn outbox_file(&self, command: &HostCommandId) -> PathBuf {
        self.layout.outbox().join(format!("{}.json", command.file_stem()))
    }
}

impl Received {
    fn into_entry(self, work: Option<Work>, begun: Timestamp, progress: Progress) -> Entry {
        Entry { command: self.command, name: self.name, execution: self.execution, work, begun, lives: 0, progress }
    }
}

fn out_of_turn(command: &HostCommandId, step: &'static str, state: &'static str) -> LedgerError {
    LedgerError::OutOfTurn { command: command.file_stem(), step, state }
}

/// The state files of a directory; temporary ones of writes that were cut off begin with a dot.
fn files_in(dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let named =
        |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.ends_with(".json") && !name.starts_with('.'));
    let entries = match Dir::open(dir) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?.entries()?,
    };
    Ok(entries.into_iter().filter(|entry| named(&entry.name)).map(|entry| dir.join(entry.name)).collect())
}

#[cfg(test)]
mod tests;
