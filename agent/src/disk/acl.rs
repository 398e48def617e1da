use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{self as sys, XattrFlags};
use rustix::io::Errno;

use super::{Dir, Error, Result, fault};

/// What most lists fit into, and the longest value of an extended attribute that the kernel has.
const USUAL_BYTES: usize = 512;
const MAX_BYTES: usize = 64 << 10;

/// Which access control list of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclKind {
    /// Who may do what.
    Access,
    /// What things that are made in a directory begin with.
    Default,
}

impl AclKind {
    fn attribute(self) -> &'static str {
        match self {
            Self::Access => "system.posix_acl_access",
            Self::Default => "system.posix_acl_default",
        }
    }
}

/// An access control list of an open file or directory, named `path` in errors, as the kernel keeps it;
/// nothing where it has none, or where its file system keeps none.
pub fn read_acl(open: impl AsFd, path: &Path, kind: AclKind) -> Result<Option<Vec<u8>>> {
    absent_is_nothing(read(|buffer| sys::fgetxattr(&open, kind.attribute(), buffer)))
        .map_err(|errno| Error::new("read the access control list of", path, errno))
}

/// Gives an open file or directory an access control list, or takes it away; does nothing where it is so
/// already.
pub fn set_acl(open: impl AsFd, path: &Path, kind: AclKind, acl: Option<&[u8]>) -> Result<()> {
    const ACTION: &str = "set the access control list of";
    if read_acl(&open, path, kind)?.as_deref() == acl {
        return Ok(());
    }
    fault::point("set access control list", path).map_err(|source| Error::new(ACTION, path, source))?;
    match acl {
        Some(acl) => sys::fsetxattr(&open, kind.attribute(), acl, XattrFlags::empty()),
        None => sys::fremovexattr(&open, kind.attribute()),
    }
    .map_err(|errno| Error::new(ACTION, path, errno))
}

impl Dir {
    /// An access control list of an entry, as [`read_acl`]. The entry is not opened: it may be one that
    /// this process cannot read. It must not be a symlink, which has none.
    pub fn acl_at(&self, relative: impl AsRef<Path>, kind: AclKind) -> Result<Option<Vec<u8>>> {
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, "examine")?;
        // Kernels before 6.13 have no call for an attribute beneath a descriptor. The way over the
        // descriptor's own link leads to the same place, and the last name is not followed.
        let mut path = OsString::from(format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()));
        path.push(name);
        match absent_is_nothing(read(|buffer| sys::lgetxattr(&path, kind.attribute(), buffer))) {
            Err(Errno::NOENT) => Ok(None),
            other => other.map_err(|errno| self.error("read the access control list of", relative, errno)),
        }
    }

    /// Whether the file system of this directory keeps access control lists.
    pub fn keeps_acls(&self) -> Result<bool> {
        match read(|buffer| sys::fgetxattr(self, AclKind::Access.attribute(), buffer)) {
            Err(Errno::OPNOTSUPP) => Ok(false),
            Ok(_) | Err(Errno::NODATA) => Ok(true),
            Err(errno) => Err(Error::new("read the access control list of", self.path(), errno)),
        }
    }
}

fn read(get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
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

fn absent_is_nothing(read: rustix::io::Result<Vec<u8>>) -> rustix::io::Result<Option<Vec<u8>>> {
    match read {
        Ok(acl) => Ok(Some(acl)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}
