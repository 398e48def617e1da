use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, wait};
use serde::{Deserialize, Serialize};

use super::{Error, ProcessTable, Result, system};

/// The signals of a process that lives by `poll`: they become something to read.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// A signal that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// A child has ended.
    Child,
    /// Somebody wants this process to end.
    Stop,
    /// Its terminal is gone; a daemon takes it for the wish that it reads its configuration again.
    HangUp,
}

impl Signals {
    /// Takes CHLD, TERM, INT and HUP out of their usual course, for this process. To be called before
    /// there is a second thread. Programs that are started here begin with none blocked.
    pub fn divert() -> Result<Self> {
        let set = diverted();
        set.thread_block().map_err(system("block signals"))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&set, flags).map(Self).map_err(system("open a signal descriptor"))
    }

    /// Gives them back their usual course, in a copy of the process that diverted them.
    pub fn restore(self) -> Result<()> {
        diverted().thread_unblock().map_err(system("unblock signals"))
    }

    /// The next signal, if there is one.
    pub fn take_next(&mut self) -> Result<Option<Arrived>> {
        match self.0.read_signal() {
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGCHLD as u32 => Ok(Some(Arrived::Child)),
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGHUP as u32 => Ok(Some(Arrived::HangUp)),
            Ok(Some(_)) => Ok(Some(Arrived::Stop)),
            Ok(None) | Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(system("read a signal")(errno)),
        }
    }
}

fn diverted() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// What a look at the children found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child has ended. Its number is free again.
    Child(i32, Ended),
    /// There are children, and all of them run.
    NoneEnded,
    /// There are none. Of a process that adopts orphans this means that nothing descends from it.
    NoChildren,
}

/// Takes the next child that has ended.
pub fn reap() -> Result<Reaped> {
    // Not nix's: it loses the status of a child that a real-time signal ended.
    loop {
        let (pid, status) = match wait(WaitOptions::NOHANG) {
            Ok(Some(ended)) => ended,
            Ok(None) => return Ok(Reaped::NoneEnded),
            Err(rustix::io::Errno::CHILD) => return Ok(Reaped::NoChildren),
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(Error::System { action: "wait for a child", source: errno.into() }),
        };
        let pid = pid.as_raw_nonzero().get();
        if let Some(code) = status.exit_status() {
            return Ok(Reaped::Child(pid, Ended::Exit(code)));
        }
        if let Some(signal) = status.terminating_signal() {
            return Ok(Reaped::Child(pid, Ended::Signal(signal)));
        }
    }
}

/// Makes this process the parent of all that descends from it and loses its own parent.
pub fn adopt_orphans() -> Result<()> {
    let own = i32::try_from(std::process::id()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::set_child_subreaper(own)
        .map_err(|errno| Error::System { action: "adopt orphaned processes", source: errno.into() })
}

/// Sends a signal to all that descends from this process: at once to the group of `leader`, a child that has
/// not been reaped, then to each process outside of it.
pub fn signal_descendants(signal: Signal, leader: Option<i32>) -> Result<()> {
    if let Some(leader) = leader {
        match killpg(Pid::from_raw(leader), signal) {
            Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => {}
            Err(errno) => return Err(system("send a signal")(errno)),
        }
    }
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    for row in ProcessTable::now()?.descendants(own).into_iter().filter(|row| Some(row.group) != leader) {
        row.signal(signal)?;
    }
    Ok(())
}
