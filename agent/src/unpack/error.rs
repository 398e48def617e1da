use std::path::PathBuf;

use super::PathProblem;
use crate::deployment::BundleType;
use crate::disk;

/// Why a bundle was not unpacked. Entries are named as the bundle names them.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bundle could not be read.
    #[error("the bundle is not readable: {0}")]
    Bundle(disk::Error),
    /// The staged tree could not be written.
    #[error("the bundle could not be unpacked: {0}")]
    Staging(disk::Error),
    /// One entry could not be written.
    #[error("the entry {entry:?} of the bundle could not be unpacked: {source}")]
    Entry {
        /// Which.
        entry: String,
        /// Why not.
        source: disk::Error,
    },
    /// The file system is too full.
    #[error(
        "there is no space to unpack the bundle: {needed} bytes are needed in {}, {available} are available; \
         free some, or lower max_revisions",
        place.display()
    )]
    NoSpace {
        /// Bytes needed, at least.
        needed: u64,
        /// Bytes available.
        available: u64,
        /// Where.
        place: PathBuf,
    },
    /// The system gives no thread to decompress on.
    #[error(
        "the bundle could not be unpacked: no thread can be started ({0}); the agent's limit of tasks or memory is reached"
    )]
    NoThread(std::io::Error),
    /// The content is of another type.
    #[error("the bundle is {found}, but its type is given as {expected}; {remedy}")]
    WrongType {
        /// As given.
        expected: BundleType,
        /// By its first bytes.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// It is an archive that no bundle can be.
    #[error("the file is {found}, which cannot be deployed; {remedy}")]
    NoBundle {
        /// By its first bytes.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The bundle ends too early.
    #[error("the bundle is truncated{}: upload it again", after(.0))]
    Truncated(Option<String>),
    /// The bundle is broken.
    #[error("the bundle is damaged{}: {reason}; build and upload it again", after(entry))]
    Damaged {
        /// The entry before or at the damage.
        entry: Option<String>,
        /// What was found.
        reason: String,
    },
    /// The bundle uses a feature that is not supported.
    #[error("the entry {entry:?} of the bundle {what}")]
    Unsupported {
        /// Which.
        entry: String,
        /// What it uses and what to do.
        what: &'static str,
    },
    /// An entry's name is not a path inside of the revision.
    #[error("the bundle is refused: its entry {entry:?} {problem}")]
    Path {
        /// Which.
        entry: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// An entry lies behind a symlink of the same bundle.
    #[error("the bundle is refused: its entry {entry:?} would be written through {through:?}, which is no directory")]
    Through {
        /// Which.
        entry: String,
        /// The entry in its way.
        through: String,
    },
    /// A hard link to something other than an earlier file of the same bundle.
    #[error("the bundle is refused: its entry {entry:?} is a hard link to {target:?}, which is no earlier file of it")]
    HardLink {
        /// Which.
        entry: String,
        /// Its target.
        target: String,
    },
    /// A device, pipe or socket.
    #[error(
        "the bundle is refused: its entry {entry:?} is a {kind}; only files, directories and links can be deployed"
    )]
    Special {
        /// Which.
        entry: String,
        /// What it is.
        kind: &'static str,
    },
    /// A file or link where an earlier entry is a directory that holds others.
    #[error(
        "the bundle is refused: its entry {entry:?} is a file or link, and an earlier entry is a directory of this name \
         that holds others; pack it without one of the two"
    )]
    Covers {
        /// Which.
        entry: String,
    },
    /// A symlink where none is allowed.
    #[error(
        "the bundle is refused: its entry {entry:?} is a symlink to {target:?}, and reject_symlinks_in_bundle is set"
    )]
    Symlink {
        /// Which.
        entry: String,
        /// Its target.
        target: String,
    },
    /// A mode that gives more than ordinary rights, where that is refused.
    #[error(
        "the bundle is refused: its entry {entry:?} has the mode {mode:04o}, \
         and reject_unsafe_permissions_in_bundle is set"
    )]
    UnsafeMode {
        /// Which.
        entry: String,
        /// Its mode.
        mode: u32,
    },
    /// A cap was reached.
    #[error("the bundle is refused at its entry {entry:?}: it holds more than {limit} {what}")]
    Limit {
        /// Where it was noticed.
        entry: String,
        /// The cap.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// Somebody asked for its end.
    #[error("the bundle was not unpacked to its end: the agent was asked to stop")]
    Stopped,
    /// The AppSpec could not be read for its scripts.
    #[error("{0}")]
    Scripts(String),
}

fn after(entry: &Option<String>) -> String {
    entry.as_ref().map_or_else(String::new, |entry| format!(" at or after its entry {entry:?}"))
}
