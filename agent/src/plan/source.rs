//! Sources of `files` entries that a symlink of the revision leads elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The sources of an AppSpec that are not where the entries name them. Most AppSpecs have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<PathBuf, Led>);

/// The place to which symlinks lead a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Led {
    /// Another path of the revision, which need not exist.
    To(PathBuf),
    /// A directory outside of the revision.
    Outside {
        /// The symlink in the revision.
        link: PathBuf,
        /// Its target, as it was written.
        target: PathBuf,
    },
}

impl Sources {
    /// The place of a source, where it is another one than the entry names.
    pub fn led(&self, source: &Path) -> Option<&Led> {
        self.0.get(source)
    }

    /// The path in the revision from which a source is installed; nothing where that is outside of it.
    pub fn path<'a>(&'a self, source: &'a Path) -> Option<&'a Path> {
        match self.led(source) {
            None => Some(source),
            Some(Led::To(path)) => Some(path),
            Some(Led::Outside { .. }) => None,
        }
    }
}

impl FromIterator<(PathBuf, Led)> for Sources {
    fn from_iter<I: IntoIterator<Item = (PathBuf, Led)>>(led: I) -> Self {
        Self(led.into_iter().collect())
    }
}
