//! Being process 1 of a container. Every orphan there becomes its child, and stays as a dead entry of the
//! process table until it is waited for: the runner of each script, for one. A process that waits for whatever
//! ends cannot at the same time wait for children of its own, so process 1 does nothing else, and a child of it
//! is the program.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork};

use super::signals::{Arrived, Ended, Reaped, Signals, reap};
use super::{Result, system};

/// What the caller is from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The program, and not process 1.
    Program,
    /// Process 1; the program ran beside it, and ended so. Nothing is left to do but to end likewise.
    Over(Ended),
}

/// Goes on as a child where this is process 1, which then waits for all that ends there and passes on the wish
/// to end, or to read the configuration again. To be called before there is a second thread.
pub fn leave_init() -> Result<Role> {
    if std::process::id() != 1 {
        return Ok(Role::Program);
    }
    let signals = Signals::divert()?;
    // SAFETY: there is one thread, so the copy may do whatever this process may.
    match unsafe { fork() }.map_err(system("start a process beside process 1"))? {
        ForkResult::Child => {
            signals.restore()?;
            Ok(Role::Program)
        }
        ForkResult::Parent { child } => Ok(Role::Over(wait_for_all(signals, child)?)),
    }
}

/// Waits for whatever ends until `program` does.
fn wait_for_all(mut signals: Signals, program: Pid) -> Result<Ended> {
    loop {
        match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(system("wait for a signal")(errno)),
        }
        let mut wishes = Vec::new();
        while let Some(signal) = signals.take_next()? {
            match signal {
                Arrived::Child => {}
                Arrived::Stop => wishes.push(Signal::SIGTERM),
                Arrived::HangUp => wishes.push(Signal::SIGHUP),
            }
        }
        loop {
            match reap()? {
                Reaped::Child(pid, how) if pid == program.as_raw() => return Ok(how),
                Reaped::Child(..) => {}
                Reaped::NoneEnded | Reaped::NoChildren => break,
            }
        }
        for wish in wishes {
            // Not reaped yet, so the number is its own.
            kill(program, wish).map_err(system("pass a signal on to the agent"))?;
        }
    }
}
