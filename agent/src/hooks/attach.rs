//! What an earlier life left of a script: its true result, nothing, or a loose end that is tied here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::HookError;
use super::invocation::MARK;
use super::record::{CHILD, ChildRecord, End, Exit, LOCK, RunnerSpec, SPEC, STARTED, Started};
use crate::disk::{Dir, Lock, LockError};
use crate::process::{Holder, Identity, LOOK_AGAIN, Presence, ProcessTable, Row, Running};
use crate::store;

/// How long a runner may take between its lock and its `started`.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long processes may take to end after KILL.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// From TERM to KILL where the runner's own figure is not known, and for what a lost runner left.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// What was found in a runner's directory. When it is told, nothing of the script runs any more unless its
/// result says so.
#[derive(Debug)]
pub enum Found {
    /// The script never began: it can be run.
    NotStarted,
    /// It has a result.
    Exited(Exit),
    /// It began, and its result will never be known. It is not run again.
    Lost(Lost),
}

/// A script that was cut off.
#[derive(Debug)]
pub struct Lost {
    /// When it began, where that is known.
    pub since: Option<Timestamp>,
    /// What cut it off.
    pub cause: Cause,
    /// The end of its output, where it was kept.
    pub log: String,
    /// What could not be ended.
    pub survivors: Vec<Holder>,
}

/// What cut a script off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The agent that waited for it went away. The script was ended when the next one found it.
    AgentGone,
    /// Its runner was killed.
    RunnerGone,
    /// The host, or the container, was started again.
    Reboot,
}

/// Looks at a runner's directory, and ends what runs there without anyone who waits for it.
pub fn settle(dir: &Path) -> Result<Found, HookError> {
    if let Some(exit) = Exit::read(dir)? {
        return Ok(Found::Exited(exit));
    }
    match begun(dir)? {
        Begun::No => Ok(Found::NotStarted),
        Begun::By(started) => match started.runner.presence()? {
            Presence::Running(runner) => stop_runner(dir, &runner, started.at),
            Presence::Ended => end_leftovers(dir, Some(started.at), Cause::RunnerGone),
            Presence::OtherBoot => Ok(Found::Lost(Lost {
                since: Some(started.at),
                cause: Cause::Reboot,
                log: String::new(),
                survivors: Vec::new(),
            })),
        },
    }
}

enum Begun {
    No,
    By(Started),
}

/// A runner that holds the lock may be just about to begin: it is waited for.
fn begun(dir: &Path) -> Result<Begun, HookError> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Some(started) = store::read(&dir.join(STARTED))? {
            return Ok(Begun::By(started));
        }
        match Lock::try_now(&dir.join(LOCK)) {
            Ok(_free) => {
                // It may have begun and ended between the two looks.
                return Ok(store::read(&dir.join(STARTED))?.map_or(Begun::No, Begun::By));
            }
            Err(LockError::Disk(error)) if error.is_not_found() => return Ok(Begun::No),
            Err(LockError::Disk(error)) => return Err(error.into()),
            Err(LockError::Held(_)) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            Err(LockError::Held(path)) => return Err(HookError::RunnerStuck(path)),
        }
    }
}

/// Asks the runner to end its script, since it does that best and keeps the output; ends both by force if it
/// does not.
fn stop_runner(dir: &Path, runner: &Running, since: Timestamp) -> Result<Found, HookError> {
    let limits = store::read::<RunnerSpec>(&dir.join(SPEC))?.map(|spec| spec.limits);
    let (kill, output) = limits.map_or((KILL_GRACE, Duration::ZERO), |limits| (limits.kill_grace, limits.output_grace));
    runner.signal(Signal::SIGTERM)?;
    if !runner.wait_until(Instant::now() + output + 2 * kill + KILL_PATIENCE)? {
        runner.signal(Signal::SIGKILL)?;
        runner.wait_until(Instant::now() + KILL_PATIENCE)?;
    }
    match Exit::read(dir)? {
        Some(Exit { end: End::Interrupted { survivors }, log, .. }) => {
            Ok(Found::Lost(Lost { since: Some(since), cause: Cause::AgentGone, log, survivors }))
        }
        Some(exit) => Ok(Found::Exited(exit)),
        None => end_leftovers(dir, Some(since), Cause::AgentGone),
    }
}

/// Ends what a script whose runner is gone has left: its group, and whatever carries its mark.
fn end_leftovers(dir: &Path, since: Option<Timestamp>, cause: Cause) -> Result<Found, HookError> {
    // The runner may have written its result between the first look and its end.
    if let Some(exit) = Exit::read(dir)? {
        return Ok(Found::Exited(exit));
    }
    let script = store::read::<ChildRecord>(&dir.join(CHILD))?.map(|child| child.script);
    let survivors = end_all(script.as_ref(), &dir.display().to_string())?;
    Ok(Found::Lost(Lost { since, cause, log: String::new(), survivors }))
}

/// TERM once for each process, then KILL as long as there are any; what is left after that.
fn end_all(script: Option<&Identity>, mark: &str) -> Result<Vec<Holder>, HookError> {
    let mut told = BTreeSet::new();
    let begun = Instant::now();
    loop {
        let table = ProcessTable::now()?;
        let left = leftovers(&table, script, mark);
        let elapsed = begun.elapsed();
        if left.is_empty() || elapsed > KILL_GRACE + KILL_PATIENCE {
            return Ok(left.values().map(|row| row.holder()).collect());
        }
        for (pid, row) in left {
            if elapsed > KILL_GRACE {
                row.signal(Signal::SIGKILL)?;
            } else if told.insert(pid) {
                row.signal(Signal::SIGTERM)?;
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// What runs of a script whose runner is gone. An agent that a hook has started carries the hook's mark too,
/// and must not end itself.
fn leftovers<'a>(table: &'a ProcessTable, script: Option<&Identity>, mark: &str) -> BTreeMap<i32, &'a Row> {
    let mut left: BTreeMap<i32, &Row> = table.with_variable(MARK, mark).into_iter().map(|row| (row.pid, row)).collect();
    left.extend(script.into_iter().flat_map(|script| table.group_of(script)).map(|row| (row.pid, row)));
    for own in table.own_line() {
        left.remove(&own);
    }
    left
}

/// Removes all that runners of a deployment left. For deployments that are no longer kept.
pub(super) fn remove(hooks: &Path, deployment: &str) -> Result<(), HookError> {
    match Dir::open(hooks) {
        Ok(dir) => Ok(dir.remove_tree(deployment)?),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
