//! Removal of trees. It never goes through a mount point: what is mounted below a directory belongs to others.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, Mode};

use super::{Dir, Error, Kind, Mount, Mounts, Result};

impl Dir {
    /// Removes an entry with all below it; nothing if it does not exist. Symlinks are removed, never
    /// followed. Where something is mounted on it or below it, nothing is removed, and that is the error.
    pub fn remove_tree(&self, relative: impl AsRef<Path>) -> Result<()> {
        let relative = relative.as_ref();
        self.refuse_mounts(relative)?;
        self.remove_unmounted(relative, Closed::Refused)
    }

    /// As [`Dir::remove_tree`], for a tree of this process's own: directories that their owner cannot write to are
    /// opened first.
    pub(super) fn remove_own_tree(&self, relative: impl AsRef<Path>) -> Result<()> {
        let relative = relative.as_ref();
        self.refuse_mounts(relative)?;
        self.remove_unmounted(relative, Closed::Opened)
    }

    /// Fails where something is mounted on an entry or below it, and says what, and where. Without `/proc` it cannot be
    /// told; a removal still stops at the first mount point then.
    pub fn refuse_mounts(&self, relative: impl AsRef<Path>) -> Result<()> {
        let relative = relative.as_ref();
        let Some(stat) = self.stat_if_exists(relative)? else { return Ok(()) };
        // The kernel itself refuses to remove a file that something is mounted on.
        if stat.kind != Kind::Directory {
            return Ok(());
        }
        match self.mount_below(relative) {
            Some(mount) => Err(self.mounted(relative, &mount.point, Some(&mount))),
            None => Ok(()),
        }
    }

    fn mount_below(&self, relative: &Path) -> Option<Mount> {
        let path = self.real_path()?.join(relative);
        Mounts::read().ok()?.below(&path).cloned()
    }

    /// Where this directory is, by the kernel's word: the path by which it was opened may lead through links.
    fn real_path(&self) -> Option<PathBuf> {
        let target = sys::readlink(format!("/proc/self/fd/{}", self.as_fd().as_raw_fd()), Vec::new()).ok()?;
        Some(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    fn remove_unmounted(&self, relative: &Path, closed: Closed) -> Result<()> {
        let Some(stat) = self.stat_if_exists(relative)? else { return Ok(()) };
        if stat.kind != Kind::Directory {
            return self.unlink(relative).map_err(|error| match self.mount_below(relative) {
                Some(mount) if error.is_busy() => self.mounted(relative, &mount.point, Some(&mount)),
                _ => error,
            });
        }
        if closed == Closed::Opened && stat.mode & 0o700 != 0o700 {
            self.before("set the mode of", relative)?;
            sys::chmodat(self, relative, Mode::from_raw_mode(0o700), AtFlags::empty())
                .map_err(|errno| self.error("set the mode of", relative, errno))?;
        }
        let Some(dir) = self.open_dir_of_same_mount(relative)? else {
            // It came after the look at the table, or the table was not there to be looked at.
            let point = self.path().join(relative);
            return Err(self.mounted(relative, &point, self.mount_below(relative).as_ref()));
        };
        for entry in dir.entries()? {
            dir.remove_unmounted(Path::new(&entry.name), closed)?;
        }
        self.remove_dir(relative)
    }

    fn mounted(&self, relative: &Path, point: &Path, mount: Option<&Mount>) -> Error {
        let what = mount.map_or_else(|| "another file system".to_owned(), Mount::shown);
        Error::new("remove", self.path().join(relative), mounted(&what, point))
    }
}

/// Refuses what would go through a mount point.
pub(super) fn mounted(what: &str, point: &Path) -> std::io::Error {
    let point = point.display();
    let message = format!(
        "{what} is mounted on {point}, and the agent removes nothing through a mount point: \
         unmount it (umount {point}), then try again"
    );
    std::io::Error::new(std::io::ErrorKind::ResourceBusy, message)
}

/// What becomes of directories that their owner cannot write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// They stop the removal of a process without privileges.
    Refused,
    /// They get mode 0700 first.
    Opened,
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use super::super::fault;
    use super::*;
    use crate::disk::Mounted;

    /// A tree with a volume bound into it, and a file that the volume holds.
    fn scene() -> Option<(tempfile::TempDir, Mounted)> {
        let temp = tempfile::tempdir().unwrap();
        for directory in ["precious/sub", "tree/a/data", "tree/z"] {
            std::fs::create_dir_all(temp.path().join(directory)).unwrap();
        }
        for file in ["precious/sub/db", "tree/a/first", "tree/z/last"] {
            std::fs::write(temp.path().join(file), "x").unwrap();
        }
        let mounted = Mounted::bind(&temp.path().join("precious"), &temp.path().join("tree/a/data"))?;
        Some((temp, mounted))
    }

    #[test]
    fn a_tree_with_a_mount_below_stays_whole_and_the_mount_is_named() {
        let Some((temp, mounted)) = scene() else { return };
        let dir = Dir::open(temp.path()).unwrap();
        for name in ["tree", "tree/a", "tree/a/data"] {
            let error = dir.remove_tree(name).unwrap_err();
            let (text, point) = (error.to_string(), temp.path().join("tree/a/data").display().to_string());
            assert!(error.is_busy() && text.contains(&format!("umount {point}")), "{text}");
        }
        for file in ["precious/sub/db", "tree/a/first", "tree/z/last"] {
            assert!(temp.path().join(file).exists(), "{file}");
        }
        drop(mounted);
        dir.remove_tree("tree").unwrap();
        assert!(temp.path().join("precious/sub/db").exists() && !temp.path().join("tree").exists());
    }

    /// What was mounted after the table was read stops the removal where it is, on every kernel.
    #[test]
    fn a_removal_that_meets_a_mount_ends_there() {
        for lacking in [&[][..], &["openat2"]] {
            let Some((temp, _mounted)) = scene() else { return };
            let dir = Dir::open(temp.path()).unwrap();
            let removed = fault::without(lacking, || dir.remove_unmounted(Path::new("tree"), Closed::Refused));
            let error = removed.unwrap_err().to_string();
            assert!(error.contains("tree/a/data"), "{lacking:?}: {error}");
            assert!(temp.path().join("precious/sub/db").exists(), "{lacking:?}");
        }
    }

    /// Where the kernel does not even tell mounts apart, file systems are.
    #[test]
    fn a_removal_ends_at_another_file_system_on_the_oldest_kernels() {
        let temp = tempfile::tempdir().unwrap();
        let Ok(volume) = tempfile::tempdir_in("/dev/shm") else { return };
        std::fs::write(volume.path().join("db"), "x").unwrap();
        std::fs::create_dir_all(temp.path().join("tree/data")).unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        if Dir::open(volume.path()).unwrap().stat_self().unwrap().device == dir.stat_self().unwrap().device {
            return;
        }
        let Some(_mounted) = Mounted::bind(volume.path(), &temp.path().join("tree/data")) else { return };
        let removed =
            fault::without(&["openat2", "mount ids"], || dir.remove_unmounted(Path::new("tree"), Closed::Refused));
        assert!(removed.unwrap_err().to_string().contains("tree/data"));
        assert!(volume.path().join("db").exists());
    }

    #[test]
    fn a_file_that_is_mounted_on_stays_and_the_mount_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        std::fs::write(at("theirs"), "precious").unwrap();
        std::fs::write(at("ours"), "x").unwrap();
        let Some(_mounted) = Mounted::bind(&at("theirs"), &at("ours")) else { return };
        let error = Dir::open(temp.path()).unwrap().remove_tree("ours").unwrap_err().to_string();
        assert!(error.contains(&format!("umount {}", at("ours").display())), "{error}");
        let error = crate::disk::erase(&at("ours")).unwrap_err().to_string();
        assert!(error.contains(&format!("umount {}", at("ours").display())), "{error}");
        assert_eq!(std::fs::read(at("theirs")).unwrap(), b"precious");
    }

    #[test]
    fn a_link_to_a_mounted_directory_is_removed_and_a_directory_reached_by_a_link_is_known() {
        let Some((temp, _mounted)) = scene() else { return };
        std::os::unix::fs::symlink(temp.path().join("tree/a/data"), temp.path().join("link")).unwrap();
        std::os::unix::fs::symlink("tree", temp.path().join("way")).unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        dir.remove_tree("link").unwrap();
        assert!(!temp.path().join("link").is_symlink() && temp.path().join("precious/sub/db").exists());
        let error = Dir::open(temp.path().join("way")).unwrap().remove_tree("a").unwrap_err();
        assert!(error.is_busy(), "{error}");
        assert!(temp.path().join("tree/a/first").exists());
    }
}
