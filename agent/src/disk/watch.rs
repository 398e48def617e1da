use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::{Error, Result};

/// Tells that something in a few directories has changed: entries that came and went, and content of their
/// files. What it was is for the reader to look up.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
}

impl Watch {
    /// Watches a directory that exists.
    pub fn directory(path: &Path) -> Result<Self> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|errno| Error::new("watch", path, errno))?;
        let watch = Self { fd };
        watch.add(path)?;
        Ok(watch)
    }

    /// Watches a further directory; one that is watched already is fine.
    pub fn add(&self, path: &Path) -> Result<()> {
        let changes = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::MODIFY
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&self.fd, path, changes).map(drop).map_err(|errno| Error::new("watch", path, errno))
    }

    /// Forgets the changes that were told so far: the next one is told again.
    pub fn forget(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        // Ends with `WOULDBLOCK`; after any other error, looking again is all that can be done anyway.
        while reader.next().is_ok() {}
    }

    /// Waits for a change, at most so long.
    pub fn wait(&self, at_most: Duration) -> Result<()> {
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {
                self.forget();
                Ok(())
            }
            Err(errno) => Err(Error::new("wait for changes in", "directories", Errno::from_raw_os_error(errno as i32))),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_in_a_directory_is_told_once() {
        let temp = tempfile::tempdir().unwrap();
        let is_told = |watch: &Watch| {
            let mut look = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
            poll(&mut look, PollTimeout::ZERO).unwrap() > 0
        };
        let watch = Watch::directory(temp.path()).unwrap();
        assert!(!is_told(&watch));
        std::fs::write(temp.path().join("a"), "one").unwrap();
        assert!(is_told(&watch));
        watch.wait(Duration::from_secs(60)).unwrap();
        assert!(!is_told(&watch));
        std::fs::remove_file(temp.path().join("a")).unwrap();
        assert!(is_told(&watch));
        watch.forget();
        assert!(!is_told(&watch));
    }

    #[test]
    fn what_is_no_directory_is_not_watched() {
        let temp = tempfile::tempdir().unwrap();
        assert!(Watch::directory(&temp.path().join("none")).unwrap_err().is_not_found());
        std::fs::write(temp.path().join("file"), "").unwrap();
        assert!(Watch::directory(&temp.path().join("file")).is_err());
    }
}
