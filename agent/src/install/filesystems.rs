//! The file systems of a transaction, for making everything on them durable at once.

use std::path::Path;

use crate::disk::{self, Dir, Syncfs};
use crate::ids::TransactionId;
use crate::journal::Begin;
use crate::layout::Layout;

/// From this many on, one call for a whole file system takes less time than one for each directory.
const MANY: usize = 16;

/// Open from before anything is written: what the kernel could not write since then is told to whoever
/// holds a descriptor, and to nobody that comes later once somebody else was told.
#[derive(Debug)]
pub(super) struct Filesystems {
    /// Those of the targets.
    targets: Vec<Dir>,
    /// That of the transaction's own directory, where it is another one.
    state: Option<Dir>,
    syncfs: Syncfs,
}

impl Filesystems {
    pub(super) fn open(layout: &Layout, id: &TransactionId, begin: &Begin) -> Result<Self, disk::Error> {
        let points = begin.filesystems.iter().map(|known| &known.mount_point);
        let targets = points.map(Dir::open).collect::<Result<Vec<Dir>, _>>()?;
        let state = Dir::open(layout.transaction(id))?;
        let device = state.stat_self()?.device;
        let mut is_known = false;
        for target in &targets {
            is_known |= target.stat_self()?.device == device;
        }
        Ok(Self { targets, state: (!is_known).then_some(state), syncfs: Syncfs::of_this_kernel() })
    }

    /// Makes durable what was staged, and what was written ahead for the commit.
    pub(super) fn sync(&self) -> Result<(), disk::Error> {
        self.targets.iter().chain(&self.state).try_for_each(Dir::sync_filesystem)
    }

    /// Makes durable what happened to the targets where that takes less time than going through all the
    /// places that it happened in; tells whether it did.
    pub(super) fn sync_instead(&self, places: usize) -> Result<bool, disk::Error> {
        let instead = places >= MANY && self.syncfs == Syncfs::Reports;
        if instead {
            self.targets.iter().try_for_each(Dir::sync_filesystem)?;
        }
        Ok(instead)
    }
}

/// Makes a file that has to be on the disk after the next [`Filesystems::sync`], and not before.
pub(super) fn write_ahead(path: &Path, content: &[u8], mode: u32) -> Result<(), disk::Error> {
    match Syncfs::of_this_kernel() {
        Syncfs::Reports => disk::create_unsynced(path, content, mode),
        Syncfs::Swallows => disk::write_atomic(path, content, mode),
    }
}
