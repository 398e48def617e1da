use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Result, system};

/// Wakes whoever waits for a process, and stays rung: nobody who looks later misses it.
#[derive(Debug)]
pub struct Bell(EventFd);

impl Bell {
    /// A bell that nobody has rung.
    pub fn new() -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        EventFd::from_value_and_flags(0, flags).map(Self).map_err(system("open an event descriptor"))
    }

    /// Wakes all who wait.
    pub fn ring(&self) -> Result<()> {
        match self.0.write(1) {
            // Rung so often that it cannot be rung any more.
            Ok(_) | Err(nix::errno::Errno::EAGAIN) => Ok(()),
            Err(errno) => Err(system("ring an event descriptor")(errno)),
        }
    }

    /// Waits until somebody has rung it, at most so long.
    pub fn wait(&self, at_most: Duration) {
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
        // An interruption is only an early look.
        let _ = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout);
    }

    /// Forgets that it was rung.
    pub fn hush(&self) {
        // There is nothing to forget where nobody has rung it.
        let _ = self.0.read();
    }

    /// Whether somebody has rung it.
    pub fn is_rung(&self) -> bool {
        let mut look = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut look, PollTimeout::ZERO), Ok(1..))
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
