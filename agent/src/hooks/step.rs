//! One script of an event: settled if it was begun before, else checked and given to a runner.

use std::path::{Path, PathBuf};

use super::attach::{self, Found};
use super::invocation::{self, Become, Subject};
use super::record::{Limits, Logs, RUNNER_LOG, RunnerSpec, SPEC, ScriptRecord};
use super::report::{EventLog, Verdict};
use super::{DeploymentsLog, EventRequest, HookError, judge, preflight};
use crate::appspec::Script;
use crate::appspec::hooks::Sudo;
use crate::disk::{self, Dir};
use crate::outcome::{ErrorCode, Failure, tail};
use crate::process::{self, Account, Ended};
use crate::store;

/// One script of an event.
pub(super) struct Step<'a> {
    pub request: &'a EventRequest<'a>,
    /// Its place in the event, from 0.
    pub index: usize,
    pub script: &'a Script,
}

impl Step<'_> {
    /// The script's failure, whether it ran now or in an earlier life; nothing if it succeeded.
    pub(super) fn settle_or_run(&self, log: &mut EventLog) -> Result<Option<Failure>, HookError> {
        let dir = self.dir();
        let found = attach::settle(&dir)?;
        if !matches!(found, Found::NotStarted) {
            // What the runner was told, if it can still be read, is what the result is about.
            let spec = store::read(&dir.join(SPEC))?.unwrap_or_else(|| self.spec(Become::Nobody));
            return Ok(judge(&spec, &found, log));
        }
        let unfit = |code, message| Ok(Some(Verdict(&self.spec(Become::Nobody)).failure(code, message)));
        if let Err(error) = preflight::check(self.request.revision, self.script) {
            return unfit(error.code, error.message);
        }
        let user = match self.user()? {
            Ok(user) => user,
            Err(message) => return unfit(ErrorCode::UnknownError, message),
        };
        let spec = self.spec(user);
        let how = self.run(&spec)?;
        match attach::settle(&dir)? {
            Found::NotStarted => Err(HookError::RunnerFailed {
                script: self.script.written.clone(),
                how: match how {
                    Ended::Exit(code) => format!("exit code {code}"),
                    Ended::Signal(signal) => format!("signal {signal}"),
                },
                said: runner_said(&dir.join(RUNNER_LOG))?,
            }),
            found => Ok(judge(&spec, &found, log)),
        }
    }

    fn run(&self, spec: &RunnerSpec) -> Result<Ended, HookError> {
        for log in [Some(&spec.logs.scripts), spec.logs.deployments.as_ref()].into_iter().flatten() {
            if let Some(parent) = log.parent() {
                Dir::open_or_create(parent, 0o755)?;
            }
        }
        let path = self.dir();
        let dir = Dir::open_or_create(&path, 0o700)?;
        store::write(&path.join(SPEC), spec)?;
        dir.remove_tree(RUNNER_LOG)?;
        let errors = dir.create_file(RUNNER_LOG, 0o600)?;
        let arguments = ["hook-runner".as_ref(), path.as_os_str()];
        Ok(process::start_in_background(&self.request.settings.runner, &arguments, errors)?.wait()?)
    }

    fn spec(&self, user: Become) -> RunnerSpec {
        let EventRequest { layout, spec, event, revision, scripts_of, settings, .. } = *self.request;
        let script = self.script;
        let base = invocation::inherited(&settings.environment, settings.inherit);
        let subject = Subject { spec, event, script, revision };
        let mut program = invocation::program(subject, user, base, &self.dir());
        program.directory.clone_from(&settings.directory);
        RunnerSpec {
            deployment: spec.deployment_id.clone(),
            group: spec.group_id.clone(),
            event: event.clone(),
            index: self.index,
            count: self.request.scripts.len(),
            subject: ScriptRecord {
                name: script.written.clone(),
                path: revision.root().join(script.location.as_path()),
                user: self.user_name().cloned(),
                scripts_of: scripts_of.clone(),
            },
            program,
            limits: Limits {
                timeout: script.timeout,
                kill_grace: settings.kill_grace,
                output_grace: settings.output_grace,
            },
            logs: Logs {
                scripts: layout.scripts_log(&spec.group_id, &spec.deployment_id),
                deployments: match settings.deployments_log {
                    DeploymentsLog::Written => Some(layout.deployments_log()),
                    DeploymentsLog::Off => None,
                },
            },
        }
    }

    fn dir(&self) -> PathBuf {
        self.request.layout.hook(&self.request.spec.deployment_id, self.request.event, self.index)
    }

    fn user_name(&self) -> Option<&String> {
        self.script.runas.as_ref().or(self.request.settings.default_user.as_ref())
    }

    /// How the script becomes its user, or why it cannot.
    fn user(&self) -> Result<Result<Become, String>, HookError> {
        let Some(name) = self.user_name() else {
            let sudo = self.script.sudo == Sudo::Yes && !process::is_root();
            return Ok(Ok(if sudo { Become::Sudo(None) } else { Become::Nobody }));
        };
        let what = format!("Script at specified location: {} is to run as the user {name:?}, but", self.script.written);
        let Some(account) = Account::find(name)? else {
            return Ok(Err(format!(
                "{what} this host has no such user: create the user, or correct `runas` (line {} of the AppSpec).",
                self.script.at.line
            )));
        };
        Ok(if process::is_root() || account.is_own() {
            Ok(Become::Account(account))
        } else if self.script.sudo == Sudo::Yes {
            Ok(Become::Sudo(Some(account.name)))
        } else {
            Err(format!(
                "{what} slipway-agent does not run as root: run it as root, or allow it `sudo -u {name}` and write \
                 `sudo: true` beside `runas`."
            ))
        })
    }
}

fn runner_said(path: &Path) -> Result<String, HookError> {
    let text = disk::read_if_exists(path, 64 << 10)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Ok(match text.trim() {
        "" => "it said nothing".to_owned(),
        said => tail(said, 500).trim_end_matches('.').to_owned(),
    })
}
