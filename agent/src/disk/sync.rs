use std::fs::File;
use std::path::Path;
use std::sync::Once;

use rustix::fs as sys;
use rustix::io::Errno;

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

static SAID: Once = Once::new();

/// Whether a directory's `fsync` says that its file system has no such thing. Any other error means that something
/// may be lost.
fn is_nothing_to_sync(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

impl Dir {
    /// Makes the directory's entries durable, and its own attributes. A file system that syncs no directories, as
    /// many shares, has nothing to sync: that is said once.
    pub fn sync(&self) -> Result<()> {
        let synced = fault::point("sync directory", self.path()).and_then(|()| Ok(sys::fsync(self)?));
        match synced {
            Err(source) if is_nothing_to_sync(&source) => {
                SAID.call_once(|| {
                    let directory = self.path().display();
                    tracing::warn!(
                        %directory, error = %source,
                        "the file system syncs no directories: after a power cut it can show older names than it should"
                    );
                });
                Ok(())
            }
            other => other.map_err(|source| Error::new("sync", self.path(), source)),
        }
    }

    /// Makes the whole file system durable; see [`Syncfs`] for what its success is worth.
    pub fn sync_filesystem(&self) -> Result<()> {
        fault::point("sync file system", self.path())
            .map_err(|source| Error::new("sync file system of", self.path(), source))?;
        sys::syncfs(self).map_err(|errno| Error::new("sync file system of", self.path(), errno))
    }
}
