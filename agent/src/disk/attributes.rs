use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};

use super::{Dir, Error, Result, fault};

/// Sets the owner and group of an open file or directory where they are others, so that whoever is
/// not root can still install what is to be their own. The kernel drops set-id bits: the mode comes
/// after it.
pub fn set_owner(open: impl AsFd, path: &Path, uid: u32, gid: u32) -> Result<()> {
    let now = sys::fstat(&open).map_err(|errno| Error::new("examine", path, errno))?;
    if (now.st_uid, now.st_gid) == (uid, gid) {
        return Ok(());
    }
    fault::point("set owner", path).map_err(|source| Error::new("set the owner of", path, source))?;
    sys::fchown(open, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|errno| Error::new("set the owner of", path, errno))
}

/// Sets the permission bits of an open file or directory.
pub fn set_mode(open: impl AsFd, path: &Path, mode: u32) -> Result<()> {
    fault::point("set mode", path).map_err(|source| Error::new("set the mode of", path, source))?;
    sys::fchmod(open, Mode::from_raw_mode(mode)).map_err(|errno| Error::new("set the mode of", path, errno))
}

/// Sets the modification time of an open file, which `path` names in errors.
pub fn set_modified(open: impl AsFd, path: &Path, modified: (i64, u32)) -> Result<()> {
    fault::point("set the time of", path).map_err(|source| Error::new("set the time of", path, source))?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: modified.0, tv_nsec: modified.1.into() },
    };
    sys::futimens(open, &times).map_err(|errno| Error::new("set the time of", path, errno))
}

impl Dir {
    /// Sets the owner and group of an entry where they are others; a symlink's own.
    pub fn set_owner_at(&self, relative: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, "set the owner of")?;
        let now = parent.stat(&name)?;
        if (now.uid, now.gid) == (uid, gid) {
            return Ok(());
        }
        self.before("set the owner of", relative)?;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        sys::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.error("set the owner of", relative, errno))
    }

    /// Sets the modification time of an entry (seconds and nanoseconds since the epoch); a symlink's own.
    pub fn set_modified_at(&self, relative: impl AsRef<Path>, modified: (i64, u32)) -> Result<()> {
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, "set the time of")?;
        self.before("set the time of", relative)?;
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: modified.0, tv_nsec: modified.1.into() },
        };
        sys::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.error("set the time of", relative, errno))
    }
}
