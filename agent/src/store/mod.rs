//! Small state on disk: JSON with a `format` number, written atomically, read with a bound.
//!
//! A file is replaced as a whole and is durable when a write returns. A file whose `format` is newer
//! than this version knows is refused, never guessed at, and so is one that is not what was written: it
//! begins with a checksum of what follows.
//!
//! ```text
//! {"format":1,"crc32c":"5a1e08f3","group":"shop",...}
//! ```

pub mod attributes;
pub mod audit;
mod bundle_key;
pub mod checks;
pub mod digests;
mod floors;
pub mod host;
mod latest;
pub mod manifests;
mod objects;
pub mod markers;
pub mod requests;
mod restrict;
pub mod retention;
mod settings;
mod text;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Dir, Lock};
use crate::layout::Layout;

pub use attributes::{AttributeList, Attributes, Given, ListError, Origin, is_editable_by_others, own_mode};
pub use bundle_key::{read_bundle_key, write_bundle_key};
pub use checks::{DriftCheck, read_drift_check, write_drift_check};
pub use digests::{Digests, Known, Lookup, Stamp};
pub use floors::{Floor, Floors, raise_floor, read_floors};
pub use host::{Disowned, HostRecord, claim, disowned};
pub use latest::{OutOfOrder, follow_on};
pub use manifests::{groups, read_manifest};
pub use markers::{
    Mark, Markers, Proof, Trial, Who, forget_ownership, forget_scripts, mark_last_good, mark_last_successful,
    mark_most_recent, put_on_trial, read_markers, withdraw_good,
};
pub use objects::{LastObject, last_object, note_object};
pub use requests::{
    Asker, Cancels, Request, ask_to_cancel, ask_to_pause, cancels, read_cancel, read_pause, withdraw_cancel,
    withdraw_pause,
};
pub use restrict::{Others, restrict, restrict_deployment};
pub use retention::{Retention, Shrunk, deployed, is_kept, retain, shrink};
pub use settings::{RunningSettings, read_running_settings, write_running_settings};

/// A type that is kept in a state file of its own. It serialises as a JSON object without the members
/// `format` and `crc32c`.
pub trait Stored: Serialize + DeserializeOwned {
    /// What the file holds, for messages: `the markers of a deployment group`.
    const WHAT: &'static str;
    /// The format that this version writes; it reads this one and all older ones.
    const FORMAT: u32;
    /// The longest file that is read, in bytes.
    const MAX_BYTES: u64 = 1 << 20;
}

/// Why state was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A later version of the agent wrote it.
    #[error(
        "{what} in {} has format {found}, this version knows up to {known}: \
         install the newer slipway-agent again, or move the file away to start without it",
        path.display()
    )]
    Newer {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// It is not what it should be.
    #[error("{what} in {} cannot be read: {source}; restore the file, or move it away to start without it", path.display())]
    Malformed {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// It is not what was written.
    #[error(
        "{what} in {} is damaged: it does not have the checksum that it was written with, so nothing was done by it; \
         check the disk, then restore the file, or move it away to start without it",
        path.display()
    )]
    Damaged {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A value could not be written as JSON.
    #[error("{what} for {} cannot be written as JSON: {source}", path.display())]
    Unwritable {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the serialiser says.
        source: serde_json::Error,
    },
}

/// Reads a state file; nothing where there is none.
pub fn read<T: Stored>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(text) = disk::read_if_exists(path, T::MAX_BYTES)? else { return Ok(None) };
    let malformed = |source| StoreError::Malformed { what: T::WHAT, path: path.to_owned(), source };
    if is_whole(T::FORMAT, &text) {
        return serde_json::from_slice(&text).map(Some).map_err(malformed);
    }
    let Head { format, crc32c } = serde_json::from_slice(&text).map_err(malformed)?;
    if format > T::FORMAT {
        return Err(StoreError::Newer { what: T::WHAT, path: path.to_owned(), found: format, known: T::FORMAT });
    }
    // Versions before the first release wrote none.
    if crc32c.is_some() && !is_whole(format, &text) {
        return Err(StoreError::Damaged { what: T::WHAT, path: path.to_owned() });
    }
    serde_json::from_slice(&text).map(Some).map_err(malformed)
}

/// Whether a text begins with the head that it is given in that format, which is seen without reading the rest as JSON.
fn is_whole(format: u32, text: &[u8]) -> bool {
    let Some((found, rest)) = text.split_at_checked(text::head(format, 0).len()) else { return false };
    found == text::head(format, crc32c::crc32c(rest)).as_bytes()
}

/// Replaces a state file, mode 0600; its directory is made where it is missing.
pub fn write<T: Stored>(path: &Path, state: &T) -> Result<(), StoreError> {
    write_as::<T>(path, state)
}

/// As [`write`], for a value that only serialises like a `T`, and borrows what it says.
pub fn write_as<T: Stored>(path: &Path, state: &impl Serialize) -> Result<(), StoreError> {
    if let Some(parent) = path.parent() {
        Dir::open_or_create(parent, 0o700)?;
    }
    text::write::<T>(path, state)
}

/// The text of a state file: what [`write`] would write to `path`, which is named in errors only.
pub fn to_json<T: Stored>(path: &Path, state: &T) -> Result<Vec<u8>, StoreError> {
    text::of::<T>(path, state)
}

/// Reads a state file, or the default where there is none, lets `change` work on it, and writes it
/// back. Two processes that do so at once do it one after the other.
pub fn update<T: Stored + Default>(path: &Path, change: impl FnOnce(&mut T)) -> Result<T, StoreError> {
    update_from(path, |found| Ok(found.unwrap_or_default()), change)
}

/// Waits for the lock of the state files in a directory, which is made where it is missing.
fn lock_beside(path: &Path) -> Result<Lock, StoreError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    Dir::open_or_create(parent, 0o700)?;
    Ok(Lock::wait(&parent.join(".lock"))?)
}

/// As [`update`], with what the state is before the change, given what was read.
fn update_from<T: Stored>(
    path: &Path,
    before: impl FnOnce(Option<T>) -> Result<T, StoreError>,
    change: impl FnOnce(&mut T),
) -> Result<T, StoreError> {
    let _lock = lock_beside(path)?;
    let mut state = before(read(path)?)?;
    change(&mut state);
    write(path, &state)?;
    Ok(state)
}

/// Makes the directories that everything else expects under the root: our own closed to others, the
/// rest open to the users that hooks run as. What exists is left as it is, except files that a killed
/// process had not finished writing.
pub fn prepare(layout: &Layout) -> Result<(), disk::Error> {
    Dir::open_or_create(layout.root(), 0o755)?;
    Dir::open_or_create(layout.instructions(), 0o755)?;
    if let Some(logs) = layout.deployments_log().parent() {
        Dir::open_or_create(logs, 0o755)?;
    }
    for empty in [layout.transactions(), layout.hooks(), layout.locks()] {
        Dir::open_or_create(empty, 0o700)?;
    }
    let (groups, digests) = (layout.own().join("groups"), layout.own().join("digests"));
    let kept = [layout.own(), layout.manifests(), layout.ledger(), layout.outbox(), layout.requests()];
    for state in kept.into_iter().chain([groups, digests]) {
        Dir::open_or_create(&state, 0o700)?;
        disk::sweep_temporaries(&state)?;
    }
    disk::sweep_temporaries(&layout.instructions())
}

#[derive(Deserialize)]
struct Head {
    format: u32,
    crc32c: Option<serde::de::IgnoredAny>,
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests;
