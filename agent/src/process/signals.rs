use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{WaitOptions, wait};
use serde::{Deserialize, Serialize};

use super::{Error, Result, system};

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
}

impl Signals {
    /// Takes CHLD, TERM, INT and HUP out of their usual course, for this process. To be called before
    /// there is a second thread. Children that are started here begin without.
    pub fn take() -> Result<Self> {
        let set: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        set.thread_block().map_err(system("block signals"))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&set, flags).map(Self).map_err(system("open a signal descriptor"))
    }

    /// The next signal, if there is one.
    pub fn next(&mut self) -> Result<Option<Arrived>> {
        match self.0.read_signal() {
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGCHLD as u32 => Ok(Some(Arrived::Child)),
            Ok(Some(_)) => Ok(Some(Arrived::Stop)),
            Ok(None) | Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(system("read a signal")(errno)),
        }
    }
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

/// The next child that has ended, with its pid; nothing if all run or there are none.
pub fn reap() -> Result<Option<(i32, Ended)>> {
    // Not nix's: it loses the status of a child that a real-time signal ended.
    loop {
        let (pid, status) = match wait(WaitOptions::NOHANG) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(Error::System { action: "wait for a child", source: errno.into() }),
        };
        let pid = pid.as_raw_nonzero().get();
        if let Some(code) = status.exit_status() {
            return Ok(Some((pid, Ended::Exit(code))));
        }
        if let Some(signal) = status.terminating_signal() {
            return Ok(Some((pid, Ended::Signal(signal))));
        }
    }
}
