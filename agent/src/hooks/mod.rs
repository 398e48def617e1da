//! Lifecycle hooks: the scripts of an event, each under a runner of its own.
//!
//! A script that has started is never started again, and its true result is reported if it can be known.
//! Both rest on the files of a runner's directory ([`record`]), not on the agent's memory.

pub mod attach;
pub mod first_line;
pub mod invocation;
mod audit;
mod launch;
mod lines;
mod log;
mod login;
mod notes;
mod preflight;
mod profile;
mod programs;
mod ran;
pub mod record;
mod report;
pub mod runner;
mod step;
mod tail;
mod units;
mod wishes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::appspec::Script;
use crate::config::{OnPremises, on_premises};
use crate::deployment::DeploymentSpec;
use crate::disk;
use crate::ids::{DeploymentId, EventName, GroupId};
use crate::layout::Layout;
use crate::outcome::{Failure, Outcome, Warnings};
use crate::process::{self, Environment};
use crate::revision::Revision;
use crate::store::audit::Kept;
use crate::store::{self, StoreError};
use attach::Found;
pub use audit::Unrecorded;
use invocation::Inherit;
pub use profile::ShellProfile;
pub use programs::{HostProgram, ProgramsRequest, run_programs};
pub use ran::ran;
pub use record::{CoreDumps, ScriptsOf};
use record::{Exit, Logs, RunnerSpec, SPEC, UnitName};
use report::{EventLog, Verdict};
use step::{Step, Stepped};

pub use launch::Launcher;
pub use notes::log_warnings;
pub use preflight::known_failure;
pub use units::sweep;
pub use wishes::{Wish, Wishes};

/// Longest file that says who a host is, in bytes.
const MAX_IDENTITY: u64 = 1 << 20;

/// How hooks run on this host; the same for all deployments.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// The program that is called with `hook-runner DIR`: the agent's own.
    pub runner: PathBuf,
    /// How runners are started.
    pub launcher: Launcher,
    /// The agent's own environment.
    pub environment: Environment,
    /// What is evaluated over it.
    pub profile: ShellProfile,
    /// How much of it scripts get.
    pub inherit: Inherit,
    /// The file that says who this host is where it is not on EC2. It need not be there.
    pub on_premises: Option<PathBuf>,
    /// Whether `runas` gives a script what `su` would.
    pub pam: Pam,
    /// Whom scripts without `runas` run as, where it is not the agent's user.
    pub default_user: Option<String>,
    /// Where scripts start.
    pub directory: PathBuf,
    /// From a script's end until nothing may hold its output any more.
    pub output_grace: Duration,
    /// From TERM to KILL.
    pub kill_grace: Duration,
    /// Whether output also goes to the log of all deployments.
    pub deployments_log: DeploymentsLog,
    /// Whether scripts and their runners may leave core dumps.
    pub core_dumps: CoreDumps,
    /// The limits of the record of scripts, and the fate of one that cannot be recorded; none is kept without.
    pub record: Option<(Kept, Unrecorded)>,
}

impl HookSettings {
    /// What holds where nothing is configured.
    pub fn new(runner: impl Into<PathBuf>) -> Self {
        Self {
            runner: runner.into(),
            launcher: Launcher::of_this_host(),
            environment: Environment::of_this_process(),
            profile: ShellProfile::default(),
            inherit: Inherit::All,
            on_premises: None,
            pam: Pam::Auto,
            default_user: None,
            directory: PathBuf::from("/"),
            output_grace: Duration::from_secs(10),
            kill_grace: Duration::from_secs(5),
            deployments_log: DeploymentsLog::Written,
            core_dumps: CoreDumps::Allowed,
            record: None,
        }
    }

    /// What scripts get of this host.
    fn base(&self) -> Environment {
        let mut base = self.profile.over(&self.environment);
        if let Some(identity) = self.on_premises.as_deref().and_then(identity_in) {
            base.0.extend(identity);
        }
        let mut base = invocation::inherited(&base, self.inherit);
        invocation::name_own_user(&mut base);
        base
    }

    /// The service that a runner is here, if it is one.
    fn unit(&self, deployment: &DeploymentId, event: &EventName, index: usize) -> Option<UnitName> {
        match self.launcher {
            Launcher::Units => Some(UnitName::new(deployment, event, index)),
            Launcher::Detached => None,
        }
    }

    /// Returns the orders for recording the scripts of a deployment, if they are recorded.
    fn recording(&self, layout: &Layout, spec: &DeploymentSpec) -> Option<audit::Recording> {
        let (kept, unrecorded) = self.record?;
        let signer = spec.signer.as_deref().unwrap_or("unknown");
        Some(audit::Recording::new(layout.root(), kept, unrecorded, signer))
    }

    /// Where output goes here.
    fn logs(&self, layout: &Layout, group: &GroupId, deployment: &DeploymentId) -> Logs {
        Logs {
            scripts: layout.scripts_log(group, deployment),
            deployments: match self.deployments_log {
                DeploymentsLog::Written => Some(layout.deployments_log()),
                DeploymentsLog::Off => None,
            },
        }
    }
}

/// The variables that say who this host is, as the file says it now: another one may have taken its place. The keys
/// in it stay there.
fn identity_in(file: &Path) -> Option<[(String, String); 2]> {
    let text = disk::read_if_exists(file, MAX_IDENTITY).ok().flatten()?;
    let (OnPremises::IamUser { arn, region, .. } | OnPremises::IamSession { arn, region, .. }) =
        on_premises::parse(&text, &file.display().to_string()).ok()?.identity;
    Some([("AWS_HOST_IDENTIFIER".to_owned(), arn), ("AWS_REGION".to_owned(), region)])
}

/// Whether scripts with `runas` get what the host's PAM gives by `su`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pam {
    /// What its stack has of limits, variables and the umask.
    Auto,
    /// `hook_pam: off`.
    Off,
}

/// Whether there is a log of all deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentsLog {
    /// There is.
    Written,
    /// `enable_deployments_log: false`.
    Off,
}

/// One event of one deployment.
#[derive(Clone, Copy, Debug)]
pub struct EventRequest<'a> {
    /// Where everything is.
    pub layout: &'a Layout,
    /// The deployment that runs.
    pub spec: &'a DeploymentSpec,
    /// The event.
    pub event: &'a EventName,
    /// Its scripts, in the order of the AppSpec.
    pub scripts: &'a [Script],
    /// The revision that holds them.
    pub revision: &'a Revision,
    /// Whose revision that is.
    pub scripts_of: &'a ScriptsOf,
    /// How hooks run on this host.
    pub settings: &'a HookSettings,
    /// What whoever waits for a script is asked for meanwhile.
    pub wishes: &'a Wishes,
}

/// What became of an event.
#[derive(Debug)]
pub enum Ran {
    /// It is over.
    Over(Outcome),
    /// A script of it goes on without the agent, whose next life waits for the result.
    HandedOver,
}

/// Why an event has no outcome: nothing that a script did.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A file of a runner's directory could not be read or written.
    #[error("the hook's state: {0}")]
    Store(#[from] StoreError),
    /// A directory or log could not be made.
    #[error("the hook's files: {0}")]
    Disk(#[from] disk::Error),
    /// A process could not be started, found or ended.
    #[error("the hook's processes: {0}")]
    Process(#[from] process::Error),
    /// A runner ended before it took its script.
    #[error("the runner of {script} did not take the script ({how}): {said}. Deploy again once that is mended.")]
    RunnerFailed {
        /// The script.
        script: String,
        /// The runner's end.
        how: String,
        /// Its own words.
        said: String,
    },
    /// A script has begun, and what it was to be is not there.
    #[error("{} is gone, though its script has begun: somebody removed it. Deploy again.", .0.display())]
    SpecGone(PathBuf),
    /// A service has the name that one of ours should have.
    #[error(
        "the service {0:?} is in the way of a hook and cannot be stopped: see `systemctl status`, stop it, and deploy again"
    )]
    UnitInTheWay(record::UnitName),
    /// A runner holds its lock and does nothing.
    #[error("another runner holds {} and neither begins nor ends: find it with `fuser`, end it, and deploy again", .0.display())]
    RunnerStuck(PathBuf),
}

/// Runs the scripts of an event in order until one fails. Scripts that an earlier life has begun are not run
/// again: they are waited for, and their results count; one that was cut off ends the event with code 7.
pub fn run_event(request: &EventRequest<'_>) -> Result<Ran, HookError> {
    if request.scripts.is_empty() {
        return Ok(Ran::Over(Outcome::succeeded()));
    }
    let mut log = EventLog::begin(request.event);
    let mut warnings = Warnings::default();
    for (index, script) in request.scripts.iter().enumerate() {
        match (Step { request, index, script }).settle_or_run(&mut log, &mut warnings)? {
            Stepped::Succeeded => {}
            Stepped::Failed(failure) => {
                let failed = Outcome::from(Failure { log: log.tail(), ..failure });
                return Ok(Ran::Over(failed.warned(warnings)));
            }
            Stepped::HandedOver => return Ok(Ran::HandedOver),
        }
    }
    Ok(Ran::Over(Outcome::succeeded_with("Succeeded", log.tail()).warned(warnings)))
}

/// What an earlier life left of an event.
#[derive(Debug)]
pub enum Recovered {
    /// Nothing: no script began.
    NotStarted,
    /// Its first scripts have succeeded, the rest has not begun: [`run_event`] goes on.
    Partly,
    /// It is over.
    Over(Outcome),
    /// A script of it goes on without the agent.
    HandedOver,
}

/// Takes up what an earlier life left of an event, by the record alone: the specification and the revision
/// need not be at hand. Waits for what runs.
pub fn recover(
    layout: &Layout,
    deployment: &DeploymentId,
    event: &EventName,
    wishes: &Wishes,
) -> Result<Recovered, HookError> {
    let mut log = EventLog::begin(event);
    for index in 0.. {
        let dir = layout.hook(deployment, event, index);
        let Some(found) = step::wait(&dir, attach::look(&dir)?, wishes)? else { return Ok(Recovered::HandedOver) };
        if matches!(found, Found::NotStarted) {
            return Ok(if index == 0 { Recovered::NotStarted } else { Recovered::Partly });
        }
        let spec: RunnerSpec = store::read(&dir.join(SPEC))?.ok_or_else(|| HookError::SpecGone(dir.join(SPEC)))?;
        if let Some(failure) = judge(&spec, &found, &mut log) {
            return Ok(Recovered::Over(Failure { log: log.tail(), ..failure }.into()));
        }
        if index + 1 >= spec.count {
            break;
        }
    }
    Ok(Recovered::Over(Outcome::succeeded_with("Succeeded", log.tail())))
}

/// How long the scripts of an event took that have a result.
pub fn took(layout: &Layout, deployment: &DeploymentId, event: &EventName) -> Result<Duration, HookError> {
    let mut took = Duration::ZERO;
    for index in 0.. {
        let Some(exit) = Exit::read(&layout.hook(deployment, event, index))? else { break };
        took += Duration::try_from(exit.ended.duration_since(exit.began)).unwrap_or_default();
    }
    Ok(took)
}

/// Lets go of all that is kept about a deployment's hooks.
pub fn forget(layout: &Layout, deployment: &DeploymentId) -> Result<(), HookError> {
    attach::remove(&layout.hooks(), deployment.as_str())
}

/// The failure in what became of a script, if it is one; its output goes to the event's.
fn judge(spec: &RunnerSpec, found: &Found, log: &mut EventLog) -> Option<Failure> {
    match found {
        // Neither has failed.
        Found::NotStarted | Found::Running(_) => None,
        Found::Exited(exit) => {
            if let Some(name) = &spec.unit
                && let Err(error) = units::tidy(name)
            {
                // The sweep comes by later.
                tracing::debug!(%error, unit = name.as_str(), "the service of a hook that is over was not let go");
            }
            if let Some(trouble) = &exit.log_trouble {
                tracing::warn!(script = spec.subject.name, "output is missing in the log files of a script: {trouble}");
            }
            log.add(&spec.subject.name, &exit.log);
            Verdict(spec).of_exit(exit)
        }
        Found::Lost(lost) => {
            log.add(&spec.subject.name, &lost.log);
            Some(Verdict(spec).of_loss(lost))
        }
    }
}
