//! An unpacked revision: an immutable tree on disk.

use std::path::{Path, PathBuf};

use crate::appspec::location::Meant;
use crate::appspec::{self, AppSpecNotFound};
use crate::deployment::RelativePath;
use crate::disk::{self, Dir, Kind};

/// Longest AppSpec that is read, in bytes: one more than its reader takes, which then says so.
const MAX_APPSPEC: u64 = (1 << 20) + 1;

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

    /// The list of its files' digests, where it was unpacked from a bundle: beside the directory.
    pub fn digests(&self) -> PathBuf {
        self.beside(".digests")
    }

    /// The list of owners and modes that the archive has and its files here do not: beside the directory.
    pub fn attributes(&self) -> PathBuf {
        self.beside(".attributes")
    }

    /// By what it is known that nothing of it was changed since it was unpacked: beside the directory, where it may
    /// be used again.
    pub fn seal(&self) -> PathBuf {
        self.beside(".seal")
    }

    /// What the author of a `location` meant at which there is no script, if it is a file of this revision.
    pub fn meant_by(&self, location: &str) -> Option<Meant> {
        let root = Dir::open(&self.root).ok()?;
        Meant::guess(location, |path| root.stat(path.as_path()).is_ok_and(|stat| stat.kind == Kind::File))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.root.file_name().unwrap_or_default());
        name.push(ending);
        self.root.with_file_name(name)
    }
}

/// Why there is no AppSpec to read.
#[derive(Debug, thiserror::Error)]
pub enum NoAppSpec {
    /// None has a name that is looked for.
    #[error(transparent)]
    NotFound(#[from] AppSpecNotFound),
    /// It could not be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// Finds and reads the AppSpec in a revision's root. Answers its path there, and its text.
pub fn read_appspec(root: &Dir, wanted: &RelativePath) -> Result<(PathBuf, Vec<u8>), NoAppSpec> {
    let names: Vec<String> =
        root.entries()?.into_iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
    let is_file = |path: &Path| root.stat(path).is_ok_and(|stat| stat.kind == Kind::File);
    let name = appspec::locate(wanted, &names, is_file)?;
    let text = disk::read_bounded_at(root, &name, MAX_APPSPEC)?;
    Ok((name, text))
}
