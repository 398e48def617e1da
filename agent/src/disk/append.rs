#![allow(clippy::disallowed_methods, reason = "disk owns the file system")]

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::io::Errno;

use super::{Error, Result, fault};

/// How large a log grows, and how many old ones stay beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rotation {
    /// A file of this many bytes is set aside before the next write.
    pub bytes: u64,
    /// Old files that are kept, as `name.1` (the newest) to `name.<keep>`.
    pub keep: u32,
}

/// A log that several processes append to. It is set aside by size; whichever process comes first
/// does that, the others notice and follow to the new file.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    path: PathBuf,
    mode: u32,
    rotation: Rotation,
}

impl AppendFile {
    /// Opens the log, creating it with `mode` where it is missing. A symlink in its place is refused.
    pub fn open(path: impl Into<PathBuf>, mode: u32, rotation: Rotation) -> Result<Self> {
        let path = path.into();
        let file = open_append(&path, mode)?;
        Ok(Self { file, path, mode, rotation })
    }

    /// Appends the bytes in one write where the system takes them at once.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.follow()?;
        fault::point("append", &self.path)
            .and_then(|()| self.file.write_all(bytes))
            .map_err(|source| Error::new("append to", &self.path, source))
    }

    /// Makes sure that the open file is the one at the path, and that it has room.
    fn follow(&mut self) -> Result<()> {
        let stat = fstat(&self.file).map_err(|errno| self.error("examine", errno))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if stat.st_nlink > 0 && size < self.rotation.bytes && self.is_at_path(stat.st_ino) {
            return Ok(());
        }
        if size >= self.rotation.bytes {
            // The lock is on the file that is set aside, so only one process sets it aside.
            flock(&self.file, FlockOperation::LockExclusive).map_err(|errno| self.error("lock", errno))?;
            if self.is_at_path(stat.st_ino) {
                self.set_aside()?;
            }
        }
        self.file = open_append(&self.path, self.mode)?;
        Ok(())
    }

    fn is_at_path(&self, inode: u64) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == inode)
    }

    fn set_aside(&self) -> Result<()> {
        fault::point("rename", &self.path).map_err(|source| Error::new("rename", &self.path, source))?;
        if self.rotation.keep == 0 {
            return std::fs::remove_file(&self.path).map_err(|source| Error::new("remove", &self.path, source));
        }
        for n in (0..self.rotation.keep).rev() {
            let (from, to) = (self.numbered(n), self.numbered(n + 1));
            match std::fs::rename(&from, &to) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::new("rename", from, source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn numbered(&self, n: u32) -> PathBuf {
        if n == 0 {
            return self.path.clone();
        }
        let mut name = OsString::from(self.path.as_os_str());
        name.push(format!(".{n}"));
        name.into()
    }

    fn error(&self, action: &'static str, errno: Errno) -> Error {
        Error::new(action, &self.path, errno)
    }
}

fn open_append(path: &Path, mode: u32) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::from_raw_mode(mode)).map(File::from).map_err(|errno| Error::new("open", path, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Rotation = Rotation { bytes: 100, keep: 2 };

    #[test]
    fn a_full_log_is_set_aside_and_the_oldest_goes() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let mut log = AppendFile::open(&path, 0o644, SMALL).unwrap();
        for n in 0..10 {
            log.append(&[b'0' + n; 100]).unwrap();
        }
        let first = |name: &str| std::fs::read(temp.path().join(name)).unwrap()[0];
        assert_eq!([first("log"), first("log.1"), first("log.2")], *b"987");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 3);
    }

    #[test]
    fn several_writers_follow_each_other_and_lose_nothing_that_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let rotation = Rotation { bytes: 5_000, keep: 50 };
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = path.clone();
                scope.spawn(move || {
                    let mut log = AppendFile::open(path, 0o644, rotation).unwrap();
                    for n in 0..1000 {
                        log.append(format!("{writer} {n:06}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let mut lines: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(temp.path()).unwrap() {
            lines.extend(std::fs::read_to_string(entry.unwrap().path()).unwrap().lines().map(str::to_owned));
        }
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 4000);
    }

    #[test]
    fn a_log_that_was_removed_is_begun_anew_and_a_link_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let mut log = AppendFile::open(&path, 0o644, SMALL).unwrap();
        log.append(b"one\n").unwrap();
        std::fs::remove_file(&path).unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(AppendFile::open(&link, 0o644, SMALL).is_err());
    }
}
