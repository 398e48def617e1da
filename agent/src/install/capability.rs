//! Whether the file systems of targets keep what permission entries ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::root::Root;
use crate::disk::{self, Dir, Mount, Mounts};

/// Something that not every file system keeps. It is asked for only where an entry wants it.
#[derive(Clone)]
pub(super) struct Capability {
    is_wanted: bool,
    is_kept: fn(&Dir) -> Result<bool, disk::Error>,
    /// What is known already, by mount point.
    known: BTreeMap<PathBuf, bool>,
}

impl Capability {
    /// One that some entry wants.
    pub(super) fn wanted(is_kept: fn(&Dir) -> Result<bool, disk::Error>) -> Self {
        Self { is_wanted: true, is_kept, known: BTreeMap::new() }
    }

    /// One that nobody asks for, so that nothing lacks it.
    pub(super) fn not_wanted() -> Self {
        Self { is_wanted: false, is_kept: |_| Ok(true), known: BTreeMap::new() }
    }

    /// The mount point of the file system that a path is on, or would be, if that lacks the capability.
    pub(super) fn lacking(
        &mut self,
        root: &Root,
        mounts: &Mounts,
        path: &Path,
    ) -> Result<Option<PathBuf>, disk::Error> {
        let mount = if self.is_wanted { mounts.of(path.parent().unwrap_or(path)) } else { None };
        let Some(Mount { point, .. }) = mount else { return Ok(None) };
        let is_kept = match self.known.get(point) {
            Some(known) => *known,
            None => {
                let is_kept = (self.is_kept)(&root.dir(point)?)?;
                self.known.insert(point.clone(), is_kept);
                is_kept
            }
        };
        Ok((!is_kept).then(|| point.clone()))
    }
}
