//! The service's data directory: where everything lies in it, and the durable small writes into it.
#![allow(clippy::disallowed_methods, reason = "this module and the object store own the files of the service")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

/// Names inside of one data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// A held lock; it ends with this value, or with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// A file operation on the data directory that failed.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process serves from this directory.
    #[error(
        "another slipway-control serves from {0} already; stop it first, or give this one its own directory with --data"
    )]
    InUse(PathBuf),
    /// A file that is far larger than anything the service writes there.
    #[error("{path} is larger than {limit} bytes and cannot be what the service wrote; restore it from a backup")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
}

impl DataDir {
    /// Opens the directory, making it (mode 0700) if there is none.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        create_private_dir(root)?;
        Ok(Self { root: resolve(root)? })
    }

    /// The directory itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Certificates and their keys.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// Contents of stored objects.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The URL on which the service listens, written once it does.
    pub fn endpoint(&self) -> PathBuf {
        self.root.join("endpoint")
    }

    /// Takes the lock that one serving process holds for as long as it lives.
    pub fn lock_for_serving(&self) -> Result<Lock, DataDirError> {
        let path = self.root.join("serve.lock");
        let file = open_lock_file(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse(self.root.clone())),
            Err(errno) => Err(io_error("lock", &path, errno.into())),
        }
    }

    /// Takes a lock that is held only for moments, waiting for it.
    pub fn lock_briefly(&self, name: &str) -> Result<Lock, DataDirError> {
        let path = self.root.join(name);
        let file = open_lock_file(&path)?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(rustix::io::Errno::INTR) => std::thread::sleep(Duration::from_millis(1)),
                Err(errno) => return Err(io_error("lock", &path, errno.into())),
            }
        }
    }
}

/// Makes a directory and those above it, each new one mode 0700.
pub fn create_private_dir(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| io_error("create the directory", path, source))
}

/// The absolute path of a directory that is there, without links.
pub fn resolve(path: &Path) -> Result<PathBuf, DataDirError> {
    path.canonicalize().map_err(|source| io_error("resolve", path, source))
}

/// Writes a file (mode 0600) so that after a crash its old or its new content is there, whole.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), DataDirError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staged = directory.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_new(&staged, content)
        .and_then(|()| std::fs::rename(&staged, path))
        .and_then(|()| File::open(directory)?.sync_all());
    written.map_err(|source| {
        // The name is this process's own; should the removal fail too, the next write replaces the file.
        let _ = std::fs::remove_file(&staged);
        io_error("write", path, source)
    })
}

/// Reads a file of at most `limit` bytes; `None` if there is no such file.
pub fn read_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, DataDirError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", path, source)),
    };
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).map_err(|source| io_error("read", path, source))?;
    if content.len() as u64 > limit {
        return Err(DataDirError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(content))
}

/// Removes a file; it is no error if there is none.
pub fn remove_if_there(path: &Path) -> Result<(), DataDirError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, error)),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn open_lock_file(path: &Path) -> Result<File, DataDirError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| io_error("open the lock file", path, source))
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_server_is_refused_until_the_first_ends() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(&directory.path().join("data")).unwrap();
        let held = data.lock_for_serving().unwrap();
        assert!(matches!(data.lock_for_serving(), Err(DataDirError::InUse(_))));
        drop(held);
        data.lock_for_serving().unwrap();
    }

    #[test]
    fn private_files_are_private_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(&directory.path().join("a/b")).unwrap();
        let path = data.endpoint();
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(read_if_there(&path, 10).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(data.root().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(data.root()).unwrap().count(), 1, "nothing staged is left");
        assert!(matches!(read_if_there(&path, 2), Err(DataDirError::TooLarge { .. })));
        remove_if_there(&path).unwrap();
        remove_if_there(&path).unwrap();
        assert_eq!(read_if_there(&path, 10).unwrap(), None);
    }
}
