//! The service's data directory: where everything lies in it, and the durable small writes into it.
#![allow(clippy::disallowed_methods, reason = "this module and the object store own the files of the service")]

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

/// Mode of a directory through which others reach the authority's certificate, and see nothing else.
const PASSED_THROUGH: u32 = 0o711;
/// Mode of a file for everybody.
const PUBLIC: u32 = 0o644;
/// Mode of every other file.
const PRIVATE: u32 = 0o600;
/// Mode of every other directory.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// The authority's certificate, in `pki`.
const CA: &str = "ca.pem";

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
    /// No service was ever started there.
    #[error(
        "there is no control service in {0}: name its data directory with --data or SLIPWAY_DATA, or start a new service \
         there with `slipway-control serve`"
    )]
    NoService(PathBuf),
    /// The directory belongs to another user.
    #[error(
        "the control service's data in {0} is closed to this user: run the command as root, or as the service's user"
    )]
    Closed(PathBuf),
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
    /// Opens the directory, making it if there is none. Others can read the authority's certificate in it, and nothing else.
    pub fn create(root: &Path) -> Result<Self, DataDirError> {
        create_private_dir(root)?;
        let data = Self { root: resolve(root)? };
        create_private_dir(&data.pki())?;
        data.close_to_others()?;
        Ok(data)
    }

    /// Opens the directory of a service that was started before.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let there = |error: &io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => DataDirError::Closed(root.to_owned()),
            _ => DataDirError::NoService(root.to_owned()),
        };
        let data = Self { root: root.canonicalize().map_err(|error| there(&error))? };
        OpenOptions::new().read(true).write(true).open(data.database()).map_err(|error| there(&error))?;
        Ok(data)
    }

    /// Reads the authority's certificate, in PEM, as every user may.
    pub fn read_ca(root: &Path) -> Result<String, DataDirError> {
        match read_if_there(&root.join("pki").join(CA), 64 * 1024) {
            Ok(Some(content)) => Ok(String::from_utf8_lossy(&content).into_owned()),
            Ok(None) => Err(DataDirError::NoService(root.to_owned())),
            Err(DataDirError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(DataDirError::Closed(root.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes away what others may do with the service's own files, where an earlier version left it to them. Only what has one
    /// of the service's names is touched: the directory may hold other things.
    fn close_to_others(&self) -> Result<(), DataDirError> {
        let database = self.database();
        let beside = |ending: &str| PathBuf::from(format!("{}{ending}", database.display()));
        let private = [beside(""), beside("-wal"), beside("-shm"), self.endpoint()];
        let keys = ["ca-key.pem", "server.pem", "spec-signer.pem"].map(|name| self.pki().join(name));
        for file in private.iter().chain(&keys) {
            set_mode(file, PRIVATE)?;
        }
        set_mode(&self.objects(), PRIVATE_DIRECTORY)?;
        set_mode(&self.ca(), PUBLIC)?;
        set_mode(&self.pki(), PASSED_THROUGH)?;
        // One that is open already was not made by the service.
        if mode_of(&self.root)? == Some(PRIVATE_DIRECTORY) {
            set_mode(&self.root, PASSED_THROUGH)?;
        }
        Ok(())
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join(crate::db::FILE)
    }

    /// The authority's certificate, in PEM, for everybody.
    pub fn ca(&self) -> PathBuf {
        self.pki().join(CA)
    }

    /// Is there while the service shows a TLS certificate that is not its own authority's.
    pub fn foreign_certificate(&self) -> PathBuf {
        self.root.join("foreign-certificate")
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
    write(path, content, PRIVATE)
}

/// As [`write_private`], for a file that every user may read (mode 0644).
pub fn write_public(path: &Path, content: &[u8]) -> Result<(), DataDirError> {
    write(path, content, PUBLIC)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), DataDirError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staged = directory.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_new(&staged, content, mode)
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

/// The mode of a file or directory; none if there is none.
fn mode_of(path: &Path) -> Result<Option<u32>, DataDirError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.permissions().mode() & 0o7777)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("examine", path, source)),
    }
}

/// Sets the mode of a file or directory, if there is one and it has another.
fn set_mode(path: &Path, mode: u32) -> Result<(), DataDirError> {
    if mode_of(path)?.is_none_or(|found| found == mode) {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|source| io_error("set the mode of", path, source))
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
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
        let data = DataDir::create(&directory.path().join("data")).unwrap();
        let held = data.lock_for_serving().unwrap();
        assert!(matches!(data.lock_for_serving(), Err(DataDirError::InUse(_))));
        drop(held);
        data.lock_for_serving().unwrap();
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn others_reach_the_authoritys_certificate_alone_and_what_is_not_the_services_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("data");
        create_private_dir(&root).unwrap();
        for name in ["pki", "objects", "theirs"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        set_mode(&root.join("theirs"), 0o755).unwrap();
        for file in ["slipway.db", "slipway.db-wal", "pki/ca.pem", "pki/ca-key.pem", "pki/theirs.pem", "notes"] {
            std::fs::write(root.join(file), "").unwrap();
            set_mode(&root.join(file), 0o666).unwrap();
        }
        let data = DataDir::create(&root).unwrap();
        for (name, expected) in [
            ("", 0o711),
            ("pki", 0o711),
            ("pki/ca.pem", 0o644),
            ("pki/ca-key.pem", 0o600),
            ("slipway.db", 0o600),
            ("slipway.db-wal", 0o600),
            ("objects", 0o700),
            ("theirs", 0o755),
            ("notes", 0o666),
            ("pki/theirs.pem", 0o666),
        ] {
            assert_eq!(mode(&root.join(name)), expected, "{name}");
        }
        // A directory that the operator opened, such as one for everything, stays as it is.
        set_mode(&root, 0o755).unwrap();
        DataDir::create(&root).unwrap();
        assert_eq!(mode(&root), 0o755);
        write_public(&data.ca(), b"certificate").unwrap();
        assert_eq!((mode(&data.ca()), DataDir::read_ca(&root).unwrap().as_str()), (0o644, "certificate"));
    }

    #[test]
    fn only_a_service_makes_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("data");
        assert!(matches!(DataDir::open(&root), Err(DataDirError::NoService(_))));
        assert!(matches!(DataDir::read_ca(&root), Err(DataDirError::NoService(_))));
        assert!(!root.exists(), "a command made it");
        DataDir::create(&root).unwrap();
        assert!(matches!(DataDir::open(&root), Err(DataDirError::NoService(_))), "there is no database yet");
        std::fs::write(root.join("slipway.db"), "").unwrap();
        DataDir::open(&root).unwrap();
    }

    #[test]
    fn private_files_are_private_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::create(&directory.path().join("a/b")).unwrap();
        let path = data.endpoint();
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(read_if_there(&path, 10).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(mode(data.root()), 0o711);
        assert_eq!(std::fs::read_dir(data.root()).unwrap().count(), 2, "nothing staged is left");
        assert!(matches!(read_if_there(&path, 2), Err(DataDirError::TooLarge { .. })));
        remove_if_there(&path).unwrap();
        remove_if_there(&path).unwrap();
        assert_eq!(read_if_there(&path, 10).unwrap(), None);
    }
}
