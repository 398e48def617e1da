use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::{Dir, Error, Result, fault};

/// A file that will be written later and whose room on the disk is taken now, so that its content
/// can be made durable when the disk has become full.
#[derive(Debug)]
pub struct Reserved {
    dir: Dir,
    temporary: OsString,
    file: File,
}

impl Reserved {
    /// Takes `bytes` of room under a temporary name in `dir`. What an earlier life left there goes.
    pub fn create(dir: &Dir, temporary: &str, bytes: u64) -> Result<Self> {
        dir.remove_tree(temporary)?;
        let file = dir.create_file(temporary, 0o600)?;
        let fail = |errno: Errno| Error::new("reserve space for", dir.path().join(temporary), errno);
        dir.before("reserve", Path::new(temporary))?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // A file system that cannot take room ahead: the write finds out.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(fail(errno)),
        }
        Ok(Self { dir: dir.try_clone()?, temporary: temporary.into(), file })
    }

    /// Writes the content, gives it its name and makes both durable. What was there is replaced.
    pub fn publish(mut self, name: impl AsRef<Path>, content: &[u8]) -> Result<()> {
        let path = self.dir.path().join(&self.temporary);
        let fail = |source| Error::new("write", &path, source);
        fault::point("write", &path).map_err(fail)?;
        self.file.seek(SeekFrom::Start(0)).map_err(fail)?;
        self.file.write_all(content).map_err(fail)?;
        self.file.set_len(content.len() as u64).map_err(fail)?;
        fault::point("sync", &path).and_then(|()| self.file.sync_all()).map_err(|e| Error::new("sync", &path, e))?;
        self.dir.rename(&self.temporary, name)?;
        self.dir.sync()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at files by themselves")]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_whole_or_not_there() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let steps = || Reserved::create(&dir, ".new", 4096)?.publish("result", b"short");
        let (done, seen) = fault::run(None, false, steps);
        done.unwrap();
        assert_eq!(std::fs::read(temp.path().join("result")).unwrap(), b"short");
        for at in 0..seen.len() {
            std::fs::remove_file(temp.path().join("result")).unwrap();
            let (failed, _) = fault::run(Some((at, 5)), true, steps);
            assert!(failed.is_err(), "point {at}");
            let left = std::fs::read(temp.path().join("result"));
            assert!(left.is_err() || left.unwrap() == b"short", "point {at}");
            steps().unwrap();
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
