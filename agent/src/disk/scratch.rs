use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, FlockOperation};
use rustix::io::Errno;

use super::{Dir, Error, Kind, Result};

/// Begins the names of all scratch directories.
const PREFIX: &str = ".slipway-scratch-";
/// Another process can be in the way of a new one only by chance, or while it sweeps.
const ATTEMPTS: usize = 16;

/// A private directory, mode 0700, for what is only looked at. It is removed with all that is in it when
/// this is dropped; what a killed process left is removed when the next one is made in the same place.
#[derive(Debug)]
pub struct Scratch {
    remover: Remover,
    /// Locked for as long as somebody uses the directory: a number of a process would tell nothing where
    /// several containers share the place.
    dir: Dir,
}

/// Removes one scratch directory.
#[derive(Debug)]
pub struct Remover {
    parent: Dir,
    name: OsString,
}

impl Scratch {
    /// Makes one in an existing directory, which others may write to as well.
    pub fn make(parent: &Path) -> Result<Self> {
        let parent = Dir::open(parent)?;
        sweep(&parent);
        for _ in 0..ATTEMPTS {
            let name = OsString::from(format!("{PREFIX}{:016x}", fastrand::u64(..)));
            match make(&parent, &name) {
                Ok(Some(dir)) => return Ok(Self { remover: Remover { parent, name }, dir }),
                Ok(None) => {}
                // Somebody swept it before it was locked.
                Err(error) if error.is_already_exists() || error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new("make a scratch directory in", parent.path(), std::io::ErrorKind::AlreadyExists))
    }

    /// The directory, open.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.remover.parent.path().join(&self.remover.name)
    }

    /// What removes it from another thread.
    pub fn remover(&self) -> Result<Remover> {
        Ok(Remover { parent: self.remover.parent.try_clone()?, name: self.remover.name.clone() })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next one that is made here tries again.
        let _ = self.remover.remove();
    }
}

impl Remover {
    /// Removes the directory with all that is in it; nothing if it is gone already.
    pub fn remove(&self) -> Result<()> {
        // A bundle may hold directories that their owner cannot write to, which is no reason to keep them.
        self.parent.remove_own_tree(&self.name)
    }
}

/// Makes and locks one; nothing where somebody who sweeps was faster.
fn make(parent: &Dir, name: &OsStr) -> Result<Option<Dir>> {
    parent.make_dir(name, 0o700)?;
    let dir = parent.open_dir(name)?;
    let is_ours = takes_lock(&dir)? && is_there(parent, name, &dir)?;
    Ok(is_ours.then_some(dir))
}

/// Removes what killed processes of the same user left. Whatever cannot be removed stays: it is in
/// nobody's way.
fn sweep(parent: &Dir) {
    let own = rustix::process::geteuid().as_raw();
    for entry in parent.entries().unwrap_or_default() {
        let is_scratch = entry.kind == Kind::Directory && entry.name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if is_scratch
            && parent.stat(&entry.name).is_ok_and(|stat| stat.uid == own)
            && let Ok(dir) = parent.open_dir(&entry.name)
            && takes_lock(&dir).unwrap_or(false)
        {
            let _ = parent.remove_own_tree(&entry.name);
        }
    }
}

/// Takes a directory's lock, if nobody has it.
fn takes_lock(dir: &Dir) -> Result<bool> {
    match sys::flock(dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Error::new("lock", dir.path(), errno)),
    }
}

/// Whether a directory still has its name.
fn is_there(parent: &Dir, name: &OsStr, dir: &Dir) -> Result<bool> {
    let own = dir.stat_self()?.inode;
    Ok(parent.stat_if_exists(name)?.is_some_and(|stat| stat.inode == own))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(place: &Path) -> Vec<String> {
        std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn it_is_private_and_goes_with_all_that_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(place.path()).unwrap();
        let path = scratch.path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        std::fs::write(path.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("/", path.join("a/link")).unwrap();
        for closed in ["a/b", "a"] {
            std::fs::set_permissions(path.join(closed), PermissionsExt::from_mode(0o500)).unwrap();
        }
        drop(scratch);
        assert_eq!(names(place.path()), [""; 0]);
    }

    #[test]
    fn what_is_in_use_stays_and_what_a_killed_process_left_goes() {
        let place = tempfile::tempdir().unwrap();
        let used = Scratch::make(place.path()).unwrap();
        std::fs::create_dir_all(place.path().join(format!("{PREFIX}left/deep"))).unwrap();
        std::fs::write(place.path().join(format!("{PREFIX}file")), "somebody's").unwrap();
        std::fs::create_dir(place.path().join("other")).unwrap();
        let next = Scratch::make(place.path()).unwrap();
        assert!(used.path().is_dir() && next.path().is_dir() && used.path() != next.path());
        assert_eq!(names(place.path()).len(), 4, "{:?}", names(place.path()));
        assert!(!place.path().join(format!("{PREFIX}left")).exists());
    }

    #[test]
    fn many_at_once_do_not_sweep_each_other() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let scratch = Scratch::make(place.path()).unwrap();
                        std::fs::write(scratch.path().join("file"), "x").unwrap();
                        assert_eq!(scratch.dir().entries().unwrap().len(), 1);
                    }
                });
            }
        });
        assert_eq!(names(place.path()), [""; 0]);
    }

    #[test]
    fn a_scratch_directory_that_something_is_mounted_in_is_not_emptied() {
        let place = tempfile::tempdir().unwrap();
        let precious = tempfile::tempdir().unwrap();
        std::fs::write(precious.path().join("db"), "x").unwrap();
        let scratch = Scratch::make(place.path()).unwrap();
        let point = scratch.path().join("data");
        std::fs::create_dir(&point).unwrap();
        let Some(mounted) = crate::disk::Mounted::bind(precious.path(), &point) else { return };
        let error = scratch.remover().unwrap().remove().unwrap_err().to_string();
        assert!(error.contains(&format!("umount {}", point.display())), "{error}");
        drop(scratch);
        // The next one sweeps, and leaves it too.
        drop(Scratch::make(place.path()).unwrap());
        assert!(precious.path().join("db").exists() && point.exists());
        drop(mounted);
        drop(Scratch::make(place.path()).unwrap());
        assert_eq!(names(place.path()), [""; 0]);
    }
}
