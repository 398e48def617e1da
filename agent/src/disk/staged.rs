//! Attributes of entries that are still being staged, set by descriptor or beneath one, never
//! through a link.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::{Dir, Error, Result, fault};

/// What an entry gets once its content is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedAttributes {
    /// Permission bits, set-id and sticky included; a symlink has none.
    pub mode: u32,
    /// Numeric user and group; `None` leaves those of this process.
    pub owner: Option<(u32, u32)>,
    /// Modification time: seconds and nanoseconds since the epoch; `None` leaves the present.
    pub modified: Option<(i64, u32)>,
}

/// Sets the attributes of an open file; `path` is for messages.
pub fn finish_file(file: &File, path: &Path, attributes: &StagedAttributes) -> Result<()> {
    finish(file, path, attributes)
}

/// Sets the attributes of an open directory.
pub fn finish_dir(dir: &Dir, attributes: &StagedAttributes) -> Result<()> {
    finish(dir, dir.path(), attributes)
}

/// Owner first: a change of owner takes set-id bits away.
fn finish(fd: impl AsFd, path: &Path, attributes: &StagedAttributes) -> Result<()> {
    if let Some((user, group)) = attributes.owner {
        let (user, group) = ids(user, group);
        before("set the owner of", path)?;
        sys::fchown(&fd, user, group).map_err(|errno| Error::new("set the owner of", path, errno))?;
    }
    before("set the mode of", path)?;
    sys::fchmod(&fd, Mode::from_raw_mode(attributes.mode))
        .map_err(|errno| Error::new("set the mode of", path, errno))?;
    match attributes.modified {
        None => Ok(()),
        Some(modified) => {
            before("set the time of", path)?;
            sys::futimens(&fd, &times(modified)).map_err(|errno| Error::new("set the time of", path, errno))
        }
    }
}

/// Sets owner and time of a symlink, the entry `name` directly in `dir`.
pub fn finish_symlink(dir: &Dir, name: &Path, attributes: &StagedAttributes) -> Result<()> {
    let path = dir.path().join(name);
    if let Some((user, group)) = attributes.owner {
        let (user, group) = ids(user, group);
        before("set the owner of", &path)?;
        sys::chownat(dir, name, user, group, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| Error::new("set the owner of", &path, errno))?;
    }
    match attributes.modified {
        None => Ok(()),
        Some(modified) => {
            before("set the time of", &path)?;
            match sys::utimensat(dir, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW) {
                // Some file systems keep no times for links; nothing depends on them.
                Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
                Err(errno) => Err(Error::new("set the time of", &path, errno)),
            }
        }
    }
}

/// Makes a file executable by everyone who can read it; says whether it was not before.
pub fn make_executable(dir: &Dir, relative: &Path) -> Result<bool> {
    let path = dir.path().join(relative);
    let file = dir.open_file(relative)?;
    let stat = sys::fstat(&file).map_err(|errno| Error::new("examine", &path, errno))?;
    let mode = stat.st_mode & 0o7777;
    if mode & 0o111 != 0 || !sys::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(false);
    }
    before("set the mode of", &path)?;
    let executable = mode | 0o100 | ((mode & 0o044) >> 2);
    sys::fchmod(&file, Mode::from_raw_mode(executable)).map_err(|errno| Error::new("set the mode of", &path, errno))?;
    Ok(true)
}

fn before(action: &'static str, path: &Path) -> Result<()> {
    fault::point(action, path).map_err(|source| Error::new(action, path, source))
}

fn ids(user: u32, group: u32) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}
