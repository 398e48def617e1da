//! What every program is started with, whoever has started the agent: nothing of this process open, no signal blocked
//! or ignored, and a umask of its own.
//!
//! Signal masks, ignored signals, descriptors and the umask outlive an exec. A program that inherits them from here
//! would pass them on to whatever it leaves running, and a service whose TERM is blocked cannot be ended.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};

use super::{Result, system};
use crate::disk;

/// The umask of what is started where nothing else is said: the one that systemd gives a service.
const UMASK: u32 = 0o022;
/// The kernel's `sigaction` with the default disposition, no flags and an empty mask.
const DEFAULT: [u64; 4] = [0; 4];
/// The last of Linux's signals.
const LAST_SIGNAL: libc::c_int = 64;

/// Gives this process signals that arrive, however it was started: none is blocked, and the ends of children are
/// told. Ignored ones stay so, as `nohup` wants it. To be called before there is a second thread.
pub fn open_to_signals() -> Result<()> {
    SigSet::empty().thread_set_mask().map_err(system("unblock signals"))?;
    // SAFETY: the default disposition runs no code of this process.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.map(drop).map_err(system("take the ends of children"))
}

/// Has `command` begin as every program does.
pub(super) fn begin_afresh(command: &mut Command) {
    let birth = Birth::prepare(None);
    // SAFETY: between fork and exec `take` only makes system calls on what was prepared here; it allocates nothing
    // and takes no lock.
    unsafe { command.pre_exec(move || birth.take()) };
}

/// What a copy of this process needs to become a program that inherits nothing.
pub(super) struct Birth {
    /// Descriptors that this process was started with. Those that it opened itself are closed by the exec.
    inherited: Vec<RawFd>,
    umask: Mode,
}

impl Birth {
    /// Looks at what there is to leave behind. To be called before the fork.
    pub(super) fn prepare(umask: Option<u32>) -> Self {
        let names = disk::Dir::open("/proc/self/fd").and_then(|dir| dir.entries()).unwrap_or_default();
        let number = |name: &std::ffi::OsStr| name.to_str()?.parse::<RawFd>().ok();
        let inherited = names.iter().filter_map(|entry| number(&entry.name)).filter(|fd| *fd > 2 && outlives_exec(*fd));
        Self { inherited: inherited.collect(), umask: Mode::from_bits_truncate(umask.unwrap_or(UMASK)) }
    }

    /// Leaves it behind, in the copy that is about to become the program. The last that is done there.
    pub(super) fn take(&self) -> io::Result<()> {
        self.close_on_exec();
        umask(self.umask);
        // First, since a handler of this process must not run in its copy once signals arrive.
        for number in 1..=LAST_SIGNAL {
            // SAFETY: the kernel reads 32 bytes of zeros at most, which are the default disposition: it runs no code of
            // this process. Signals that have no other are refused. Not by the C library, which keeps two for itself.
            unsafe {
                libc::syscall(libc::SYS_rt_sigaction, number, DEFAULT.as_ptr(), std::ptr::null::<u64>(), 8_usize)
            };
        }
        Ok(SigSet::empty().thread_set_mask()?)
    }

    fn close_on_exec(&self) {
        // SAFETY: only marks descriptors.
        let marked = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if marked == 0 {
            return;
        }
        // Before Linux 5.11. What was closed meanwhile needs no mark.
        for fd in &self.inherited {
            // SAFETY: as above.
            unsafe { libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

fn outlives_exec(fd: RawFd) -> bool {
    // SAFETY: only asks; a number that is no descriptor is answered with an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}
