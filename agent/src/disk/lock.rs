use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, fstat, ftruncate};
use rustix::io::Errno;

use super::{Error, Result};

/// An exclusive `flock` on a file that this user alone can open, held until dropped or until the process ends in any way.
/// Whoever can open a file can hold a lock on it.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Whether the file says for whom it is held.
    noted: bool,
}

/// The longest note about a holder, in bytes.
const MAX_NOTE: usize = 256;

/// Why a lock was not taken at once.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is locked by another process", .0.display())]
    Held(PathBuf),
    /// The file could not be opened or locked.
    #[error(transparent)]
    Disk(#[from] Error),
}

impl Lock {
    /// Takes the lock, waiting as long as it takes.
    pub fn wait(path: &Path) -> Result<Self> {
        let file = open(path)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { file, noted: false }),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::new("lock", path, errno)),
            }
        }
    }

    /// Takes the lock if nobody has it.
    pub fn try_now(path: &Path) -> std::result::Result<Self, LockError> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file, noted: false }),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held(path.to_owned())),
            Err(errno) => Err(Error::new("lock", path, errno).into()),
        }
    }

    /// Whether another process has it. Nothing is made where there is no file.
    pub fn is_held(path: &Path) -> Result<bool> {
        let Some(file) = open_to_look(path)? else { return Ok(false) };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                unlock(&file);
                Ok(false)
            }
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(Error::new("examine lock", path, errno)),
        }
    }

    /// Notes for others what the lock is held for: one line, at most 256 bytes. The note counts only as long as
    /// the lock is held, and is never synced.
    pub fn note(&mut self, holder: &str) -> Result<()> {
        self.noted = true;
        let note = holder.as_bytes();
        let note = note.get(..MAX_NOTE).unwrap_or(note);
        rustix::io::pwrite(&self.file, note, 0)
            .and_then(|_| ftruncate(&self.file, note.len() as u64))
            .map_err(|errno| Error::new("note the holder of a lock in", "its file", errno))
    }

    /// What the holder of a lock has noted; nothing where nobody holds it, or it has noted nothing.
    pub fn holder(path: &Path) -> Result<Option<String>> {
        let Some(file) = open_to_look(path)? else { return Ok(None) };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                unlock(&file);
                return Ok(None);
            }
            Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(Error::new("examine lock", path, errno)),
        }
        let mut note = [0; MAX_NOTE];
        let length = rustix::io::pread(&file, &mut note, 0).map_err(|errno| Error::new("read", path, errno))?;
        let note = String::from_utf8_lossy(note.get(..length).unwrap_or_default()).into_owned();
        Ok(Some(note).filter(|note| !note.is_empty()))
    }
}

impl Drop for Lock {
    /// A note of somebody who is gone must not be taken for the next one's.
    fn drop(&mut self) {
        if self.noted {
            let _ = ftruncate(&self.file, 0);
        }
        unlock(&self.file);
    }
}

/// Gives up an `flock` before its descriptor is closed. A process that is being started has copies of all descriptors until it
/// runs its program, and a lock that was only closed would last as long.
pub(super) fn unlock(file: impl AsFd) {
    // Closing it does the same, later.
    let _ = flock(file, FlockOperation::Unlock);
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fail = |errno: Errno| Error::new("open lock file", path, errno);
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map_err(fail)?);
    let stat = fstat(&file).map_err(fail)?;
    if stat.st_mode & 0o077 != 0 {
        fchmod(&file, Mode::from_raw_mode(0o600)).map_err(|errno| Error::new("close to others", path, errno))?;
    }
    Ok(file)
}

/// The file as it is; nothing where there is none.
fn open_to_look(path: &Path) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::new("open lock file", path, errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is being started has a copy of every descriptor for a moment.
    #[test]
    fn a_copy_of_its_descriptor_keeps_no_lock_that_was_given_up() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let lock = Lock::try_now(&path).unwrap();
        let _copy = lock.file.try_clone().unwrap();
        assert!(Lock::is_held(&path).unwrap());
        drop(lock);
        assert!(!Lock::is_held(&path).unwrap());
        Lock::try_now(&path).unwrap();
    }
}
