//! The only owner of processes: who one is, how it is started, waited for and ended.
//!
//! A pid alone names nothing, since it is given out again. Whatever is remembered or signalled here
//! is an [`Identity`] or found anew among the descendants, never a bare number from a file.

mod account;
mod anew;
mod bell;
mod birth;
mod cgroup;
mod core_dumps;
mod heap;
mod identity;
mod init;
mod interrupt;
mod journal;
mod limits;
mod run;
mod signals;
mod spawn;
mod stop;
mod table;
mod units;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use account::{Account, is_root};
pub use anew::begin_anew;
pub use bell::Bell;
pub use birth::open_to_signals;
pub use cgroup::Cgroup;
pub use core_dumps::forbid_core_dumps;
pub use heap::{give_heap_back, set_up_heap};
pub use identity::{Boot, Identity, Presence, Running, Woken};
pub use init::{Role, leave_init};
pub use interrupt::on_interrupt;
pub use journal::JournalSocket;
pub use limits::{Bound, Resource, ResourceLimit};
#[cfg(test)]
pub use run::stand_ins;
pub use run::{Answer, ask, find_program};
pub use signals::{Arrived, Ended, Reaped, Signals, adopt_orphans, reap, signal_descendants};
pub use spawn::{Environment, Gate, Program, ScriptIo, start_detached, start_gated};
pub use stop::StopSignal;
pub use table::{Holder, ProcessTable, Row};
pub use units::{UnitLimits, UnitRequest, UnitStart, UnitState, Units};

/// How often a condition is looked at that no descriptor tells about.
pub const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What went wrong with a process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("could not start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// `/proc` did not say what is needed to know a process again.
    #[error("could not read {what} in /proc, without which a process cannot be told from a later one: {source}")]
    Proc {
        /// Which file.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The user database could not be asked.
    #[error("could not look up the user {name:?}: {source}")]
    Lookup {
        /// The name.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// systemd did not do what it was asked for.
    #[error("systemd could not be asked to {call}: {said}")]
    Systemd {
        /// The method of its D-Bus interface.
        call: String,
        /// Its answer.
        said: String,
    },
    /// A system call for signals or waiting failed.
    #[error("could not {action}: {source}")]
    System {
        /// What was tried, as a verb.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// Result of an operation on processes.
pub type Result<T> = std::result::Result<T, Error>;

fn system(action: &'static str) -> impl FnOnce(nix::errno::Errno) -> Error {
    move |errno| Error::System { action, source: errno.into() }
}

#[cfg(test)]
mod tests;
