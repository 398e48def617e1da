use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs as sys;
use rustix::io::Errno;

use super::{Error, Result, fault};

/// Bytes that one `copy_file_range` is asked for: few calls, and a signal is still noticed.
const STEP: usize = 64 << 20;
/// Bytes in memory where the kernel cannot copy by itself.
const BUFFER: usize = 64 << 10;

/// Copies all of `from` into the empty file `to`, named `path` in errors, and returns the number of
/// bytes: by sharing blocks where the file system can, else within the kernel, else through a buffer.
pub fn copy(mut from: &File, mut to: &File, path: &Path) -> Result<u64> {
    let fail = |source| Error::new("write", path, source);
    fault::point("write", path).map_err(fail)?;
    if !fault::lacks("clone") && sys::ioctl_ficlone(to, from).is_ok() {
        return to.metadata().map(|metadata| metadata.len()).map_err(fail);
    }
    let mut copied = 0;
    while !fault::lacks("copy_file_range") {
        match sys::copy_file_range(from, None, to, None, STEP) {
            // Some file systems of the kernel answer 0 where they cannot: the buffer finds out.
            Ok(0) if copied == 0 => break,
            Ok(0) => return Ok(copied),
            Ok(count) => copied += count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) if copied == 0 => break,
            Err(errno) => return Err(fail(errno.into())),
        }
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::new("read the source of", path, error)),
        };
        to.write_all(buffer.get(..count).unwrap_or_default()).map_err(fail)?;
        copied += count as u64;
    }
}

/// Gives back the memory in which the kernel keeps what was read of a file, in the hope that nobody reads it
/// again soon: the pages of the running application are to stay instead.
pub fn forget_cached(open: &File) {
    // A request that may be refused.
    let _ = sys::fadvise(open, 0, None, sys::Advice::DontNeed);
}
