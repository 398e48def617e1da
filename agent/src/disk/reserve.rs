//! Room on a file system.

use std::fs::File;
use std::path::Path;

use rustix::fs::{self as sys, FallocateFlags};
use rustix::io::Errno;

use super::{Dir, Error, Result, fault};

/// Bytes that this process can still write to the directory's file system.
pub fn available(dir: &Dir) -> Result<u64> {
    let stat = sys::fstatvfs(dir).map_err(|errno| Error::new("examine the file system of", dir.path(), errno))?;
    // What is reserved for root is left alone: the rest of the host needs it to be repaired.
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Gives an empty file its blocks for `length` bytes without changing its length, so that a full
/// file system is known before the work. Where the file system cannot do that, nothing happens.
pub fn reserve(file: &File, path: &Path, length: u64) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    fault::point("reserve space for", path).map_err(|source| Error::new("reserve space for", path, source))?;
    match sys::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(Error::new("reserve space for", path, errno)),
    }
}
