use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::table::Row;
use super::{Bell, Error, LOOK_AGAIN, Result, system};
use crate::disk;

/// One boot of this machine, or one life of this container: there the boot id is the host's, so the
/// start of pid 1 is told too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    id: String,
    init_started: u64,
}

impl Boot {
    /// The boot that runs now.
    pub fn current() -> Result<Self> {
        let what = "/proc/sys/kernel/random/boot_id";
        let id = disk::read_bounded(what.as_ref(), 128)
            .map_err(|error| Error::Proc { what: what.to_owned(), source: error.source })?;
        let init_started = Row::of(1)?.map_or(0, |row| row.started);
        Ok(Self { id: String::from_utf8_lossy(&id).trim().to_owned(), init_started })
    }
}

/// One process, told apart from every other that had or will have its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    boot: Boot,
    pid: i32,
    /// In clock ticks since the boot: field 22 of `/proc/<pid>/stat`.
    started: u64,
}

/// Whether a process is still there.
#[derive(Debug)]
pub enum Presence {
    /// It runs.
    Running(Running),
    /// It ended in this boot. A zombie has ended.
    Ended,
    /// It was of another boot.
    OtherBoot,
}

impl Identity {
    /// This process.
    pub fn current() -> Result<Self> {
        let pid = std::process::id();
        Self::of(i32::try_from(pid).unwrap_or(i32::MAX))?.ok_or_else(|| Error::Proc {
            what: format!("/proc/{pid}/stat"),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// The process that has this pid now.
    pub fn of(pid: i32) -> Result<Option<Self>> {
        let boot = Boot::current()?;
        Ok(Row::of(pid)?.map(|row| Self { boot, pid, started: row.started }))
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Ticks from the boot to its start.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Looks whether it is still there. The handle was opened first and the start time compared after,
    /// so that the handle can only be of this process.
    pub fn presence(&self) -> Result<Presence> {
        if self.boot != Boot::current()? {
            return Ok(Presence::OtherBoot);
        }
        let handle = match Handle::open(self.pid) {
            Ok(handle) => handle,
            // INVAL: the number is still known, but its process is being let go.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(Presence::Ended),
            Err(errno) => return Err(Error::System { action: "open a process", source: errno.into() }),
        };
        match Row::of(self.pid)? {
            Some(row) if row.started == self.started && !row.ended() => {
                Ok(Presence::Running(Running { identity: self.clone(), handle }))
            }
            _ => Ok(Presence::Ended),
        }
    }
}

/// A process that ran when it was looked at, safe to signal whatever happened since.
#[derive(Debug)]
pub struct Running {
    identity: Identity,
    handle: Handle,
}

impl Running {
    /// Sends a signal. A process that has ended meanwhile is no error, nor one that this process may not
    /// signal (`sudo` from an agent without root): who waits for its end finds it still there.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.handle.signal(&self.identity, signal)
    }

    /// Waits until it has ended, at most until `deadline`; whether it has.
    pub fn wait_until(&self, deadline: Instant) -> Result<bool> {
        loop {
            if !matches!(self.identity.presence()?, Presence::Running(_)) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.handle.pause(left)?;
        }
    }
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The process has ended.
    ByEnd,
    /// Somebody rang.
    ByBell,
}

impl Running {
    /// Waits until the process has ended or the bell is rung, however long that takes.
    pub fn wait_or(&self, bell: &Bell) -> Result<Woken> {
        loop {
            if !matches!(self.identity.presence()?, Presence::Running(_)) {
                return Ok(Woken::ByEnd);
            }
            if bell.is_rung() {
                return Ok(Woken::ByBell);
            }
            self.handle.pause_or(bell)?;
        }
    }
}

#[derive(Debug)]
enum Handle {
    Descriptor(OwnedFd),
    /// Kernels before 5.3, and sandboxes that forbid `pidfd_open`.
    Number,
}

impl Handle {
    fn open(pid: i32) -> std::result::Result<Self, Errno> {
        let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Self::Descriptor(fd)),
            Err(Errno::NOSYS | Errno::PERM) => Ok(Self::Number),
            Err(errno) => Err(errno),
        }
    }

    fn signal(&self, identity: &Identity, signal: Signal) -> Result<()> {
        let sent = match self {
            Self::Descriptor(fd) => {
                let raw = rustix::process::Signal::from_named_raw(signal as i32).ok_or(Errno::INVAL);
                raw.and_then(|raw| pidfd_send_signal(fd, raw))
                    .map_err(|errno| nix::errno::Errno::from_raw(errno.raw_os_error()))
            }
            Self::Number => match Row::of(identity.pid)? {
                Some(row) if row.started == identity.started => {
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(identity.pid), signal)
                }
                _ => Ok(()),
            },
        };
        match sent {
            Ok(()) | Err(nix::errno::Errno::ESRCH | nix::errno::Errno::EPERM) => Ok(()),
            Err(errno) => Err(system("send a signal")(errno)),
        }
    }

    /// Returns when the process has ended or the bell is rung, or sooner.
    fn pause_or(&self, bell: &Bell) -> Result<()> {
        let (process, timeout) = match self {
            Self::Descriptor(fd) => (Some(PollFd::new(fd.as_fd(), PollFlags::POLLIN)), PollTimeout::NONE),
            Self::Number => (None, PollTimeout::try_from(LOOK_AGAIN).unwrap_or(PollTimeout::MAX)),
        };
        let mut wanted: Vec<_> = process.into_iter().chain([PollFd::new(bell.as_fd(), PollFlags::POLLIN)]).collect();
        match poll(&mut wanted, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(system("wait for a process")(errno)),
        }
    }

    /// Returns when the process has ended, or sooner.
    fn pause(&self, at_most: Duration) -> Result<()> {
        match self {
            Self::Descriptor(fd) => {
                let timeout = PollTimeout::try_from(at_most.min(Duration::from_secs(60))).unwrap_or(PollTimeout::MAX);
                match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
                    Err(errno) => Err(system("wait for a process")(errno)),
                }
            }
            Self::Number => {
                std::thread::sleep(LOOK_AGAIN.min(at_most));
                Ok(())
            }
        }
    }
}
