//! How often the recovery of an install was begun. One that ends the agent each time must not do so for ever,
//! nor keep other groups from being deployed to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::ids::TransactionId;
use crate::layout::Layout;
use crate::store::{self, Stored};

/// Recoveries that the agent did not outlive, after which an install is left aside.
pub(super) const MOST: u32 = 5;

/// In the transaction's directory, and gone with it.
const FILE: &str = "attempts.json";

/// Whether a recovery is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Unless too many did not end.
    Bounded,
    /// However many did not end.
    Unbounded,
}

/// The state file.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Begun {
    /// Recoveries that were begun and have not ended.
    count: u32,
}

impl Stored for Begun {
    const WHAT: &'static str = "the count of recoveries of an install";
    const FORMAT: u32 = 1;
}

/// A recovery that is counted for as long as it has not ended.
#[derive(Debug)]
pub(super) struct Attempt {
    file: PathBuf,
    before: Begun,
}

/// Too many recoveries did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// How many.
    pub(super) count: u32,
}

impl Attempt {
    /// Counts it, before anything is done. What cannot be counted is tried all the same: on a full disk a
    /// recovery may be what frees it.
    pub(super) fn begin(layout: &Layout, id: &TransactionId, patience: Patience) -> Result<Self, GivenUp> {
        let file = layout.transaction(id).join(FILE);
        let before = store::read::<Begun>(&file).unwrap_or_else(|error| {
            tracing::warn!(%error, "the count begins anew");
            None
        });
        let before = before.unwrap_or_default();
        if patience == Patience::Bounded && before.count >= MOST {
            return Err(GivenUp { count: before.count });
        }
        if let Err(error) = store::write(&file, &Begun { count: before.count.saturating_add(1) }) {
            tracing::debug!(%error, "a recovery is not counted");
        }
        Ok(Self { file, before })
    }

    /// Takes it out of the count: it has failed, and the agent has outlived it.
    pub(super) fn outlived(self) {
        let undone = match self.before.count {
            0 => disk::remove_if_exists(&self.file).map_err(store::StoreError::from),
            _ => store::write(&self.file, &self.before),
        };
        if let Err(error) = undone {
            tracing::debug!(%error, "a recovery that the agent has outlived stays counted");
        }
    }
}
