//! What an unpacked revision holds.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256 as Hasher};

use super::Cause;
use super::root::shallow_state;
use crate::appspec::AppSpec;
use crate::disk::{self, Dir, Entry, Kind};
use crate::plan::{Index, PathState, Sha256};
use crate::revision::Revision;
use crate::store::{Digests, Stamp};

/// More entries than this are not a bundle any more; it bounds the memory of a plan.
const MAX_ENTRIES: usize = 1_000_000;

/// Reads the tree. Files that the AppSpec installs get their digest.
pub(super) fn read(revision: &Revision, appspec: &AppSpec) -> Result<Index, Cause> {
    walk(revision, |path| appspec.files.iter().any(|mapping| path.starts_with(mapping.source.as_path())))
}

/// Lists what a revision holds, without any digest: enough to say which paths an AppSpec is about.
pub fn contents(revision: &Revision) -> Result<Index, Cause> {
    walk(revision, |_| false)
}

/// Reads the whole tree, with a digest of each file.
pub fn everything(revision: &Revision) -> Result<Index, Cause> {
    walk(revision, |_| true)
}

fn walk(revision: &Revision, is_digested: impl Fn(&Path) -> bool) -> Result<Index, Cause> {
    let root = Dir::open(revision.root())?;
    let digests = Digests::read(&revision.digests());
    let mut digests = digests.lookup();
    let mut found = vec![(PathBuf::new(), shallow_state(&root.stat_self()?))];
    let mut ahead = vec![Listing::of(&root, PathBuf::new())?];
    while let Some(Listing { dir, path: directory, entries }) = ahead.last_mut() {
        let Some(entry) = entries.next() else {
            ahead.pop();
            continue;
        };
        let path = directory.join(&entry.name);
        let stat = dir.stat(&entry.name)?;
        let mut state = shallow_state(&stat);
        match (&mut state, entry.kind) {
            (PathState::Symlink { target, .. }, _) => *target = dir.read_link(&entry.name)?,
            (PathState::File { sha256, .. }, _) if is_digested(&path) => {
                *sha256 = match digests.of(&path, &Stamp::of(&stat)) {
                    None => Some(digest(&dir.open_file(&entry.name)?, &revision.root().join(&path))?),
                    known => known,
                };
            }
            (_, Kind::Directory) => {
                let below = Listing::of(&root, path.clone())?;
                ahead.push(below);
            }
            _ => {}
        }
        found.push((path, state));
        if found.len() > MAX_ENTRIES {
            return Err(Cause::TooMany { path: revision.root().to_owned(), limit: MAX_ENTRIES });
        }
    }
    // At once, and in order: a tree that grows entry by entry is half empty, and sorting takes apart each path.
    Ok(found.into_iter().collect())
}

/// A directory that is being gone through.
struct Listing {
    dir: Dir,
    path: PathBuf,
    entries: std::vec::IntoIter<Entry>,
}

impl Listing {
    fn of(root: &Dir, path: PathBuf) -> Result<Self, disk::Error> {
        let dir = root.open_dir(&path)?;
        let entries = dir.entries()?.into_iter();
        Ok(Self { dir, path, entries })
    }
}

/// The digest of an open file, named `path` in errors.
pub(super) fn digest(mut file: &File, path: &Path) -> Result<Sha256, disk::Error> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Sha256(hasher.finalize().into())),
            Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(disk::Error::new("read", path, error)),
        }
    }
}
