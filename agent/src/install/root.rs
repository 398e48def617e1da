//! Absolute paths without symlinks, reached from the root directory one descriptor at a time, so that
//! nobody can put a link in their way.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::disk::{self, Dir, Facts, Kind};
use crate::plan::plain_path::{below, split};
use crate::plan::{Attrs, Identity, PathState, Time};

/// The root directory.
#[derive(Debug)]
pub(super) struct Root(Dir);

impl Root {
    pub(super) fn open() -> Result<Self, disk::Error> {
        Dir::root().map(Self)
    }

    /// What is at the path; nothing too where something on the way is no directory.
    pub(super) fn facts(&self, path: &Path) -> Result<Option<Facts>, disk::Error> {
        match self.0.facts(relative(path)) {
            Err(error) if error.is_not_a_directory() => Ok(None),
            other => other,
        }
    }

    pub(super) fn dir(&self, path: &Path) -> Result<Dir, disk::Error> {
        self.0.open_dir(relative(path))
    }

    pub(super) fn file(&self, path: &Path) -> Result<File, disk::Error> {
        self.0.open_file(relative(path))
    }

    pub(super) fn read_link(&self, path: &Path) -> Result<PathBuf, disk::Error> {
        self.0.read_link(relative(path))
    }

    /// The directory that holds the path.
    pub(super) fn parent(&self, path: &Path) -> Result<Dir, disk::Error> {
        self.dir(split(path).0)
    }
}

fn relative(path: &Path) -> &Path {
    below(path, Path::new("/")).unwrap_or(path)
}

/// The last name of a path; paths of a plan always have one.
pub(super) fn name(path: &Path) -> &OsStr {
    split(path).1
}

/// What tells the inode from others.
pub(super) fn identity(facts: &Facts) -> Identity {
    Identity { inode: facts.stat.inode, birth: facts.birth.map(|(seconds, nanos)| Time(seconds, nanos)) }
}

/// The state that facts alone show: no access control list, no digest, no target of a link.
pub(super) fn shallow_state(stat: &disk::Stat) -> PathState {
    let attrs = Attrs::new(stat.uid, stat.gid, stat.mode);
    match stat.kind {
        Kind::File => {
            PathState::File { attrs, modified: Time(stat.modified.0, stat.modified.1), size: stat.size, sha256: None }
        }
        Kind::Directory => PathState::Directory { attrs },
        Kind::Symlink => PathState::Symlink { uid: stat.uid, gid: stat.gid, target: PathBuf::new() },
        Kind::Other => PathState::Other,
    }
}
