//! Going back to the last good revision by itself, before a failed event is reported: `on_failure: restore`.
//!
//! It is a deployment of its own, of a retained revision, under the failed one's id with `-restore` behind it:
//! cut off, it goes on where it was, like every other.

use std::time::{Duration, Instant};

use slipway_protocol::specification as wire;

use super::{Engine, Execution, Life, Order, StageError};
use crate::deployment::{DeploymentSpec, RevisionSource};
use crate::disk::Dir;
use crate::hooks::{self, Wishes};
use crate::ids::{DeploymentId, EventName, GroupId, HostCommandId};
use crate::lifecycle::Command;
use crate::outcome::{Failure, Outcome, Warnings};
use crate::store::{self, Who};

/// How long a service waits for one event, by AWS's limits: an hour for its scripts and ten minutes more.
const SERVICE_WAITS: Duration = Duration::from_secs(4200);
/// What is left for the report.
const FOR_REPORT: Duration = Duration::from_secs(60);

/// What the host does when an event after Install fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It reports the failure, and leaves the rest to whoever is told.
    Report,
    /// It goes back to the last good revision first.
    Restore,
}

/// Events that come before Install: what was there before is still there when one of them fails.
const BEFORE_INSTALL: [&str; 4] = ["BeforeBlockTraffic", "AfterBlockTraffic", "ApplicationStop", "BeforeInstall"];

/// What is done, in order. What the failed revision's own stop script says changes nothing.
const STEPS: [&str; 6] =
    ["ApplicationStop", "DownloadBundle", "Install", "AfterInstall", "ApplicationStart", "ValidateService"];

/// The deployment that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed<'a> {
    pub group: &'a GroupId,
    pub deployment: &'a DeploymentId,
    pub event: &'a EventName,
}

impl Engine {
    /// What is to be reported of an event: a failure after Install comes with what the host did about it. The
    /// caller holds the group's lock.
    pub(super) fn with_restore(&self, failed: Failed<'_>, outcome: Outcome, wishes: &Wishes) -> Execution {
        let Outcome::Failed(failure) = outcome else { return Execution::Over(outcome) };
        // A deployment that was cancelled has ended; what follows from its failure was not.
        wishes.grant_cancel();
        match self.restore(failed, wishes) {
            Ok(None) => Execution::Over(failure.into()),
            Ok(Some(Restored::HandedOver)) => Execution::HandedOver,
            Ok(Some(Restored::To(good))) => {
                told(failure, &format!("The host is back at the revision of deployment {good} (on_failure: restore)."))
            }
            Err(error) => told(
                failure,
                &format!(
                    "Going back to the last good revision (on_failure: restore) failed too: {error}. Look at the host: \
                     `slipway-agent status` says what is installed, `slipway-agent rollback --group {}` tries again.",
                    failed.group
                ),
            ),
        }
    }

    /// Nothing where that is not wanted, or the event is one before Install.
    fn restore(&self, failed: Failed<'_>, wishes: &Wishes) -> Result<Option<Restored>, StageError> {
        if self.policy.on_failure == OnFailure::Report || BEFORE_INSTALL.contains(&failed.event.as_str()) {
            return Ok(None);
        }
        let id = DeploymentId::parse(&format!("{}-restore", failed.deployment))
            .map_err(|error| StageError::Restore(error.to_string()))?;
        let markers = store::read_markers(&self.layout, failed.group)?;
        // A restore that was cut off may have installed its revision already.
        let installed = markers.last_successful.as_ref().map(|mark| &mark.deployment);
        if installed != Some(failed.deployment) && installed != Some(&id) {
            return Ok(None);
        }
        let is_there = |deployment: &DeploymentId| Dir::open(self.layout.archive(failed.group, deployment)).is_ok();
        let mut others = markers.good.iter().map(|mark| &mark.deployment);
        let good = others
            .find(|good| *good != failed.deployment && **good != id && is_there(good))
            .cloned()
            .ok_or_else(|| StageError::NothingGood(failed.group.clone()))?;
        tracing::warn!(
            to = %good,
            "the event failed after Install; the host goes back to its last good revision"
        );
        let spec = restoring(id, failed.group, markers.who, &good)?;
        let took = hooks::took(&self.layout, failed.deployment, failed.event)?;
        let until = Instant::now() + SERVICE_WAITS.saturating_sub(took + FOR_REPORT);
        for name in STEPS {
            if Instant::now() >= until {
                return Err(StageError::RestoreTooLate { step: name });
            }
            match self.restore_step(&spec, name, until, wishes)? {
                Execution::HandedOver => return Ok(Some(Restored::HandedOver)),
                Execution::Over(Outcome::Succeeded { .. }) => {}
                Execution::Over(Outcome::Failed(failure)) if name == "ApplicationStop" => {
                    tracing::warn!(
                        "the failed revision could not be stopped, and is replaced all the same: {}",
                        failure.message
                    );
                }
                Execution::Over(Outcome::Failed(failure)) => {
                    return Err(StageError::RestoreFailed { step: name, message: failure.message });
                }
            }
        }
        self.note_end(&spec);
        Ok(Some(Restored::To(good)))
    }

    fn restore_step(
        &self,
        spec: &DeploymentSpec,
        name: &str,
        until: Instant,
        wishes: &Wishes,
    ) -> Result<Execution, StageError> {
        let command = Command::parse(name).map_err(|error| StageError::Restore(error.to_string()))?;
        let id = HostCommandId::new(format!("restore/{}/{name}", spec.deployment_id));
        // Again, since it may be: a script that has begun is not begun a second time.
        let order = Order { id, command, spec: spec.clone(), life: Life::Again };
        // They were told when that revision was deployed.
        let mut known = Warnings::default();
        match &order.command {
            Command::DownloadBundle => self.download(spec, wishes, &mut known),
            Command::Install => self.install(spec, wishes, &mut known),
            Command::Hook(event) => Ok(self.event_until(&order, event, Some(until), wishes)),
            Command::UpdateAgent => Err(StageError::UpdateRefused),
        }
    }
}

/// How a restore ended.
enum Restored {
    /// The revision of this deployment is installed and runs.
    To(DeploymentId),
    /// A script of it goes on without the agent.
    HandedOver,
}

/// The deployment that brings `good` back.
fn restoring(
    id: DeploymentId,
    group: &GroupId,
    who: Option<Who>,
    good: &DeploymentId,
) -> Result<DeploymentSpec, StageError> {
    let who = who.unwrap_or_else(|| Who { application: "unknown".into(), group: "unknown".into() });
    let spec = wire::DeploymentSpecification {
        deployment_id: Some(id.to_string()),
        deployment_group_id: Some(group.to_string()),
        deployment_group_name: Some(who.group),
        application_name: Some(who.application),
        deployment_creator: Some("codeDeployRollback".to_owned()),
        ..wire::DeploymentSpecification::default()
    };
    DeploymentSpec::local(spec, RevisionSource::Retained(good.clone()))
        .map_err(|error| StageError::Restore(error.to_string()))
}

fn told(failure: Failure, more: &str) -> Execution {
    let message = format!("{} {more}", failure.message);
    Execution::Over(Failure { message, ..failure }.into())
}
