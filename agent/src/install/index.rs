//! What an unpacked revision holds.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use sha2::{Digest, Sha256 as Hasher};

use super::Cause;
use super::root::shallow_state;
use super::threads::beside;
use crate::appspec::AppSpec;
use crate::disk::{self, Dir, Kind};
use crate::plan::plain_path::{below, join};
use crate::plan::target::Listing;
use crate::plan::{Index, PathState, Sha256, Sources};
use crate::revision::Revision;
use crate::store::{Attributes, Digests, Lookup, Stamp};

/// More entries than this are not a bundle any more; it bounds the memory of a plan.
const MAX_ENTRIES: usize = 1_000_000;
/// A tree of which this many entries were found already is gone through by two.
const MANY: usize = 1000;

/// Lists what a revision holds, without any digest: enough to say which paths an AppSpec is about.
pub fn contents(revision: &Revision) -> Result<Index, Cause> {
    let walk = Walk::of(revision, |_| false)?;
    Ok(Index::of(walk.work()?))
}

/// Reads the whole tree, with a digest of each file.
pub fn everything(revision: &Revision) -> Result<Index, Cause> {
    let walk = Walk::of(revision, |_| true)?;
    Ok(Index::of(walk.work()?))
}

/// Reads the tree, with the digests of files that the AppSpec installs, on a thread of its own; `first` and then `shared`
/// are done here meanwhile. Where the tree is large, whoever is done sooner helps the other one.
pub(super) fn read_beside(
    revision: &Revision,
    (appspec, sources): (&AppSpec, &Sources),
    first: impl FnOnce(),
    shared: impl Fn() -> Result<(), disk::Error> + Sync,
) -> Result<Index, Cause> {
    let installed: Vec<&Path> =
        appspec.files.iter().filter_map(|mapping| sources.path(mapping.source.as_path())).collect();
    let is_installed = |path: &Path| installed.iter().any(|source| below(path, source).is_some());
    let walk = Walk::of(revision, is_installed)?;
    let there = || {
        let found = walk.work()?;
        if walk.is_large() {
            shared()?;
        }
        Ok::<_, Cause>(found)
    };
    let here = || {
        first();
        shared()?;
        if walk.is_large() { walk.work() } else { Ok(Vec::new()) }
    };
    let (there, here) = beside("revision", there, here);
    let (mut found, more) = (there?, here?);
    found.extend(more);
    Ok(Index::of(found))
}

/// Going through a tree, by whoever has time for it.
struct Walk<'a, F> {
    revision: &'a Revision,
    root: Dir,
    /// What the archive says of owners and modes; of a revision that has them itself there is nothing.
    attributes: Option<Attributes>,
    /// Read by whoever comes first.
    digests: OnceLock<Digests>,
    is_digested: F,
    ahead: Mutex<Ahead>,
    changed: Condvar,
}

/// What is left to do.
struct Ahead {
    /// Directories that nobody has looked into yet.
    directories: Vec<PathBuf>,
    /// How many look into one, and may find more.
    at_work: usize,
    /// How many entries were found.
    found: usize,
}

impl<'a, F: Fn(&Path) -> bool> Walk<'a, F> {
    fn of(revision: &'a Revision, is_digested: F) -> Result<Self, Cause> {
        Ok(Self {
            revision,
            root: Dir::open(revision.root())?,
            attributes: Attributes::read(&revision.attributes())?,
            digests: OnceLock::new(),
            is_digested,
            ahead: Mutex::new(Ahead { directories: vec![PathBuf::new()], at_work: 0, found: 0 }),
            changed: Condvar::new(),
        })
    }

    /// Looks into directories until there are none left, and gives what was found in each.
    fn work(&self) -> Result<Vec<(PathBuf, Listing)>, Cause> {
        let mut found = Vec::new();
        let mut digests = self.digests.get_or_init(|| Digests::read(&self.revision.digests())).lookup();
        while let Some(directory) = self.next() {
            let _turn = Turn(self);
            let listing = self.listing(&directory, &mut digests)?;
            found.push((directory, listing));
        }
        Ok(found)
    }

    /// Whether so much was found that threads help each other. Of a small tree each call is made by one thread, always
    /// the same.
    fn is_large(&self) -> bool {
        self.lock().found >= MANY
    }

    /// What is in a directory; the root is in itself.
    fn listing(&self, directory: &Path, digests: &mut Lookup<'_>) -> Result<Listing, Cause> {
        let dir = self.root.open_dir(directory)?;
        let entries = dir.entries()?;
        self.count(entries.len())?;
        let mut found = Vec::with_capacity(entries.len() + 1);
        if directory.as_os_str().is_empty() {
            found.push((PathBuf::new(), shallow_state(&dir.stat_self()?)));
        }
        for entry in entries {
            let path = join(directory, &entry.name);
            let stat = dir.stat(&entry.name)?;
            let mut given = stat.clone();
            if let Some(attributes) = &self.attributes {
                attributes.apply(&path, &mut given);
            }
            let mut state = shallow_state(&given);
            match (&mut state, entry.kind) {
                (PathState::Symlink { target, .. }, _) => *target = dir.read_link(&entry.name)?,
                (PathState::File { sha256, .. }, _) if (self.is_digested)(&path) => {
                    *sha256 = match digests.of(&path, &Stamp::of(&stat)) {
                        None => Some(digest(&dir.open_file(&entry.name)?, &self.root.path().join(&path))?),
                        known => known,
                    };
                }
                (_, Kind::Directory) => {
                    self.lock().directories.push(path.clone());
                    self.changed.notify_one();
                }
                _ => {}
            }
            found.push((path, state));
        }
        Ok(found)
    }

    /// Counts entries before anything is kept of them.
    fn count(&self, more: usize) -> Result<(), Cause> {
        let mut ahead = self.lock();
        ahead.found += more;
        if ahead.found > MAX_ENTRIES {
            return Err(Cause::TooMany { path: self.root.path().to_owned(), limit: MAX_ENTRIES });
        }
        Ok(())
    }

    /// A directory to look into; nothing when all are done.
    fn next(&self) -> Option<PathBuf> {
        let mut ahead = self.lock();
        loop {
            if let Some(directory) = ahead.directories.pop() {
                ahead.at_work += 1;
                return Some(directory);
            }
            if ahead.at_work == 0 {
                return None;
            }
            ahead = self.changed.wait(ahead).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That somebody looks into a directory, however that ends.
struct Turn<'a, F: Fn(&Path) -> bool>(&'a Walk<'a, F>);

impl<F: Fn(&Path) -> bool> Drop for Turn<'_, F> {
    fn drop(&mut self) {
        self.0.lock().at_work -= 1;
        self.0.changed.notify_all();
    }
}

/// The digest of an open file, named `path` in errors.
pub fn digest(mut file: &File, path: &Path) -> Result<Sha256, disk::Error> {
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
