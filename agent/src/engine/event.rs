//! Lifecycle events: which scripts run, and what their failure means for the revision.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::failure::StageError;
use super::restore::Failed;
use super::turn::{self, Turn};
use super::{Engine, Execution, Life, Order};
use crate::appspec::Script;
use crate::deployment::DeploymentSpec;
use crate::disk::Dir;
use crate::hooks::{self, EventRequest, Ran, Recovered, ScriptsOf, Wishes};
use crate::ids::{DeploymentId, EventName, GroupId};
use crate::ledger::Work;
use crate::lifecycle::{Command, CurrentRevision, ScriptSource, script_source};
use crate::outcome::Outcome;
use crate::revision::{NoAppSpec, Revision, read_appspec};
use crate::store;

/// What an event has to run.
pub(super) enum Scripts {
    /// Nothing: no revision, or no scripts in it for the event.
    None,
    /// These.
    Some {
        /// The revision that holds them.
        revision: Revision,
        /// The deployment that brought the revision.
        deployment: DeploymentId,
        /// In order; at least one.
        scripts: Vec<Script>,
    },
}

impl Engine {
    /// Runs an event's scripts, and goes back to the last good revision where one fails and the host is to.
    pub(super) fn event(&self, order: &Order, name: &EventName, wishes: &Wishes) -> Execution {
        let spec = &order.spec;
        match self.event_until(order, name, None, wishes) {
            Execution::HandedOver => Execution::HandedOver,
            Execution::Over(outcome) => {
                let failed = Failed { group: &spec.group_id, deployment: &spec.deployment_id, event: name };
                self.with_restore(failed, outcome, wishes)
            }
        }
    }

    /// Runs an event's scripts, none of which may take longer than `until`.
    pub(super) fn event_until(
        &self,
        order: &Order,
        name: &EventName,
        until: Option<Instant>,
        wishes: &Wishes,
    ) -> Execution {
        match self.run_scripts(order, name, until, wishes) {
            Ok(Ran::HandedOver) => Execution::HandedOver,
            Ok(Ran::Over(outcome)) => Execution::Over(self.judged(&order.spec, outcome)),
            Err(error) => Execution::Over(self.judged(&order.spec, error.into())),
        }
    }

    fn run_scripts(
        &self,
        order: &Order,
        name: &EventName,
        until: Option<Instant>,
        wishes: &Wishes,
    ) -> Result<Ran, StageError> {
        let spec = &order.spec;
        if let Some((deployment, revision)) = self.script_revision(spec, name)? {
            self.take_custody(spec, (&deployment, &revision))?;
        }
        let Scripts::Some { revision, deployment, mut scripts } = self.scripts(spec, name)? else {
            return Ok(Ran::Over(Outcome::succeeded()));
        };
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
            scripts.iter_mut().for_each(|script| script.timeout = script.timeout.min(left));
        }
        if order.life == Life::First {
            self.forget_runs(spec, name)?;
        }
        let scripts_of =
            if deployment == spec.deployment_id { ScriptsOf::ThisDeployment } else { ScriptsOf::Earlier(deployment) };
        let request = EventRequest {
            layout: &self.layout,
            spec,
            event: name,
            scripts: &scripts,
            revision: &revision,
            scripts_of: &scripts_of,
            settings: &self.policy.hooks,
            wishes,
        };
        Ok(hooks::run_event(&request)?)
    }

    /// Takes up what an earlier life was cut off in, by what its runners left: waits for what runs. Nothing where it
    /// is not over then, and for what has no runners.
    pub fn recover(&self, work: &Work, command: &Command, wishes: &Wishes) -> Option<Execution> {
        match command {
            Command::Hook(event) => self.recover_event(work, event, wishes),
            Command::UpdateAgent => self.recover_update(work, wishes),
            Command::DownloadBundle | Command::Install => None,
        }
    }

    fn recover_event(&self, work: &Work, name: &EventName, wishes: &Wishes) -> Option<Execution> {
        let Work { deployment, group, .. } = work;
        let waited = turn::wait(&self.layout.group_lock(group), deployment, wishes);
        let recovered = waited.and_then(|turn| match turn {
            Turn::Come(lock) => Ok(Some((lock, hooks::recover(&self.layout, deployment, name, wishes)?))),
            Turn::HandedOver => Ok(None),
        });
        let (_group, outcome) = match recovered {
            Ok(Some((lock, Recovered::Over(outcome)))) => (lock, outcome),
            Ok(Some((_, Recovered::NotStarted | Recovered::Partly))) => return None,
            Ok(Some((_, Recovered::HandedOver)) | None) => return Some(Execution::HandedOver),
            Err(error) => return Some(Execution::Over(self.withdrawn(group, deployment, error.into()))),
        };
        let outcome = self.withdrawn(group, deployment, outcome);
        Some(self.with_restore(Failed { group, deployment, event: name }, outcome, wishes))
    }

    fn judged(&self, spec: &DeploymentSpec, outcome: Outcome) -> Outcome {
        self.withdrawn(&spec.group_id, &spec.deployment_id, outcome)
    }

    /// A failed event takes its deployment out of those that the host goes back to.
    fn withdrawn(&self, group: &GroupId, deployment: &DeploymentId, outcome: Outcome) -> Outcome {
        if matches!(outcome, Outcome::Failed(_))
            && let Err(error) = store::withdraw_good(&self.layout, group, deployment)
        {
            tracing::error!(%error, "the deployment failed and still counts as good");
        }
        outcome
    }

    /// The scripts that an event runs, and whose they are.
    pub(super) fn scripts(&self, spec: &DeploymentSpec, name: &EventName) -> Result<Scripts, StageError> {
        let Some((deployment, revision)) = self.script_revision(spec, name)? else { return Ok(Scripts::None) };
        let appspec = self.appspec(&revision, spec).map_err(|error| {
            if deployment == spec.deployment_id {
                return self.emptied(spec, &revision).unwrap_or(error);
            }
            StageError::OfAnother {
                source: Box::new(error),
                deployment: deployment.clone(),
                group: spec.group_id.clone(),
            }
        })?;
        Ok(match appspec.hooks.get(name) {
            Some(scripts) if !scripts.is_empty() => Scripts::Some { revision, deployment, scripts: scripts.clone() },
            _ => Scripts::None,
        })
    }

    /// Where a script has removed the AppSpec from its own revision: that is what went wrong.
    fn emptied(&self, spec: &DeploymentSpec, revision: &Revision) -> Option<StageError> {
        let root = Dir::open(revision.root()).ok()?;
        if !matches!(read_appspec(&root, &spec.appspec_filename), Err(NoAppSpec::NotFound(_))) {
            return None;
        }
        // No script of the revision could run without it.
        let last = hooks::ran(&self.layout, &spec.deployment_id).ok()?.into_iter().next()?;
        let left = match root.entries().ok()?.len() {
            0 => "which is empty".to_owned(),
            1 => "in which one entry is left".to_owned(),
            entries => format!("in which {entries} entries are left"),
        };
        Some(StageError::Emptied { root: revision.root().to_owned(), left, last })
    }

    fn script_revision(
        &self,
        spec: &DeploymentSpec,
        name: &EventName,
    ) -> Result<Option<(DeploymentId, Revision)>, StageError> {
        let own = Revision::at(self.layout.archive(&spec.group_id, &spec.deployment_id));
        let current =
            if Dir::open(own.root()).is_ok() { CurrentRevision::Unpacked } else { CurrentRevision::NotUnpacked };
        let source = script_source(name, spec.situation, current);
        let markers = store::read_markers(&self.layout, &spec.group_id)?;
        let marker = match source {
            ScriptSource::Current => {
                return self.current_revision(spec).map(|own| Some((spec.deployment_id.clone(), own)));
            }
            ScriptSource::LastSuccessful => markers.last_successful,
            ScriptSource::MostRecent => markers.most_recent,
        };
        let Some(deployment) = marker.map(|mark| mark.deployment) else { return Ok(None) };
        let revision = Revision::at(self.layout.archive(&spec.group_id, &deployment));
        match Dir::open(revision.root()) {
            Ok(_) => Ok(Some((deployment, revision))),
            Err(error) if error.is_not_found() => {
                self.warn_once_of_gone(spec, &deployment);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Several events of a deployment ask for the same revision, each more than once.
    fn warn_once_of_gone(&self, spec: &DeploymentSpec, deployment: &DeploymentId) {
        let asked = Some((spec.deployment_id.clone(), deployment.clone()));
        let mut told = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != asked {
            tracing::warn!(of = %deployment, "the revision whose scripts would run is no longer on this host");
            *told = asked;
        }
    }

    /// Records of an earlier run belong to another order when this one is new.
    pub(super) fn forget_runs(&self, spec: &DeploymentSpec, name: &EventName) -> Result<(), StageError> {
        let runs = self.layout.hooks().join(spec.deployment_id.as_str());
        let dir = match Dir::open(&runs) {
            Ok(dir) => dir,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let prefix = format!("{name}-");
        for entry in dir.entries()? {
            if entry.name.to_str().is_some_and(|run| run.starts_with(&prefix)) {
                dir.remove_tree(&entry.name)?;
            }
        }
        Ok(())
    }
}
