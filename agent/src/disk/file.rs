use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::replacement::{Durability, Replacement};
use super::{Dir, Error, Result, fault};

/// Replaces a file's content so that a reader, or a machine that lost power, sees the old content or
/// the new one, and makes it durable: a temporary sibling, sync, rename, sync of the directory.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    replace(path, content, mode, Durability::Now)
}

/// As [`write_atomic`], for what can be made again: nothing is synced, and a power cut may leave the file as
/// it was, new, empty or torn.
pub fn write_unsynced(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    replace(path, content, mode, Durability::Sometime)
}

/// Appends to a file, if that is of the length that the caller knows; it is an error otherwise. Nothing is synced,
/// and what is appended may be torn even without a power cut.
pub fn append_unsynced(path: &Path, length: u64, content: &[u8]) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new("append to", path, std::io::ErrorKind::InvalidInput));
    };
    let fail = |source: std::io::Error| Error::new("append to", path, source);
    let mut file = Dir::open(parent)?.append_to(name)?;
    if file.metadata().map_err(fail)?.len() != length {
        return Err(fail(std::io::Error::other("somebody else has changed it")));
    }
    fault::point("append", path).and_then(|()| file.write_all(content)).map_err(fail)
}

/// Makes a file that must not exist yet, for whoever makes it durable later, together with others: nothing is
/// synced.
pub fn create_unsynced(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new("write", path, std::io::ErrorKind::InvalidInput));
    };
    let parent = Dir::open(parent)?;
    let mut file = parent.create_file(name, mode)?;
    let path = parent.path().join(name);
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode))
        .map_err(|errno| Error::new("set the mode of", &path, errno))?;
    fault::point("write", &path).and_then(|()| file.write_all(content)).map_err(|e| Error::new("write", &path, e))
}

fn replace(path: &Path, content: &[u8], mode: u32, durability: Durability) -> Result<()> {
    let mut replacement = Replacement::begin_with(path, mode, durability)?;
    replacement.append(content)?;
    replacement.publish()
}

/// Removes what [`write_atomic`] left in a directory when the process that called it was killed.
pub fn sweep_temporaries(directory: &Path) -> Result<()> {
    let dir = Dir::open(directory)?;
    for entry in dir.entries()? {
        if writer_of(&entry.name).is_some_and(|writer| test_kill_process(writer) == Err(Errno::SRCH)) {
            dir.unlink(&entry.name)?;
        }
    }
    Ok(())
}

fn writer_of(temporary: &OsStr) -> Option<Pid> {
    let (_, pid) = temporary.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    Pid::from_raw(pid.parse().ok()?)
}

/// Opens a file by a path that a person named: links in it are followed.
pub fn open_named(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| Error::new("open", path, source))
}

/// Reads a whole file of at most `limit` bytes; a longer one is an error.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|source| Error::new("read", path, source))?;
    read_open(file, path, limit)
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let fail = |source| Error::new("read", path, source);
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(fail(std::io::ErrorKind::IsADirectory.into()));
    }
    // With a byte more, so that its end is found without more room being made.
    let mut content = Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or_default() + 1);
    file.take(limit + 1).read_to_end(&mut content).map_err(fail)?;
    if content.len() as u64 > limit {
        let message = format!("it is longer than the {limit} bytes that are allowed");
        return Err(fail(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message)));
    }
    Ok(content)
}

/// As [`read_bounded`], for a file below an open directory, reached without following a symlink.
pub fn read_bounded_at(dir: &Dir, relative: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = dir.open_file(relative)?;
    read_open(file, &dir.path().join(relative), limit)
}

/// As [`read_bounded`], but a file that does not exist is nothing.
pub fn read_if_exists(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match read_bounded(path, limit) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is something of that name, a symlink to nothing too.
pub fn exists(path: &Path) -> Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    match Dir::open(parent).and_then(|parent| parent.stat_if_exists(name)) {
        Ok(stat) => Ok(stat.is_some()),
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file and makes that durable; one that does not exist is fine.
pub fn remove_if_exists(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new("remove", path, std::io::ErrorKind::InvalidInput));
    };
    let removed = Dir::open(parent).and_then(|parent| {
        parent.unlink(name)?;
        parent.sync()
    });
    match removed {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
