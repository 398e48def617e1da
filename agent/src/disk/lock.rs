use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Error, Result};

/// An exclusive `flock` on a file, held until dropped or until the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

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
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::new("lock", path, errno)),
            }
        }
    }

    /// Takes the lock if nobody has it.
    pub fn try_now(path: &Path) -> std::result::Result<Self, LockError> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held(path.to_owned())),
            Err(errno) => Err(Error::new("lock", path, errno).into()),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| Error::new("open lock file", path, source))
}
