//! What became of a script that somebody began: it runs, it has its true result, or it is a loose end that is
//! tied here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::HookError;
use super::invocation::MARK;
use super::record::{CHILD, ChildRecord, End, Exit, LOCK, RunnerSpec, SPEC, STARTED, Started};
use super::wishes::{Wish, Wishes};
use crate::disk::{Dir, Kind, Lock, LockError};
use crate::process::{Cgroup, Holder, Identity, LOOK_AGAIN, Presence, ProcessTable, Row, Running, Units, Woken};
use crate::store;

/// How long a runner may take between its lock and its `started`.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long processes may take to end after KILL.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// From TERM to KILL where the runner's own figure is not known, and for what a lost runner left.
const KILL_GRACE: Duration = Duration::from_secs(5);

/// What was found in a runner's directory.
#[derive(Debug)]
pub enum Found {
    /// The script never began: it can be run.
    NotStarted,
    /// It runs, and its runner watches it.
    Running(Attached),
    /// It has a result.
    Exited(Exit),
    /// It began, and its result will never be known. It is not run again, and nothing of it runs any more.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it, for this reason.
    Cancelled(String),
    /// Its runner was killed. With what systemd says of the service, where it was one.
    RunnerGone(Option<String>),
    /// The host, or the container, was started again.
    Reboot,
}

/// Looks at a runner's directory. What runs there without a runner is ended.
pub fn look(dir: &Path) -> Result<Found, HookError> {
    if let Some(exit) = Exit::read(dir)? {
        return Ok(Found::Exited(exit));
    }
    match begun(dir)? {
        Begun::No => Ok(Found::NotStarted),
        Begun::By(started) => match started.runner.presence()? {
            Presence::Running(runner) => Ok(Found::Running(Attached { runner, started })),
            Presence::Ended => {
                let said = said_of_unit(dir)?;
                end_leftovers(dir, &started, Cause::RunnerGone(said))
            }
            Presence::OtherBoot => Ok(Found::Lost(Lost {
                since: Some(started.at),
                cause: Cause::Reboot,
                log: String::new(),
                survivors: Vec::new(),
            })),
        },
    }
}

/// The directory of a script of any deployment whose runner lives, if there is one. Nothing is changed.
pub fn any_running(hooks: &Path) -> Result<Option<PathBuf>, HookError> {
    for deployment in directories(hooks)? {
        for dir in directories(&deployment)? {
            // A lock that is not there must not be made.
            if Dir::open(&dir)?.stat_if_exists(LOCK)?.is_none() {
                continue;
            }
            match Lock::try_now(&dir.join(LOCK)) {
                Ok(_free) => {}
                Err(LockError::Held(_)) => return Ok(Some(dir)),
                Err(LockError::Disk(error)) => return Err(error.into()),
            }
        }
    }
    Ok(None)
}

fn directories(path: &Path) -> Result<Vec<PathBuf>, HookError> {
    let entries = match Dir::open(path) {
        Ok(dir) => dir.entries()?,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let directories = entries.into_iter().filter(|entry| entry.kind == Kind::Directory);
    Ok(directories.map(|entry| path.join(entry.name)).collect())
}

/// A runner that watches its script, whoever started it.
#[derive(Debug)]
pub struct Attached {
    runner: Running,
    started: Started,
}

/// Why a wait for a runner is over.
#[derive(Debug)]
pub enum Waited {
    /// It has ended: the directory says more.
    Ended,
    /// Somebody wishes something.
    Asked(Wish),
}

impl Attached {
    /// When the script began.
    pub fn since(&self) -> Timestamp {
        self.started.at
    }

    /// Waits until the runner has ended, or somebody wishes something.
    pub fn wait(&self, wishes: &Wishes) -> Result<Waited, HookError> {
        match self.runner.wait_or(wishes.bell())? {
            Woken::ByEnd => Ok(Waited::Ended),
            Woken::ByBell => Ok(wishes.made().map_or(Waited::Ended, Waited::Asked)),
        }
    }

    /// Asks the runner to end its script, since it does that best and keeps the output; ends both by force if
    /// it does not.
    pub fn cancel(self, dir: &Path, reason: String) -> Result<Found, HookError> {
        let Self { runner, started } = self;
        let limits = store::read::<RunnerSpec>(&dir.join(SPEC))?.map(|spec| spec.limits);
        let (kill, output) =
            limits.map_or((KILL_GRACE, Duration::ZERO), |limits| (limits.kill_grace, limits.output_grace));
        runner.signal(Signal::SIGTERM)?;
        if !runner.wait_until(Instant::now() + output + 2 * kill + KILL_PATIENCE)? {
            runner.signal(Signal::SIGKILL)?;
            runner.wait_until(Instant::now() + KILL_PATIENCE)?;
        }
        match Exit::read(dir)? {
            Some(Exit { end: End::Interrupted { survivors }, log, .. }) => {
                Ok(Found::Lost(Lost { since: Some(started.at), cause: Cause::Cancelled(reason), log, survivors }))
            }
            Some(exit) => Ok(Found::Exited(exit)),
            None => end_leftovers(dir, &started, Cause::Cancelled(reason)),
        }
    }
}

/// Whether a script has begun.
pub(super) enum Begun {
    No,
    By(Started),
}

/// What a directory says now.
pub(super) fn begun_now(dir: &Path) -> Result<Begun, HookError> {
    Ok(store::read(&dir.join(STARTED))?.map_or(Begun::No, Begun::By))
}

/// A runner that holds the lock may be just about to begin: it is waited for.
fn begun(dir: &Path) -> Result<Begun, HookError> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Begun::By(started) = begun_now(dir)? {
            return Ok(Begun::By(started));
        }
        match Lock::try_now(&dir.join(LOCK)) {
            // It may have begun and ended between the two looks.
            Ok(_free) => return begun_now(dir),
            Err(LockError::Disk(error)) if error.is_not_found() => return Ok(Begun::No),
            Err(LockError::Disk(error)) => return Err(error.into()),
            Err(LockError::Held(_)) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            Err(LockError::Held(path)) => return Err(HookError::RunnerStuck(path)),
        }
    }
}

/// What systemd says of the service of a runner that is gone, in a word: `oom-kill`, `signal`.
fn said_of_unit(dir: &Path) -> Result<Option<String>, HookError> {
    let Some(unit) = store::read::<RunnerSpec>(&dir.join(SPEC))?.and_then(|spec| spec.unit) else { return Ok(None) };
    let said = Units::connect().and_then(|units| {
        let said = units.state(unit.as_str())?.map(|state| state.result);
        units.stop(unit.as_str())?;
        Ok(said)
    });
    // What is missing is a word in a message.
    Ok(said.inspect_err(|error| tracing::debug!(%error, "systemd could not be asked")).ok().flatten())
}

/// Ends what a script whose runner is gone has left: its service's control group, its process group, and
/// whatever carries its mark.
fn end_leftovers(dir: &Path, started: &Started, cause: Cause) -> Result<Found, HookError> {
    // The runner may have written its result between the first look and its end.
    if let Some(exit) = Exit::read(dir)? {
        return Ok(Found::Exited(exit));
    }
    let traces = Traces {
        script: store::read::<ChildRecord>(&dir.join(CHILD))?.map(|child| child.script),
        mark: dir.display().to_string(),
        cgroup: started.cgroup.clone(),
    };
    let survivors = traces.end_all()?;
    Ok(Found::Lost(Lost { since: Some(started.at), cause, log: String::new(), survivors }))
}

/// By what the processes of a script are found.
struct Traces {
    script: Option<Identity>,
    mark: String,
    cgroup: Option<Cgroup>,
}

impl Traces {
    /// TERM once for each process, then KILL as long as there are any; what is left after that.
    fn end_all(&self) -> Result<Vec<Holder>, HookError> {
        let mut told = BTreeSet::new();
        let begun = Instant::now();
        loop {
            let left = self.leftovers()?;
            let elapsed = begun.elapsed();
            if left.is_empty() || elapsed > KILL_GRACE + KILL_PATIENCE {
                return Ok(left.values().map(Row::holder).collect());
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

    /// What runs of the script. An agent that a hook has started carries the hook's mark too, and must not end
    /// itself.
    fn leftovers(&self) -> Result<BTreeMap<i32, Row>, HookError> {
        let table = ProcessTable::now()?;
        let marked = table.with_variable(MARK, &self.mark).into_iter().cloned();
        let mut left: BTreeMap<i32, Row> = marked.map(|row| (row.pid, row)).collect();
        let grouped = self.script.iter().flat_map(|script| table.group_of(script)).cloned();
        left.extend(grouped.map(|row| (row.pid, row)));
        if let Some(cgroup) = &self.cgroup {
            left.extend(cgroup.processes()?.into_iter().map(|row| (row.pid, row)));
        }
        for own in table.own_line() {
            left.remove(&own);
        }
        Ok(left)
    }
}

/// Removes all that runners of a deployment left. For deployments that are no longer kept.
pub(super) fn remove(hooks: &Path, deployment: &str) -> Result<(), HookError> {
    match Dir::open(hooks) {
        Ok(dir) => Ok(dir.remove_tree(deployment)?),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
