#![allow(clippy::disallowed_methods, reason = "disk owns the file system")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, open};
use rustix::io::Errno;

use super::lock::unlock;
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
            // Who has the lock sets the file aside; until that is done the others go on in it, and wait for nobody.
            let Some(_lock) = self.lock()? else { return Ok(()) };
            if self.is_at_path(stat.st_ino) {
                set_aside(&self.path, self.rotation.keep)?;
            }
        }
        self.file = open_append(&self.path, self.mode)?;
        Ok(())
    }

    /// A lock on a file beside the log that the agent's user alone can open: others read the log, and could hold a lock on
    /// it for ever. Nothing where another process has it.
    fn lock(&self) -> Result<Option<Held>> {
        let name = self.path.file_name().unwrap_or_default();
        let path =
            self.path.with_file_name([OsStr::new("."), name, OsStr::new(".lock")].into_iter().collect::<OsString>());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fail = |action, errno: Errno| Error::new(action, &path, errno);
        let file = File::from(open(&path, flags, Mode::from_raw_mode(0o600)).map_err(|errno| fail("open", errno))?);
        let stat = fstat(&file).map_err(|errno| fail("examine", errno))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            // Not as it is made here: the next write makes it anew.
            std::fs::remove_file(&path).map_err(|source| Error::new("remove", &path, source))?;
            return Ok(None);
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Held(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(fail("lock", errno)),
        }
    }

    fn is_at_path(&self, inode: u64) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == inode)
    }

    fn error(&self, action: &'static str, errno: Errno) -> Error {
        Error::new(action, &self.path, errno)
    }
}

/// The lock beside a log, until it is dropped.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        unlock(&self.0);
    }
}

/// Sets a file aside as `name.1`, those before as `name.2` and so on, of which so many stay. One process at a time does.
pub fn set_aside(path: &Path, keep: u32) -> Result<()> {
    fault::point("rename", path).map_err(|source| Error::new("rename", path, source))?;
    if keep == 0 {
        return std::fs::remove_file(path).map_err(|source| Error::new("remove", path, source));
    }
    for n in (0..keep).rev() {
        let (from, to) = (numbered(path, n), numbered(path, n + 1));
        match std::fs::rename(&from, &to) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::new("rename", from, source));
            }
            _ => {}
        }
    }
    Ok(())
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path.as_os_str());
    name.push(format!(".{n}"));
    name.into()
}

fn open_append(path: &Path, mode: u32) -> Result<File> {
    // A pipe that nobody reads would be waited for.
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::from_raw_mode(mode)).map_err(|errno| Error::new("open", path, errno))?;
    let stat = fstat(&file).map_err(|errno| Error::new("examine", path, errno))?;
    if !is_file(&stat) {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file: remove it");
        return Err(Error::new("open", path, source));
    }
    Ok(file.into())
}

fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
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
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 4, "three logs and a lock");
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

    /// A process that is being started has a copy of every descriptor for a moment.
    #[test]
    fn a_copy_of_the_locks_descriptor_keeps_no_log_from_being_set_aside() {
        let temp = tempfile::tempdir().unwrap();
        let log = AppendFile::open(temp.path().join("log"), 0o644, SMALL).unwrap();
        let lock = log.lock().unwrap().unwrap();
        let _copy = lock.0.try_clone().unwrap();
        assert!(log.lock().unwrap().is_none());
        drop(lock);
        assert!(log.lock().unwrap().is_some());
    }

    /// Whoever reads a log could hold a lock on it for ever.
    #[test]
    fn a_lock_on_the_log_holds_no_writer_up() {
        for operation in [FlockOperation::LockExclusive, FlockOperation::LockShared] {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("log");
            let mut log = AppendFile::open(&path, 0o644, SMALL).unwrap();
            log.append(&[b'1'; 100]).unwrap();
            let reader = File::open(&path).unwrap();
            flock(&reader, operation).unwrap();
            let (sender, receiver) = std::sync::mpsc::channel();
            std::thread::spawn(move || sender.send(log.append(b"2")).unwrap());
            receiver.recv_timeout(std::time::Duration::from_secs(30)).expect("the write comes back").unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"2");
            let lock = std::fs::metadata(temp.path().join(".log.lock")).unwrap();
            assert_eq!(lock.mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn another_process_that_sets_the_log_aside_is_not_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let mut log = AppendFile::open(&path, 0o644, SMALL).unwrap();
        log.append(&[b'1'; 100]).unwrap();
        let other = AppendFile::open(&path, 0o644, SMALL).unwrap();
        let lock = other.lock().unwrap().unwrap();
        log.append(b"2").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 101);
        drop(lock);
        log.append(b"3").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"3");
    }

    #[test]
    fn a_lock_file_that_others_can_open_is_made_anew_and_a_pipe_is_no_log() {
        let temp = tempfile::tempdir().unwrap();
        let (path, lock) = (temp.path().join("log"), temp.path().join(".log.lock"));
        std::fs::write(&lock, "").unwrap();
        std::fs::set_permissions(&lock, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let reader = File::open(&lock).unwrap();
        flock(&reader, FlockOperation::LockExclusive).unwrap();
        let mut log = AppendFile::open(&path, 0o644, SMALL).unwrap();
        log.append(&[b'1'; 100]).unwrap();
        log.append(b"2").unwrap();
        log.append(b"3").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"3");
        let pipe = temp.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        assert!(AppendFile::open(&pipe, 0o644, SMALL).is_err());
        let reader = File::from(open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap());
        assert!(AppendFile::open(&pipe, 0o644, SMALL).unwrap_err().to_string().contains("no regular file"));
        drop(reader);
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
