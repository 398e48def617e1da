//! An unpacked revision: an immutable tree on disk.

use std::path::{Path, PathBuf};

/// An unpacked revision. Nothing writes to it after it was renamed into place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    root: PathBuf,
}

impl Revision {
    /// The revision whose files are in `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory that holds its files.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
