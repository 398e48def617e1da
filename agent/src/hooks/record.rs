//! The files of a runner's directory. They are all that the agent and the runner tell each other.
//!
//! | file | written by | when |
//! | --- | --- | --- |
//! | `spec.json` | agent | before the runner is started |
//! | `lock` | runner | held while it lives |
//! | `started` | runner | exclusively and durably, before the script begins: at most once |
//! | `child` | runner | after the fork, before the script begins |
//! | `exit.json` | runner | once the script's result is known; durable before the runner ends |
//! | `runner.log` | runner | only if something went wrong with it |

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::audit::Recording;
use crate::disk::{self, Dir, Reserved};
use crate::ids::{DeploymentId, EventName, GroupId};
use crate::outcome::ErrorCode;
use crate::process::{Cgroup, Ended, Holder, Identity, Program};
use crate::store::{self, StoreError, Stored};

pub(super) const SPEC: &str = "spec.json";
pub(super) const LOCK: &str = "lock";
pub(super) const STARTED: &str = "started";
pub(super) const CHILD: &str = "child";
pub(super) const EXIT: &str = "exit.json";
pub(super) const RUNNER_LOG: &str = "runner.log";

const EXIT_RESERVED: &str = ".exit.json.new";
/// Room for a result: a log tail of which every byte is escaped, holders, and the rest.
const EXIT_BYTES: u64 = 32 << 10;

/// What a runner is to do: `spec.json`, which holds an environment and is for root's eyes only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerSpec {
    /// The deployment that runs.
    pub deployment: DeploymentId,
    /// Its group.
    pub group: GroupId,
    /// Its event.
    pub event: EventName,
    /// The script's place in the event, from 0.
    pub index: usize,
    /// How many scripts the event has.
    pub count: usize,
    /// What to run.
    pub subject: ScriptRecord,
    /// What to execute.
    pub program: Program,
    /// How long it may take.
    pub limits: Limits,
    /// Where its output goes.
    pub logs: Logs,
    /// The service that its runner is, where systemd starts it.
    #[serde(default)]
    pub unit: Option<UnitName>,
    /// Whether runner and script may leave core dumps.
    #[serde(default, skip_serializing_if = "CoreDumps::are_allowed")]
    pub core_dumps: CoreDumps,
    /// Orders for recording it, if it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recording>,
}

/// Whether processes may leave core dumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoreDumps {
    /// As the host has it.
    #[default]
    Allowed,
    /// Not: `disable_core_dumps`.
    Forbidden,
}

impl CoreDumps {
    fn are_allowed(&self) -> bool {
        *self == Self::Allowed
    }
}

/// The name of the transient service of one runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitName(String);

impl UnitName {
    /// How the names of all of them begin.
    pub const PREFIX: &str = "slipway-hook-";

    /// The name for a script, by its place in the event. What the parts may consist of is all allowed in the
    /// name of a unit, and together they are shorter than such a name may be.
    pub fn new(deployment: &DeploymentId, event: &EventName, index: usize) -> Self {
        Self(format!("{}{deployment}-{event}-{index}.service", Self::PREFIX))
    }

    /// As systemd knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A script, as far as messages need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptRecord {
    /// As the AppSpec names it.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Whom it runs as, where that is said.
    pub user: Option<String>,
    /// Whose revision holds it.
    pub scripts_of: ScriptsOf,
}

/// Whose scripts an event runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptsOf {
    /// Those in the revision of the deployment that runs.
    ThisDeployment,
    /// Those of an earlier deployment, which is still what is installed.
    Earlier(DeploymentId),
    /// Nobody's: it is a program of the host.
    Host,
}

/// How long a script may take, and what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The script itself.
    pub timeout: Duration,
    /// From TERM to KILL.
    pub kill_grace: Duration,
    /// From the script's end until nothing may hold its output any more.
    pub output_grace: Duration,
    /// Bytes of memory that it may use with all that it starts, where its runner is a service.
    #[serde(default)]
    pub memory_max: Option<u64>,
    /// Per cent of one processor that it may use, where its runner is a service.
    #[serde(default)]
    pub cpu_quota_percent: Option<u32>,
}

/// Where a script's output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// The deployment's own.
    pub scripts: PathBuf,
    /// That of all deployments, where it is wanted.
    pub deployments: Option<PathBuf>,
}

/// Which runner has taken a script: `started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The runner.
    pub runner: Identity,
    /// When, for people.
    pub at: Timestamp,
    /// The control group of its service, where it is one.
    #[serde(default)]
    pub cgroup: Option<Cgroup>,
    /// Which start of the service it is: systemd's invocation id.
    #[serde(default)]
    pub invocation: Option<String>,
}

/// The script's first process, leader of its session and group: `child`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildRecord {
    /// Who it is.
    pub script: Identity,
}

/// How a script ended: `exit.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// When the runner took it.
    pub began: Timestamp,
    /// When this was written.
    pub ended: Timestamp,
    /// How.
    pub end: End,
    /// The end of its output, at most 2,048 bytes, each line with its stream's tag.
    pub log: String,
    /// Why the log files lack a part of the output, if they do.
    pub log_trouble: Option<String>,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By itself.
    Ended {
        /// With which code, or by which signal.
        how: Ended,
        /// What became of its output.
        output: Output,
    },
    /// It ran longer than it may, and was ended with all that it had started.
    TimedOut {
        /// What could not be ended.
        survivors: Vec<Holder>,
    },
    /// The runner was told to end, and ended the script.
    Interrupted {
        /// What could not be ended.
        survivors: Vec<Holder>,
    },
    /// It did not begin.
    NotStarted {
        /// The protocol's code.
        code: ErrorCode,
        /// Why, and what to do.
        message: String,
    },
    /// It began, but the runner could not watch it and has ended it.
    Unwatched {
        /// Why.
        message: String,
    },
}

/// What became of a script's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// It was closed in time.
    Closed,
    /// It was held beyond the grace; what the script had started was ended.
    LeftOpen {
        /// By whom.
        holders: Vec<Holder>,
    },
}

impl Stored for RunnerSpec {
    const WHAT: &'static str = "the specification of a hook's runner";
    const FORMAT: u32 = 1;
    const MAX_BYTES: u64 = 8 << 20;
}

impl Stored for Started {
    const WHAT: &'static str = "the record of a hook's start";
    const FORMAT: u32 = 1;
}

impl Stored for ChildRecord {
    const WHAT: &'static str = "the record of a hook's process";
    const FORMAT: u32 = 1;
}

impl Stored for Exit {
    const WHAT: &'static str = "the result of a hook";
    const FORMAT: u32 = 1;
}

impl Exit {
    /// The result in a runner's directory, if there is one.
    pub fn read(dir: &Path) -> Result<Option<Self>, StoreError> {
        store::read(&dir.join(EXIT))
    }
}

/// Takes the script for `runner`: false if one has it already. The file comes into being whole, and is
/// durable when this returns.
pub(super) fn claim(dir: &Path, started: &Started) -> Result<bool, StoreError> {
    let text = store::to_json(&dir.join(STARTED), started)?;
    let temporary = format!(".started.{}", started.runner.pid());
    let open = Dir::open(dir)?;
    write_aside(&open, &temporary, &text)?;
    let linked = open.hard_link(&temporary, STARTED);
    open.unlink(&temporary)?;
    match linked {
        Ok(()) => {
            open.sync()?;
            Ok(true)
        }
        Err(error) if error.is_already_exists() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Records the script's process. Not synced: it counts in this boot only, and then the page cache has it.
pub(super) fn write_child(dir: &Path, script: &Identity) -> Result<(), StoreError> {
    let text = store::to_json(&dir.join(CHILD), &ChildRecord { script: script.clone() })?;
    let open = Dir::open(dir)?;
    let path = Path::new(".child.new");
    open.remove_tree(path)?;
    open.create_file(path, 0o600)?.write_all(&text).map_err(|e| disk::Error::new("write", dir.join(path), e))?;
    Ok(open.rename(path, CHILD)?)
}

/// Leaves word of what keeps a runner from its script.
pub(super) fn write_complaint(dir: &Path, complaint: &str) -> Result<(), disk::Error> {
    disk::write_unsynced(&dir.join(RUNNER_LOG), complaint.as_bytes(), 0o600)
}

/// Takes the room for the result while the script has not begun.
pub(super) fn reserve_exit(dir: &Path) -> Result<Reserved, StoreError> {
    Ok(Reserved::create(&Dir::open(dir)?, EXIT_RESERVED, EXIT_BYTES)?)
}

/// Makes the result durable.
pub(super) fn publish_exit(dir: &Path, room: Reserved, exit: &Exit) -> Result<(), StoreError> {
    let path = dir.join(EXIT);
    Ok(room.publish(EXIT, &store::to_json(&path, exit)?)?)
}

fn write_aside(dir: &Dir, name: &str, text: &[u8]) -> Result<(), disk::Error> {
    dir.remove_tree(name)?;
    let mut file = dir.create_file(name, 0o600)?;
    let fail = |source| disk::Error::new("write", dir.path().join(name), source);
    file.write_all(text).map_err(fail)?;
    file.sync_all().map_err(fail)
}
