use std::path::Path;

use rustix::fs::{self as sys, AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::{Dir, Error, Result, Stat};

/// All that can be known of an entry without reading it; a symlink's own, never its target's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The ordinary metadata.
    pub stat: Stat,
    /// When the inode was made (seconds, nanoseconds), where the file system keeps it. Together with
    /// the inode number it tells a file from a later one that got the same number.
    pub birth: Option<(i64, u32)>,
    /// Whether it is marked immutable or append-only, so that not even root may change it.
    pub sealed: bool,
    /// Whether something is mounted on it. Kernels before 5.8 do not say; `false` then.
    pub mount_point: bool,
}

impl Dir {
    /// Everything known of an entry below this directory, or nothing where there is none.
    pub fn facts(&self, relative: impl AsRef<Path>) -> Result<Option<Facts>> {
        let relative = relative.as_ref();
        let (parent, name) = match self.parent_of(relative, "examine") {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let found = match sys::statx(&parent, &name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, mask) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            // Kernels before 4.11, and sandboxes that forbid it.
            Err(Errno::NOSYS | Errno::PERM) => {
                let stat = parent.stat_if_exists(&name)?;
                return Ok(stat.map(|stat| Facts { stat, birth: None, sealed: false, mount_point: false }));
            }
            Err(errno) => return Err(Error::new("examine", self.path().join(relative), errno)),
        };
        let has_birth = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        Ok(Some(Facts {
            birth: has_birth.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
            sealed: found.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND),
            mount_point: found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
            stat: Stat::from(found),
        }))
    }
}
