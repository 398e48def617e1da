use rustix::fs::{self as sys, Access, AtFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::{Dir, Error, Result};

/// What a file system has left for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in which space is given out.
    pub block: u64,
    /// Free bytes, `None` where the file system has no limit of its own.
    pub bytes: Option<u64>,
    /// Free inodes, `None` where the file system makes them as needed.
    pub inodes: Option<u64>,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

impl Dir {
    /// What is left on the file system of this directory. Root may use the blocks that are reserved.
    pub fn space(&self) -> Result<Space> {
        let found =
            sys::fstatvfs(self).map_err(|errno| Error::new("examine the file system of", self.path(), errno))?;
        let block = found.f_frsize.max(1);
        let blocks = if rustix::process::geteuid().is_root() { found.f_bfree } else { found.f_bavail };
        Ok(Space {
            block,
            bytes: (found.f_blocks > 0).then_some(blocks.saturating_mul(block)),
            inodes: (found.f_files > 0).then_some(found.f_ffree),
            read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    /// Whether this process may make and remove entries here; if not, why.
    pub fn check_writable(&self) -> Result<()> {
        match sys::accessat(self, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            // `faccessat2` is missing before 5.8; without it the real ids are asked about, which are
            // the effective ones in an agent.
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
                sys::accessat(self, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())
            }
            other => other,
        }
        .map_err(|errno| Error::new("write to directory", self.path(), errno))
    }
}
