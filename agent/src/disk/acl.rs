use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self as sys, XattrFlags};
use rustix::io::Errno;

use super::xattr::{absent_is_nothing, read};
use super::{Dir, Error, Result, fault};

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
        self.attribute_at(relative.as_ref(), kind.attribute(), "read the access control list of")
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
