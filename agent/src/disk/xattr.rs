use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs as sys;
use rustix::io::Errno;

use super::{Dir, Result};

/// What most values fit into, and the longest value of an extended attribute that the kernel has.
const USUAL_BYTES: usize = 512;
const MAX_BYTES: usize = 64 << 10;

impl Dir {
    /// An extended attribute of an entry that is no symlink; nothing where there is none. The entry is not
    /// opened: it may be one that this process cannot read.
    pub(super) fn attribute_at(
        &self,
        relative: &Path,
        attribute: &str,
        action: &'static str,
    ) -> Result<Option<Vec<u8>>> {
        let (parent, name) = self.parent_of(relative, "examine")?;
        // Kernels before 6.13 have no call for an attribute beneath a descriptor. The way over the
        // descriptor's own link leads to the same place, and the last name is not followed.
        let mut path = OsString::from(format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()));
        path.push(name);
        match absent_is_nothing(read(|buffer| sys::lgetxattr(&path, attribute, buffer))) {
            Err(Errno::NOENT) => Ok(None),
            other => other.map_err(|errno| self.error(action, relative, errno)),
        }
    }
}

/// A value of whatever length.
pub(super) fn read(get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = [0; USUAL_BYTES];
    match get(&mut buffer) {
        Ok(length) => Ok(buffer.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut buffer = vec![0; MAX_BYTES];
            let length = get(&mut buffer)?;
            buffer.truncate(length);
            Ok(buffer)
        }
        Err(errno) => Err(errno),
    }
}

/// No attribute, or a file system that keeps none, is no error.
pub(super) fn absent_is_nothing(read: rustix::io::Result<Vec<u8>>) -> rustix::io::Result<Option<Vec<u8>>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}
