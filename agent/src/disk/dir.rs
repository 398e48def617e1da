use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Error, Kind, Result, Stat, fault};

/// How paths below a directory are walked: never out of it, and through no link.
const STRICTLY: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// An open directory. Every path given to its methods is relative to it, must consist of ordinary
/// names, and is walked without following a symlink.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name, without any directory.
    pub name: OsString,
    /// Its own kind; a symlink is not followed.
    pub kind: Kind,
}

impl Dir {
    /// Opens the root directory, below which every absolute path is.
    pub fn root() -> Result<Self> {
        Self::open("/")
    }

    /// Opens a directory by a path that is trusted: links in it are followed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fd = sys::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::new("open directory", path, errno))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens a directory by a trusted path, making it and its ancestors with `mode` where missing.
    /// Each directory made is synced into its parent.
    pub fn open_or_create(path: impl AsRef<Path>, mode: u32) -> Result<Self> {
        let path = path.as_ref();
        match Self::open(path) {
            Err(error) if error.is_not_found() => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Self::open(path);
        };
        let parent = Self::open_or_create(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }, mode)?;
        match parent.make_dir(name, mode) {
            Ok(()) => parent.sync()?,
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(error),
        }
        Self::open(path)
    }

    /// The path by which it was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory below this one; an empty path is this one itself.
    pub fn open_dir(&self, relative: impl AsRef<Path>) -> Result<Self> {
        let relative = relative.as_ref();
        if relative.as_os_str().is_empty() {
            return self.try_clone();
        }
        let fd = self.open_beneath(relative, OFlags::RDONLY | OFlags::DIRECTORY, "open directory")?;
        Ok(Self { fd, path: self.path.join(relative) })
    }

    /// Opens a directory below this one; nothing where something is mounted on it, or on a directory on the way.
    pub fn open_dir_of_same_mount(&self, relative: &Path) -> Result<Option<Self>> {
        const ACTION: &str = "open directory";
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = self.path.join(relative);
        if !fault::lacks("openat2") {
            match sys::openat2(&self.fd, relative, flags, Mode::empty(), STRICTLY | ResolveFlags::NO_XDEV) {
                Ok(fd) => return Ok(Some(Self { fd, path })),
                Err(Errno::XDEV) => return Ok(None),
                Err(Errno::NOSYS | Errno::PERM) => {}
                Err(errno) => return Err(self.error(ACTION, relative, errno)),
            }
        }
        let dir = Self { fd: self.walk_beneath(relative, flags, ACTION)?, path };
        Ok(dir.is_on_mount_of(self)?.then_some(dir))
    }

    /// Opens a directory below this one, making what is missing with `mode`.
    pub fn open_or_create_dir(&self, relative: impl AsRef<Path>, mode: u32) -> Result<Self> {
        let relative = relative.as_ref();
        match self.open_dir(relative) {
            Err(error) if error.is_not_found() => {}
            other => return other,
        }
        let mut here = self.try_clone()?;
        for name in relative.components() {
            match here.make_dir(name.as_os_str(), mode) {
                Ok(()) => {}
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error),
            }
            here = here.open_dir(name.as_os_str())?;
        }
        Ok(here)
    }

    /// Another descriptor for the same directory.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = self.fd.try_clone().map_err(|source| Error::new("duplicate descriptor of", &self.path, source))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    /// Opens a file below this directory for reading. A pipe or device is not waited for.
    pub fn open_file(&self, relative: impl AsRef<Path>) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(File::from(self.open_beneath(relative.as_ref(), flags, "open")?))
    }

    /// Opens a file below this directory for appending to it.
    pub(super) fn append_to(&self, relative: impl AsRef<Path>) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(File::from(self.open_beneath(relative.as_ref(), flags, "append to")?))
    }

    /// Creates a file that must not exist yet, and opens it for reading and writing.
    pub fn create_file(&self, relative: impl AsRef<Path>, mode: u32) -> Result<File> {
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, "create")?;
        self.before("create", relative)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = sys::openat(parent.fd(), name, flags, Mode::from_raw_mode(mode))
            .map_err(|errno| self.error("create", relative, errno))?;
        Ok(File::from(fd))
    }

    /// Makes a directory that must not exist yet. `mode` is exact: the umask does not count.
    pub fn make_dir(&self, relative: impl AsRef<Path>, mode: u32) -> Result<()> {
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, "make directory")?;
        self.before("make directory", relative)?;
        sys::mkdirat(parent.fd(), &name, Mode::from_raw_mode(mode & 0o700))
            .map_err(|errno| self.error("make directory", relative, errno))?;
        let made = sys::openat(
            parent.fd(),
            &name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| self.error("open directory", relative, errno))?;
        sys::fchmod(&made, Mode::from_raw_mode(mode)).map_err(|errno| self.error("set the mode of", relative, errno))
    }

    /// Makes a symlink that must not exist yet.
    pub fn symlink(&self, target: impl AsRef<Path>, relative: impl AsRef<Path>) -> Result<()> {
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, "make symlink")?;
        self.before("make symlink", relative)?;
        sys::symlinkat(target.as_ref(), parent.fd(), name).map_err(|errno| self.error("make symlink", relative, errno))
    }

    /// Makes `to` another name of the file `from`; neither is followed as a symlink.
    pub fn hard_link(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let (from_parent, from_name) = self.parent_of(from, "link")?;
        let (to_parent, to_name) = self.parent_of(to, "link")?;
        self.before_move("link", from, to)?;
        sys::linkat(from_parent.fd(), from_name, to_parent.fd(), to_name, AtFlags::empty())
            .map_err(|errno| self.error("link", to, errno))
    }

    /// Where a symlink points.
    pub fn read_link(&self, relative: impl AsRef<Path>) -> Result<PathBuf> {
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, "read symlink")?;
        let target = sys::readlinkat(parent.fd(), name, Vec::new())
            .map_err(|errno| self.error("read symlink", relative, errno))?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Metadata of an entry below this directory.
    pub fn stat(&self, relative: impl AsRef<Path>) -> Result<Stat> {
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, "examine")?;
        let stat = sys::statat(parent.fd(), name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.error("examine", relative, errno))?;
        Ok(Stat::from(stat))
    }

    /// Metadata of an entry, or nothing where there is none.
    pub fn stat_if_exists(&self, relative: impl AsRef<Path>) -> Result<Option<Stat>> {
        match self.stat(relative) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Metadata of this directory itself.
    pub fn stat_self(&self) -> Result<Stat> {
        sys::fstat(&self.fd).map(Stat::from).map_err(|errno| Error::new("examine", &self.path, errno))
    }

    /// The entries of this directory, sorted by name.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let fail = |errno| Error::new("list", &self.path, errno);
        let mut entries = Vec::new();
        for entry in sys::Dir::read_from(&self.fd).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match self.stat_if_exists(name)? {
                    Some(stat) => stat.kind,
                    // It went while the directory was read, as processes do in /proc.
                    None => continue,
                },
                known => Kind::from(known),
            };
            entries.push(Entry { name: name.to_owned(), kind });
        }
        entries.sort();
        Ok(entries)
    }

    /// Removes a file or symlink.
    pub fn unlink(&self, relative: impl AsRef<Path>) -> Result<()> {
        self.remove(relative.as_ref(), AtFlags::empty())
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, relative: impl AsRef<Path>) -> Result<()> {
        self.remove(relative.as_ref(), AtFlags::REMOVEDIR)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn remove(&self, relative: &Path, flags: AtFlags) -> Result<()> {
        let (parent, name) = self.parent_of(relative, "remove")?;
        self.before("remove", relative)?;
        sys::unlinkat(parent.fd(), name, flags).map_err(|errno| self.error("remove", relative, errno))
    }

    pub(super) fn before(&self, action: &'static str, relative: &Path) -> Result<()> {
        fault::point_in(action, &self.path, relative)
            .map_err(|source| Error::new(action, self.path.join(relative), source))
    }

    pub(super) fn before_move(&self, action: &'static str, from: &Path, to: &Path) -> Result<()> {
        fault::point_between(action, &self.path, [from, to])
            .map_err(|source| Error::new(action, self.path.join(to), source))
    }

    pub(super) fn error(&self, action: &'static str, relative: &Path, errno: Errno) -> Error {
        Error::new(action, self.path.join(relative), errno)
    }

    pub(super) fn parent_of(&self, relative: &Path, action: &'static str) -> Result<(Parent<'_>, OsString)> {
        let Some(Component::Normal(name)) = relative.components().next_back() else {
            return Err(self.error(action, relative, Errno::INVAL));
        };
        let parent = match relative.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => Parent::Opened(self.open_dir(parent)?),
            _ => Parent::This(self),
        };
        Ok((parent, name.to_owned()))
    }

    fn open_beneath(&self, relative: &Path, flags: OFlags, action: &'static str) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if fault::lacks("openat2") {
            return self.walk_beneath(relative, flags, action);
        }
        match sys::openat2(&self.fd, relative, flags, Mode::empty(), STRICTLY) {
            Ok(fd) => Ok(fd),
            Err(Errno::NOSYS | Errno::PERM) => self.walk_beneath(relative, flags, action),
            Err(errno) => Err(self.error(action, relative, errno)),
        }
    }

    /// What `openat2` does in one call, for kernels before 5.6 and sandboxes that forbid it.
    fn walk_beneath(&self, relative: &Path, flags: OFlags, action: &'static str) -> Result<OwnedFd> {
        let mut names = Vec::new();
        for component in relative.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                _ => return Err(self.error(action, relative, Errno::XDEV)),
            }
        }
        let last = names.pop().unwrap_or(OsStr::new("."));
        let mut here = self.try_clone()?.fd;
        let step = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for name in names {
            here =
                sys::openat(&here, name, step, Mode::empty()).map_err(|errno| self.error(action, relative, errno))?;
        }
        sys::openat(&here, last, flags | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|errno| self.error(action, relative, errno))
    }
}

/// The directory that holds an entry: this one, or one below it that was opened for the purpose.
pub(super) enum Parent<'a> {
    This(&'a Dir),
    Opened(Dir),
}

impl std::ops::Deref for Parent<'_> {
    type Target = Dir;
    fn deref(&self) -> &Dir {
        match self {
            Self::This(dir) => dir,
            Self::Opened(dir) => dir,
        }
    }
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.source.kind(), error)
    }
}
