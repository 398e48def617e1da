use std::fs::File;
use std::path::Path;

use rustix::fs as sys;

use super::{Dir, Error, Result, fault};

/// What `syncfs` says about data that could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncfs {
    /// It answers with the error.
    Reports,
    /// Kernels before 5.8 answer that all is well: each file has to be synced by itself.
    Swallows,
}

impl Syncfs {
    /// How it is on this kernel.
    pub fn of_this_kernel() -> Self {
        let release = rustix::system::uname();
        let mut numbers = release.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
        let version = (next(), next());
        if fault::lacks("syncfs") || version < (5, 8) { Self::Swallows } else { Self::Reports }
    }
}

/// Makes an open file durable, with its attributes.
pub fn sync_file(open: &File, path: &Path) -> Result<()> {
    fault::point("sync", path).and_then(|()| open.sync_all()).map_err(|source| Error::new("sync", path, source))
}

impl Dir {
    /// Makes the directory's entries durable, and its own attributes.
    pub fn sync(&self) -> Result<()> {
        fault::point("sync directory", self.path()).map_err(|source| Error::new("sync", self.path(), source))?;
        sys::fsync(self).map_err(|errno| Error::new("sync", self.path(), errno))
    }

    /// Makes the whole file system durable; see [`Syncfs`] for what its success is worth.
    pub fn sync_filesystem(&self) -> Result<()> {
        fault::point("sync file system", self.path())
            .map_err(|source| Error::new("sync file system of", self.path(), source))?;
        sys::syncfs(self).map_err(|errno| Error::new("sync file system of", self.path(), errno))
    }
}
