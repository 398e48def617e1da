//! Programs of the host that run as scripts do, each under a runner of its own: so they outlive the agent, and their
//! true result is known to its next life.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attach::{self, Found};
use super::invocation::{self, Inherit, MARK};
use super::record::{Limits, RunnerSpec, ScriptRecord, ScriptsOf};
use super::report::{EventLog, Verdict};
use super::{HookError, HookSettings, Ran, Wish, Wishes, judge, step};
use crate::ids::{DeploymentId, EventName, GroupId};
use crate::layout::Layout;
use crate::outcome::{Failure, Outcome};
use crate::process::Program;

/// A program of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostProgram {
    /// Its file.
    pub path: PathBuf,
    /// What follows its name.
    pub args: Vec<String>,
    /// What its environment has besides the agent's own.
    pub environment: &'static [(&'static str, &'static str)],
    /// How long it may take.
    pub timeout: Duration,
}

impl HostProgram {
    /// As one would type it.
    pub fn shown(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        [&[name.into_owned()], &self.args[..]].concat().join(" ")
    }
}

/// Programs that one command runs.
#[derive(Clone, Copy, Debug)]
pub struct ProgramsRequest<'a> {
    /// Where everything is.
    pub layout: &'a Layout,
    /// The group whose command it is.
    pub group: &'a GroupId,
    /// The deployment whose command it is.
    pub deployment: &'a DeploymentId,
    /// What the command is recorded as.
    pub event: &'a EventName,
    /// In their order.
    pub programs: &'a [HostProgram],
    /// How hooks run on this host.
    pub settings: &'a HookSettings,
    /// What whoever waits for them is asked for meanwhile. One that has begun is not cut off.
    pub wishes: &'a Wishes,
}

/// Runs programs in order until one fails. Those that an earlier life has begun are not run again, as with scripts.
pub fn run_programs(request: &ProgramsRequest<'_>) -> Result<Ran, HookError> {
    let ProgramsRequest { layout, deployment, event, programs, settings, wishes, .. } = *request;
    let mut log = EventLog::begin(event);
    for (index, program) in programs.iter().enumerate() {
        let dir = layout.hook(deployment, event, index);
        let spec = request.spec(index, program, &dir);
        let found = match (attach::look(&dir)?, wishes.made()) {
            (Found::NotStarted, None) => {
                step::begin(settings, &spec, &dir)?;
                attach::look(&dir)?
            }
            (Found::NotStarted, Some(Wish::HandOver)) => return Ok(Ran::HandedOver),
            (Found::NotStarted, Some(Wish::Cancel(reason))) => {
                return Ok(Ran::Over(Verdict(&spec).not_begun(&reason).into()));
            }
            (found, _) => found,
        };
        let Some(found) = step::wait(&dir, found, wishes)? else { return Ok(Ran::HandedOver) };
        if let Some(failure) = judge(&spec, &found, &mut log) {
            return Ok(Ran::Over(Failure { log: log.tail(), ..failure }.into()));
        }
    }
    Ok(Ran::Over(Outcome::succeeded_with("Succeeded", log.tail())))
}

impl ProgramsRequest<'_> {
    fn spec(&self, index: usize, program: &HostProgram, dir: &Path) -> RunnerSpec {
        let Self { layout, group, deployment, event, programs, settings, .. } = *self;
        let mut environment = invocation::inherited(&settings.environment, Inherit::AllButLoader);
        let added = program.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        environment.0.extend(added);
        invocation::name_own_user(&mut environment);
        environment.0.entry("PATH".to_owned()).or_insert_with(|| invocation::DEFAULT_PATH.to_owned());
        environment.0.insert(MARK.to_owned(), dir.display().to_string());
        RunnerSpec {
            deployment: deployment.clone(),
            group: group.clone(),
            event: event.clone(),
            index,
            count: programs.len(),
            subject: ScriptRecord {
                name: program.shown(),
                path: program.path.clone(),
                user: None,
                scripts_of: ScriptsOf::Host,
            },
            program: Program {
                path: program.path.clone(),
                args: program.args.clone(),
                environment,
                directory: PathBuf::from("/"),
                account: None,
                umask: None,
                limits: Vec::new(),
                priority: None,
            },
            limits: Limits {
                timeout: program.timeout,
                kill_grace: settings.kill_grace,
                output_grace: settings.output_grace,
                memory_max: None,
                cpu_quota_percent: None,
            },
            unit: settings.unit(deployment, event, index),
            logs: settings.logs(layout, group, deployment),
            core_dumps: settings.core_dumps,
            recording: None,
        }
    }
}
