//! The write-ahead record of one install.
//!
//! Append-only. The first bad record ends it, and is cut off before anything is appended: blocks that
//! were not synced may reach the disk in any order. A bad record that a later good one counts as
//! synced is corruption, and then nobody touches anything.

mod frame;
mod record;

use std::path::{Path, PathBuf};

pub use record::{Begin, FORMAT, Filesystem, ListStamp, Record, Staged};

use crate::disk::{self, LogFile};
use frame::Corrupt;

/// The longest journal that is read: some hundred thousand paths.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes that are gathered before they are written.
const GATHER: usize = 64 << 10;

/// Why a journal was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A record that had been written safely is not readable any more.
    #[error(
        "the journal {} is damaged: record {number} at byte {offset} was safely written once and is unreadable now; \
         nothing was touched; check the disk",
        path.display()
    )]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// The record's number, from 0.
        number: usize,
        /// Its first byte.
        offset: u64,
    },
    /// A later version of the agent wrote it.
    #[error(
        "the journal {} has format {found}, this version knows up to {FORMAT}; nothing was touched; \
         install the newer slipway-agent again to finish it",
        path.display()
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The records do not follow each other as they should.
    #[error("the journal {} makes no sense: {problem}; nothing was touched", path.display())]
    Nonsense {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A record could not be written as JSON.
    #[error("a record for the journal {} cannot be written as JSON: {source}", path.display())]
    Unwritable {
        /// The journal.
        path: PathBuf,
        /// What the serialiser says.
        source: serde_json::Error,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: LogFile,
    gathered: Vec<u8>,
    written: usize,
    covered: usize,
}

/// A journal as it was found.
#[derive(Debug)]
pub struct Replay {
    /// To append to it.
    pub journal: Journal,
    /// Its readable records.
    pub records: Vec<Record>,
    commit: Option<Committed>,
}

/// The commit record, and everything around it of which no later record says that it was synced.
#[derive(Debug)]
struct Committed {
    at: u64,
    unsynced_from: u64,
    unsynced: Vec<u8>,
}

impl Journal {
    /// Whether the process that writes this journal still lives.
    pub fn is_held(path: &Path) -> Result<bool, JournalError> {
        Ok(LogFile::is_held(path)?)
    }

    /// Creates a journal; the directory is synced by the caller.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let file = LogFile::create(path)?;
        file.sync()?;
        Ok(Self { file, gathered: Vec::new(), written: 0, covered: 0 })
    }

    /// Opens a journal and reads it; a torn end is cut off. Nothing where there is no file.
    pub fn open(path: &Path) -> Result<Option<Replay>, JournalError> {
        let mut file = match LogFile::open(path) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let bytes = file.read(MAX_BYTES)?;
        let decoded = frame::decode(&bytes).map_err(|corrupt| JournalError::Corrupt {
            path: path.to_owned(),
            number: corrupt.number,
            offset: corrupt.offset,
        })?;
        check_format(path, decoded.frames.first().map(|(_, frame)| &frame.record))?;
        let count = decoded.frames.len();
        let commit = decoded.frames.iter().find(|(_, frame)| frame.record == Record::Commit).map(|(at, commit)| {
            let unsynced = decoded.frames.get(commit.covered).map_or(*at, |(offset, _)| *offset);
            let start = usize::try_from(unsynced).unwrap_or(usize::MAX);
            let end = usize::try_from(decoded.end).unwrap_or(usize::MAX);
            let unsynced_bytes = bytes.get(start..end).unwrap_or_default().to_vec();
            Committed { at: *at, unsynced_from: unsynced, unsynced: unsynced_bytes }
        });
        file.cut(decoded.end)?;
        let journal = Self { file, gathered: Vec::new(), written: count, covered: count };
        let records = decoded.frames.into_iter().map(|(_, frame)| frame.record).collect();
        Ok(Some(Replay { journal, records, commit }))
    }

    /// The records that can be read, for whoever wants to know what an install is about and changes nothing. What is
    /// wrong with the rest comes with them.
    pub fn peek(path: &Path) -> (Vec<Record>, Option<JournalError>) {
        let bytes = match disk::read_if_exists(path, MAX_BYTES) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => return (Vec::new(), Some(error.into())),
        };
        let (frames, corrupt) = frame::readable(&bytes);
        let records: Vec<Record> = frames.into_iter().map(|frame| frame.record).collect();
        let problem = match corrupt {
            Some(Corrupt { number, offset }) => Some(JournalError::Corrupt { path: path.to_owned(), number, offset }),
            None => check_format(path, records.first()).err(),
        };
        (if matches!(problem, Some(JournalError::Newer { .. })) { Vec::new() } else { records }, problem)
    }

    /// Adds a record. It is durable after the next [`Journal::sync`].
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        frame::encode(self.covered, record, &mut self.gathered)
            .map_err(|source| JournalError::Unwritable { path: self.file.path().to_owned(), source })?;
        self.written += 1;
        if self.gathered.len() >= GATHER { self.flush() } else { Ok(()) }
    }

    /// Makes all records durable. After an error this value must not be used any more.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.file.sync()?;
        self.covered = self.written;
        Ok(())
    }

    /// Sets space aside for the records that are still to come.
    pub fn reserve(&mut self, bytes: u64) -> Result<(), JournalError> {
        self.flush()?;
        Ok(self.file.reserve(bytes)?)
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        if !self.gathered.is_empty() {
            self.file.append(&self.gathered)?;
            self.gathered.clear();
        }
        Ok(())
    }
}

impl Replay {
    /// Makes sure that the commit that was read is on the disk and not in the page cache alone, before
    /// anything is done that cannot be undone.
    pub fn affirm_commit(&mut self) -> Result<(), JournalError> {
        if let Some(commit) = &self.commit {
            self.journal.file.write_again(commit.unsynced_from, &commit.unsynced)?;
        }
        Ok(())
    }

    /// Takes back a commit whose sync failed, so that the install is undone and not half of each.
    pub fn retract_commit(&mut self) -> Result<(), JournalError> {
        if let Some(commit) = self.commit.take() {
            self.journal.file.cut(commit.at)?;
            let kept = self.records.iter().position(|record| *record == Record::Commit).unwrap_or(self.records.len());
            self.records.truncate(kept);
            self.journal.written = kept;
            self.journal.covered = kept;
        }
        Ok(())
    }
}

fn check_format(path: &Path, first: Option<&Record>) -> Result<(), JournalError> {
    match first {
        None => Ok(()),
        Some(Record::Begin(begin)) if begin.format <= FORMAT => Ok(()),
        Some(Record::Begin(begin)) => Err(JournalError::Newer { path: path.to_owned(), found: begin.format }),
        Some(_) => Err(JournalError::Nonsense {
            path: path.to_owned(),
            problem: "its first record does not say which install it is".to_owned(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests damage files from outside")]
mod tests;
