//! What was just made in a directory that belongs to somebody else. Its owner can put something else under the name at
//! once: it is opened, looked at, and from then on only reached by that descriptor.

use std::io;
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, Gid, Mode, OFlags, Uid};

use super::{Dir, Error, Kind, Result, Stat};

impl Dir {
    /// Opens a directory that was just made here. One that is not empty is not the one that was made: an error.
    pub fn open_made_dir(&self, relative: impl AsRef<Path>) -> Result<Self> {
        const ACTION: &str = "open directory";
        let dir = self.open_dir(relative)?;
        let fail = |errno| Error::new(ACTION, dir.path(), errno);
        for entry in sys::Dir::read_from(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Err(replaced(ACTION, dir.path()));
            }
        }
        Ok(dir)
    }

    /// Gives a symlink that was just made here to an owner. Anything else under its name, and a symlink that has a second
    /// name, is not the one that was made, and keeps its owner: an error.
    pub fn give_made_symlink(&self, relative: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        const ACTION: &str = "set the owner of";
        let relative = relative.as_ref();
        let (parent, name) = self.parent_of(relative, ACTION)?;
        let fail = |errno| self.error(ACTION, relative, errno);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = sys::openat(&parent, &name, flags, Mode::empty()).map_err(fail)?;
        let now = Stat::from(sys::fstat(&link).map_err(fail)?);
        if now.kind != Kind::Symlink || now.links != 1 {
            return Err(replaced(ACTION, &self.path().join(relative)));
        }
        if (now.uid, now.gid) == (uid, gid) {
            return Ok(());
        }
        self.before(ACTION, relative)?;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        sys::chownat(&link, "", uid, gid, AtFlags::EMPTY_PATH).map_err(fail)
    }
}

fn replaced(action: &'static str, path: &Path) -> Error {
    let message = "somebody else put something in its place while it was made: find out who writes to this directory, then \
                   deploy again";
    Error::new(action, path, io::Error::other(message))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn what_was_put_in_the_place_of_a_new_symlink_is_not_given_away() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let owner = |name: &str| {
            let found = std::fs::symlink_metadata(temp.path().join(name)).unwrap();
            (found.uid(), found.gid())
        };
        std::fs::write(temp.path().join("file"), "root's").unwrap();
        std::fs::create_dir(temp.path().join("directory")).unwrap();
        symlink("file", temp.path().join("two-names")).unwrap();
        dir.hard_link("two-names", "second").unwrap();
        let before = owner("file");
        for name in ["file", "directory", "two-names", "second"] {
            let text = dir.give_made_symlink(name, 1234, 4321).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains("somebody else put something in its place"), "{text}");
            assert_eq!(owner(name), before, "{name}");
        }
        symlink("file", temp.path().join("link")).unwrap();
        dir.give_made_symlink("link", before.0, before.1).unwrap();
        if before.0 == 0 {
            dir.give_made_symlink("link", 1234, 4321).unwrap();
            assert_eq!((owner("link"), owner("file")), ((1234, 4321), before));
        }
    }

    #[test]
    fn a_directory_that_holds_something_is_not_one_that_was_just_made() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        dir.make_dir("made", 0o700).unwrap();
        assert_eq!(dir.open_made_dir("made").unwrap().path(), temp.path().join("made"));
        std::fs::write(temp.path().join("made/secret"), "root's").unwrap();
        let text = dir.open_made_dir("made").unwrap_err().to_string();
        assert!(text.contains("somebody else put something in its place"), "{text}");
        symlink("made", temp.path().join("link")).unwrap();
        assert!(dir.open_made_dir("link").is_err());
    }
}
