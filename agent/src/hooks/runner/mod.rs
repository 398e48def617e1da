//! The process that runs one script: `slipway-agent hook-runner DIR`.
//!
//! It needs nothing of the agent once it has begun, not even a pipe, and leaves its result in a file. No
//! async runtime and one thread: it counts in the memory of every script.

mod refusal;
mod watch;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use jiff::Timestamp;

use super::audit::{Recorded, Unrecorded};
use super::log::ScriptLog;
use super::record::{self, CoreDumps, End, Exit, LOCK, RunnerSpec, SPEC, Started};
use crate::disk::{Lock, LockError};
use crate::outcome::ErrorCode;
use crate::process::{self, Cgroup, Environment, Gate, Identity, ScriptIo, Signals, start_gated};
use crate::store::{self, StoreError};
use watch::{Outputs, Watch};

/// The runner's exit code where another runner has the script or has run it.
pub const ALREADY_TAKEN: u8 = 3;

/// Why a runner leaves no result. Unless it is the last variant, the script has not begun.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Another runner is at work or has been.
    #[error("the script of {0} is taken already: a script is never started twice")]
    AlreadyTaken(String),
    /// There is nothing to run.
    #[error("{0} holds no {SPEC}: this command is for slipway-agent's own use")]
    NoSpec(String),
    /// The directory could not be locked.
    #[error(transparent)]
    Lock(LockError),
    /// A file of the directory could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system would not let the runner watch processes.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The script has ended, and its result could not be written.
    #[error("the script has ended, but its result could not be written: {0}")]
    Unpublished(StoreError),
}

/// Runs the script that `dir` specifies, and leaves its result there. Success means that the result is
/// durable, whatever it is.
pub fn main(dir: &Path) -> ExitCode {
    match run(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // As a service the runner has no standard error that the agent reads.
            if let Err(unsaid) = record::write_complaint(dir, &error.to_string()) {
                eprintln!("{unsaid}");
            }
            eprintln!("{error}");
            match error {
                RunnerError::AlreadyTaken(_) => ExitCode::from(ALREADY_TAKEN),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(dir: &Path) -> Result<(), RunnerError> {
    let taken = || RunnerError::AlreadyTaken(dir.display().to_string());
    let _lock = Lock::try_now(&dir.join(LOCK)).map_err(|error| match error {
        LockError::Held(_) => taken(),
        other => RunnerError::Lock(other),
    })?;
    let spec: RunnerSpec =
        store::read(&dir.join(SPEC))?.ok_or_else(|| RunnerError::NoSpec(dir.display().to_string()))?;
    if Exit::read(dir)?.is_some() {
        return Err(taken());
    }
    if spec.core_dumps == CoreDumps::Forbidden {
        process::forbid_core_dumps()?;
    }
    let signals = Signals::divert()?;
    process::adopt_orphans()?;
    let room = record::reserve_exit(dir)?;
    let began = Timestamp::now();
    let started = Started {
        runner: Identity::current()?,
        at: began,
        cgroup: spec.unit.as_ref().and_then(|unit| Cgroup::of_unit(unit.as_str())),
        invocation: Environment::of_this_process().0.remove("INVOCATION_ID"),
    };
    if !record::claim(dir, &started)? {
        return Err(taken());
    }
    // From here on every way leads to a result.
    let mut log = ScriptLog::open(&spec);
    let end = match Recorded::begin(&spec) {
        Ok(recorded) => {
            let end = start_and_watch(dir, &spec, signals, &mut log);
            let ended = recorded.map_or(Ok(()), |recorded| recorded.end(&end));
            ended.unwrap_or_else(|error| log.note(format!("the end of the script is not on record: {error}")));
            end
        }
        Err(error) if spec.recording.as_ref().is_some_and(|recording| recording.unrecorded == Unrecorded::Refused) => {
            not_started(format!("the script was not run, since it could not be put on record: {error}"))
        }
        Err(error) => {
            log.note(format!("the script is not on record: {error}"));
            start_and_watch(dir, &spec, signals, &mut log)
        }
    };
    let (log, log_trouble) = log.close();
    let exit = Exit { began, ended: Timestamp::now(), end, log, log_trouble };
    record::publish_exit(dir, room, &exit).map_err(RunnerError::Unpublished)
}

fn start_and_watch(dir: &Path, spec: &RunnerSpec, signals: Signals, log: &mut ScriptLog) -> End {
    let (outputs, script_io) = match pipes() {
        Ok(pipes) => pipes,
        Err(error) => return not_started(format!("no pipe could be made for the script's output: {error}")),
    };
    let until = Instant::now() + spec.limits.timeout;
    match start_gated::<RunnerError>(&spec.program, script_io, |script| Ok(record::write_child(dir, script)?)) {
        Ok(script) => Watch::new(spec.limits, outputs, script).run(signals, until, log),
        Err(Gate::Closed(error)) => {
            not_started(format!("the script was not started, since its process could not be recorded: {error}"))
        }
        Err(Gate::Refused(error)) => refusal::explain(spec, &error),
    }
}

fn not_started(message: String) -> End {
    End::NotStarted { code: ErrorCode::UnknownError, message }
}

fn pipes() -> io::Result<(Outputs, ScriptIo)> {
    let ((out_reader, stdout), (err_reader, stderr)) = (io::pipe()?, io::pipe()?);
    Ok((Outputs::new(out_reader, err_reader)?, ScriptIo { stdout, stderr }))
}
