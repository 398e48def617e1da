//! One script of an event: settled if it was begun before, else checked and given to a runner.

use std::path::{Path, PathBuf};

use super::attach::{self, Found, Waited};
use super::invocation::{self, Become, Subject};
use super::launch;
use super::login::Login;
use super::preflight::Mended;
use super::ran::ran;
use super::record::{CoreDumps, Limits, RunnerSpec, SPEC, ScriptRecord, ScriptsOf};
use super::report::{EventLog, Verdict};
use super::wishes::{Wish, Wishes};
use super::{EventRequest, HookError, HookSettings, Pam, judge, preflight};
use crate::appspec::Script;
use crate::appspec::hooks::Sudo;
use crate::disk::Dir;
use crate::outcome::{ErrorCode, Failure, WarningKind, Warnings};
use crate::process::{self, Account, Resource};
use crate::store;

/// One script of an event.
pub(super) struct Step<'a> {
    pub request: &'a EventRequest<'a>,
    /// Its place in the event, from 0.
    pub index: usize,
    pub script: &'a Script,
}

/// What became of a script.
pub(super) enum Stepped {
    /// It has succeeded, now or in an earlier life.
    Succeeded,
    /// It has failed, now or in an earlier life.
    Failed(Failure),
    /// It goes on without the agent.
    HandedOver,
}

impl Step<'_> {
    /// Runs the script, or waits for it, or takes the result that it has.
    pub(super) fn settle_or_run(&self, log: &mut EventLog, warnings: &mut Warnings) -> Result<Stepped, HookError> {
        let dir = self.dir();
        let (spec, found) = match attach::look(&dir)? {
            Found::NotStarted => {
                let spec = match self.prepare(warnings)? {
                    Ok(spec) => spec,
                    Err(unfit) => return Ok(Stepped::Failed(unfit)),
                };
                if let Some(wish) = self.request.wishes.made() {
                    return Ok(match wish {
                        Wish::HandOver => Stepped::HandedOver,
                        Wish::Cancel(reason) => Stepped::Failed(Verdict(&spec).not_begun(&reason)),
                    });
                }
                begin(self.request.settings, &spec, &dir)?;
                (spec, attach::look(&dir)?)
            }
            // What the runner was told, if it can still be read, is what the result is about.
            found => (store::read(&dir.join(SPEC))?.unwrap_or_else(|| self.spec(Become::Nobody)), found),
        };
        Ok(match wait(&dir, found, self.request.wishes)? {
            None => Stepped::HandedOver,
            Some(found) => match judge(&spec, &found, log) {
                Some(failure) => Stepped::Failed(failure),
                None => Stepped::Succeeded,
            },
        })
    }

    /// What the runner is to be told, or what keeps the script from being run.
    fn prepare(&self, warnings: &mut Warnings) -> Result<Result<RunnerSpec, Failure>, HookError> {
        let unfit = |code, message| Ok(Err(Verdict(&self.spec(Become::Nobody)).failure(code, message)));
        match preflight::check(self.request.revision, self.script) {
            Ok(Mended::Nothing) => {}
            Ok(Mended::Mode) => {
                let text = format!("the script {} was not executable and was made so", self.script.written);
                warnings.add(WarningKind::Script, text);
            }
            Err(error) => {
                let message = format!("{}{}", error.message, self.remover(error.code));
                return unfit(error.code, message);
            }
        }
        // A script with another environment than it should have is not run.
        self.request.settings.profile.evaluate()?;
        match self.user()? {
            Ok(user) => {
                let mut spec = self.spec(user);
                if let Some(recording) = &mut spec.recording {
                    recording.bundle_key = store::read_bundle_key(&self.request.revision.bundle_key())?;
                }
                Ok(Ok(spec))
            }
            Err(message) => unfit(ErrorCode::UnknownError, message),
        }
    }

    fn spec(&self, user: Become) -> RunnerSpec {
        let EventRequest { layout, spec, event, revision, scripts_of, settings, .. } = *self.request;
        let script = self.script;
        let subject = Subject { spec, event, script, revision };
        let mut program = invocation::program(subject, user, settings.base(), &self.dir());
        program.directory.clone_from(&settings.directory);
        program.umask = program.umask.or(settings.profile.umask());
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
                memory_max: script.extensions.memory_max,
                cpu_quota_percent: script.extensions.cpu_quota_percent,
            },
            unit: settings.unit(&spec.deployment_id, event, self.index),
            logs: settings.logs(layout, &spec.group_id, &spec.deployment_id),
            core_dumps: settings.core_dumps,
            recording: settings.recording(layout, spec),
        }
    }

    fn dir(&self) -> PathBuf {
        self.request.layout.hook(&self.request.spec.deployment_id, self.request.event, self.index)
    }

    /// Whose doing it can be that a script is missing, where scripts of its revision have run before.
    fn remover(&self, code: ErrorCode) -> String {
        let EventRequest { layout, spec, scripts_of, .. } = *self.request;
        if code != ErrorCode::ScriptMissing || *scripts_of != ScriptsOf::ThisDeployment {
            return String::new();
        }
        match ran(layout, &spec.deployment_id) {
            Ok(ran) if !ran.is_empty() => {
                format!(" If the bundle has it, a script that ran before has removed it: look at {}.", ran.join(", "))
            }
            _ => String::new(),
        }
    }

    /// What `su` gives the user of `runas`. AWS's agent becomes the setting `user` without it.
    fn login(&self, account: &Account) -> Login {
        let settings = self.request.settings;
        if settings.pam == Pam::Off || self.script.runas.is_none() || !process::is_root() {
            return Login::default();
        }
        let mut login = Login::of(account);
        login.environment = invocation::inherited(&login.environment, settings.inherit);
        if settings.core_dumps == CoreDumps::Forbidden {
            login.limits.retain(|limit| limit.resource != Resource::Core);
        }
        login
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
            let login = self.login(&account);
            Ok(Become::Account(account, Box::new(login)))
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

/// Gives a script, or what else is to run like one, to a runner.
pub(super) fn begin(settings: &HookSettings, spec: &RunnerSpec, dir: &Path) -> Result<(), HookError> {
    for log in [Some(&spec.logs.scripts), spec.logs.deployments.as_ref()].into_iter().flatten() {
        if let Some(parent) = log.parent() {
            Dir::open_or_create(parent, 0o755)?;
        }
    }
    Dir::open_or_create(dir, 0o700)?;
    store::write(&dir.join(SPEC), spec)?;
    launch::launch(settings, spec, dir)
}

/// Waits for what runs, until it does not; nothing if it is to be left to its runner.
pub(super) fn wait(dir: &Path, mut found: Found, wishes: &Wishes) -> Result<Option<Found>, HookError> {
    loop {
        let attached = match found {
            Found::Running(attached) => attached,
            over => return Ok(Some(over)),
        };
        found = match attached.wait(wishes)? {
            Waited::Ended => attach::look(dir)?,
            Waited::Asked(Wish::Cancel(reason)) if is_of_host(dir)? => {
                tracing::warn!(reason, "a program of the host that has begun is not cut off");
                wishes.grant_cancel();
                Found::Running(attached)
            }
            Waited::Asked(Wish::Cancel(reason)) => attached.cancel(dir, reason)?,
            Waited::Asked(Wish::HandOver) => return Ok(None),
        };
    }
}

/// Whether what runs there is no script. A package manager that is ended leaves a host that somebody has to mend.
fn is_of_host(dir: &Path) -> Result<bool, HookError> {
    let spec = store::read::<RunnerSpec>(&dir.join(SPEC))?;
    Ok(spec.is_some_and(|spec| spec.subject.scripts_of == ScriptsOf::Host))
}
