//! Room on the disk of the data directory: what the service says of it, and a reserve that lets it start on a full disk.
#![allow(clippy::disallowed_methods, reason = "this module looks at the service's disk")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::data_dir::{self, DataDir, DataDirError};

/// Bytes that are held back for a start on a full disk: enough for what the database needs to be opened.
const RESERVE: u64 = 8 << 20;
/// The reserve is taken only where this much is left beside it.
const ROOM_FOR_RESERVE: u64 = 10 * RESERVE;
/// With less than this, in bytes, the disk counts as full.
const FULL: u64 = 2 << 20;
/// Two looks have at least this time between them.
const CACHED: Duration = Duration::from_secs(1);
/// Size of the file that shows whether writing works, in bytes.
const PROBE: usize = 4096;

/// The disk of a data directory.
#[derive(Debug)]
pub struct DiskSpace {
    root: PathBuf,
    last: Mutex<Option<(Instant, Option<String>)>>,
}

impl DiskSpace {
    /// Looks at the disk before anything is opened there. Where it is full, the reserve is given up.
    ///
    /// # Errors
    /// If the reserve cannot be removed.
    pub fn prepare(data: &DataDir) -> Result<Self, DataDirError> {
        let disk = Self { root: data.root().to_owned(), last: Mutex::default() };
        if disk.available().is_ok_and(|available| available < FULL) && disk.reserve().exists() {
            data_dir::remove_if_there(&disk.reserve())?;
            tracing::warn!(
                data = %disk.root.display(),
                bytes = RESERVE,
                "the disk is full: the reserve in it was given up, so that the service can start; free some space"
            );
        }
        Ok(disk)
    }

    /// Returns what is wrong with the disk, for operators; nothing if writing works and there is room. Tells the log when
    /// that changes.
    pub fn problem(&self) -> Option<String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, problem)) = &*last
            && at.elapsed() < CACHED
        {
            return problem.clone();
        }
        let problem = self.look();
        let before = last.replace((Instant::now(), problem.clone())).and_then(|(_, problem)| problem);
        match (&before, &problem) {
            (None, Some(problem)) => tracing::error!(data = %self.root.display(), "{problem}"),
            (Some(_), None) => {
                tracing::info!(data = %self.root.display(), "the disk has room again, and writes succeed")
            }
            _ => {}
        }
        problem
    }

    fn look(&self) -> Option<String> {
        let root = self.root.display();
        let available = match self.available() {
            Ok(available) => available,
            Err(error) => return Some(format!("the disk of {root} does not answer: {error}")),
        };
        if let Err(error) = self.probe() {
            return Some(format!("nothing can be written in {root}: {error}; requests that change something fail"));
        }
        if available < FULL {
            return Some(format!("the disk of {root} is full: {} KiB are left; free some space", available / 1024));
        }
        if available > ROOM_FOR_RESERVE && !self.reserve().exists() {
            // Without it the service only cannot start on a full disk.
            let _ = self.take_reserve().inspect_err(|error| tracing::debug!(%error, "no reserve was taken"));
        }
        None
    }

    fn available(&self) -> io::Result<u64> {
        let stat = statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn probe(&self) -> io::Result<()> {
        let path = self.root.join(".probe");
        let written = create(&path).and_then(|mut file| {
            file.write_all(&[0; PROBE])?;
            file.sync_all()
        });
        // A probe that stays is replaced by the next one.
        let _ = std::fs::remove_file(&path);
        written
    }

    fn take_reserve(&self) -> io::Result<()> {
        let taken = create(&self.reserve()).and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, RESERVE)?));
        if taken.is_err() {
            let _ = std::fs::remove_file(self.reserve());
        }
        taken
    }

    fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }
}

fn create(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
