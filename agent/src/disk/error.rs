use std::io;
use std::path::{Path, PathBuf};

/// What was tried on which path, and the system's answer.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}: {source}{}", path.display(), self.remedy())]
pub struct Error {
    /// What was tried, as a verb: `create`, `rename`, `sync`…
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Result of an operation on the file system.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Joins an action and a path to the system's answer.
    pub fn new(action: &'static str, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self { action, path: path.as_ref().to_owned(), source: source.into() }
    }

    /// The likely cause and what to do, after the system's answer, where that alone tells neither.
    fn remedy(&self) -> String {
        use rustix::io::Errno;
        let path = self.path.display();
        match self.source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ROFS) => {
                format!("; make the file system writable (`findmnt -T {path}` shows where and how it is mounted)")
            }
            Some(Errno::BUSY) if self.is_of_a_name() => {
                format!("; something is mounted on it, or uses it: unmount it (`findmnt -R {path}` shows what)")
            }
            Some(Errno::PERM) if self.is_of_a_name() && rustix::process::geteuid().is_root() => {
                let directory = self.path.parent().unwrap_or(&self.path).display();
                format!(
                    "; it or its directory may be marked immutable or append-only (`lsattr -d {path} {directory}` shows \
                     it): run `chattr -i -a` on that"
                )
            }
            _ => String::new(),
        }
    }

    /// Whether a name in a directory was to be made, moved or removed.
    fn is_of_a_name(&self) -> bool {
        matches!(self.action, "create" | "exchange" | "link" | "make directory" | "make symlink" | "remove" | "rename")
    }

    /// Whether the path, or a directory on the way to it, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the path exists already.
    pub fn is_already_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether the file system or the user's quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether the kernel or the file system cannot do this kind of thing at all.
    pub fn is_unsupported(&self) -> bool {
        use rustix::io::Errno;
        let errno = self.source.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::XDEV))
    }

    /// Whether the two ends of a rename are on different file systems.
    pub fn is_other_filesystem(&self) -> bool {
        self.source.kind() == io::ErrorKind::CrossesDevices
    }

    /// Whether something on the path is not a directory, or is a symlink where none is followed.
    pub fn is_not_a_directory(&self) -> bool {
        use rustix::io::Errno;
        let errno = self.source.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::NOTDIR | Errno::LOOP))
    }

    /// Whether a directory still holds something.
    pub fn is_not_empty(&self) -> bool {
        self.source.kind() == io::ErrorKind::DirectoryNotEmpty || self.is_already_exists()
    }

    /// Whether something uses it as a mount point.
    pub fn is_busy(&self) -> bool {
        self.source.kind() == io::ErrorKind::ResourceBusy
    }

    /// Whether it is not allowed.
    pub fn is_not_permitted(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}
