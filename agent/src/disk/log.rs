use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::lock::unlock;
use super::{Error, Result, fault};

/// A file that grows at its end, for records that have to survive a crash.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    end: u64,
}

impl Drop for LogFile {
    fn drop(&mut self) {
        unlock(&self.file);
    }
}

impl LogFile {
    /// Creates the file, which must not exist yet, mode 0600. As long as this value lives,
    /// [`LogFile::is_held`] says so.
    pub fn create(path: &Path) -> Result<Self> {
        fault::point("create", path).map_err(|source| Error::new("create", path, source))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| Error::new("create", path, source))?;
        // Whoever asks `is_held` at this moment has it for an instant.
        while let Err(errno) = sys::flock(&file, FlockOperation::LockExclusive) {
            if errno != Errno::INTR {
                return Err(Error::new("lock", path, errno));
            }
        }
        Ok(Self { file, path: path.to_owned(), end: 0 })
    }

    /// Whether the process that created the file still lives and has not closed it.
    pub fn is_held(path: &Path) -> Result<bool> {
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|source| Error::new("open", path, source))?,
        };
        match sys::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                unlock(&file);
                Ok(false)
            }
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(Error::new("lock", path, errno)),
        }
    }

    /// Opens a file that exists. Nothing is appended before [`LogFile::cut`] said where its end is.
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(|source| Error::new("open", path, source))?;
        let end = file.metadata().map_err(|source| Error::new("examine", path, source))?.len();
        Ok(Self { file, path: path.to_owned(), end })
    }

    /// All of it from the beginning, at most `limit` bytes.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>> {
        let fail = |source| Error::new("read", &self.path, source);
        if self.end > limit {
            let message = format!("it has {} bytes, more than the {limit} that are allowed", self.end);
            return Err(fail(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message)));
        }
        let mut content = vec![0; usize::try_from(self.end).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut content, 0).map_err(fail)?;
        Ok(content)
    }

    /// Sets space for `bytes` more aside, so that appending them cannot meet a full disk. Where the
    /// file system cannot, nothing is set aside.
    pub fn reserve(&self, bytes: u64) -> Result<()> {
        fault::point("reserve", &self.path).map_err(|source| Error::new("reserve space for", &self.path, source))?;
        match sys::fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.end, bytes.max(1)) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(errno) => Err(Error::new("reserve space for", &self.path, errno)),
        }
    }

    /// Writes at the end. Not durable before [`LogFile::sync`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        fault::point("append", &self.path)
            .and_then(|()| self.file.write_all_at(bytes, self.end))
            .map_err(|source| Error::new("write", &self.path, source))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes the bytes from `start` on once more as they are, and syncs: after a sync that failed, or
    /// in a process that did not see it, the page cache alone proves nothing.
    pub fn write_again(&mut self, start: u64, bytes: &[u8]) -> Result<()> {
        fault::point("append", &self.path)
            .and_then(|()| self.file.write_all_at(bytes, start))
            .map_err(|source| Error::new("write", &self.path, source))?;
        self.sync()
    }

    /// Drops what is after `end` and makes that durable.
    pub fn cut(&mut self, end: u64) -> Result<()> {
        if self.end != end {
            fault::point("cut", &self.path)
                .and_then(|()| self.file.set_len(end))
                .map_err(|source| Error::new("cut", &self.path, source))?;
            self.end = end;
        }
        self.sync()
    }

    /// Makes all that was appended durable. After an error the file must not be trusted any more.
    pub fn sync(&self) -> Result<()> {
        fault::point("sync", &self.path)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| Error::new("sync", &self.path, source))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is being started has a copy of every descriptor for a moment.
    #[test]
    fn a_copy_of_its_descriptor_keeps_no_lock_that_was_given_up() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("journal");
        let log = LogFile::create(&path).unwrap();
        let _copy = log.file.try_clone().unwrap();
        assert!(LogFile::is_held(&path).unwrap());
        drop(log);
        assert!(!LogFile::is_held(&path).unwrap());
    }
}
