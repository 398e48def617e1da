//! Reading and writing at places of an open file, for whoever fills one in another order than its own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{self as sys, FallocateFlags};
use rustix::io::Errno;

use super::{Error, Result, fault};

/// Gives an empty file its final length in bytes, and its blocks, so that a full file system is known before the
/// work. Where the file system cannot give blocks ahead, the file has the length alone.
pub fn allocate(file: &File, path: &Path, length: u64) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    let fail = |source| Error::new("reserve space for", path, source);
    fault::point("reserve space for", path).map_err(fail)?;
    match sys::fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(length).map_err(fail),
        Err(errno) => Err(fail(errno.into())),
    }
}

/// Writes all of `bytes` at `at`, counted from the file's beginning.
pub fn write_at(file: &File, path: &Path, at: u64, bytes: &[u8]) -> Result<()> {
    fault::point("write", path)
        .and_then(|()| file.write_all_at(bytes, at))
        .map_err(|source| Error::new("write", path, source))
}

/// Fills `buffer` with what is at `at`; a file that ends before that is an error.
pub fn read_at(file: &File, path: &Path, at: u64, buffer: &mut [u8]) -> Result<()> {
    file.read_exact_at(buffer, at).map_err(|source| Error::new("read", path, source))
}
