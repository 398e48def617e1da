//! Why an install failed, and what it left.

use std::path::PathBuf;

use super::rules::RulesError;
use super::settle::{Drift, SettleError};
use super::space::Shortage;
use crate::disk;
use crate::journal::JournalError;
use crate::plan::Blocked;
use crate::store::StoreError;

/// An install that failed.
#[derive(Debug, thiserror::Error)]
#[error("{cause}{aftermath}")]
pub struct InstallError {
    /// Why.
    pub cause: Cause,
    /// What is on the host now.
    pub aftermath: Aftermath,
}

/// What a failed install left.
#[derive(Debug)]
pub enum Aftermath {
    /// Nothing was changed.
    Untouched,
    /// Everything was put back as it was, except what somebody else changed in the meantime.
    PutBack(Vec<Drift>),
    /// Neither putting back nor going on worked, or it had to wait; it will be tried again before the
    /// next deployment. What it holds back, and what to do.
    Unsettled(String),
}

impl std::fmt::Display for Aftermath {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Untouched => Ok(()),
            Self::PutBack(drift) => {
                out.write_str("; everything was put back as it was")?;
                drift.iter().try_for_each(|drift| write!(out, "; {drift}"))
            }
            Self::Unsettled(why) => {
                write!(out, "; and it could not be put back or finished. {why}")
            }
        }
    }
}

/// Why an install failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The plan cannot be made.
    #[error(transparent)]
    Conflicts(#[from] Box<Blocked>),
    /// The disks have too little room.
    #[error("the revision cannot be installed, and nothing was changed: {}", listed(.0))]
    NoSpace(Vec<Shortage>),
    /// The revision has too many entries.
    #[error("{} has more than {limit} entries, which is the most that is installed", path.display())]
    TooMany {
        /// The revision.
        path: PathBuf,
        /// The most.
        limit: usize,
    },
    /// Somebody else changed a target while it was being installed.
    #[error("{} was changed by somebody else during the install; deploy again when that is over", path.display())]
    ChangedMeanwhile {
        /// The target.
        path: PathBuf,
    },
    /// A file of the revision changed while it was copied.
    #[error("{} in the unpacked revision changed while it was being copied; deploy again", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// It is not known whether earlier installs were cut off.
    #[error("it is not known whether an earlier install was cut off: {0}")]
    Leftover(#[source] disk::Error),
    /// An earlier install was cut off and is not settled, and holds back the group or paths of the plan.
    #[error("{0}")]
    HeldBack(String),
    /// The install was committed, but what follows from it could not be done.
    #[error("the revision is installed, but the install could not be finished: {0}")]
    Unfinished(#[source] SettleError),
    /// The host's rules for SELinux labels could not be read or changed.
    #[error("the install failed: {0}")]
    Rules(#[from] RulesError),
    /// The file system said no.
    #[error("the install failed: {0}")]
    Disk(#[from] disk::Error),
    /// State could not be read or written.
    #[error("the install failed: {0}")]
    Store(#[from] StoreError),
    /// The journal could not be written.
    #[error("the install failed: {0}")]
    Journal(#[from] JournalError),
}

fn listed(shortages: &[Shortage]) -> String {
    shortages.iter().map(Shortage::to_string).collect::<Vec<_>>().join("; ")
}

impl From<Cause> for InstallError {
    fn from(cause: Cause) -> Self {
        Self { cause, aftermath: Aftermath::Untouched }
    }
}
