//! Which deployments a host can go back to: those that ended well, and no other.
//!
//! An installed deployment is on trial until its last event has succeeded. The service says of no event that it is the
//! last one: with a load balancer or in a blue-green deployment that is AfterAllowTraffic, else ValidateService.

use super::{Engine, StageError};
use crate::deployment::DeploymentSpec;
use crate::ids::{DeploymentId, GroupId};
use crate::ledger::Ledger;
use crate::lifecycle::{Command, Traffic, last_event};
use crate::store::{self, Proof};

impl Engine {
    /// Puts a deployment on trial that is installed now.
    pub(super) fn put_on_trial(&self, spec: &DeploymentSpec) -> Result<(), StageError> {
        let is_shielded = ["BeforeBlockTraffic", "AfterBlockTraffic"];
        let begun = Ledger::look(&self.layout).has_begun(&spec.deployment_id, &is_shielded).unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known whether a load balancer is in front of this host");
            false
        });
        let traffic = if begun { Traffic::Blocked } else { Traffic::Untouched };
        let until = last_event(spec.situation, traffic, spec.all_possible_lifecycle_events.as_deref());
        store::put_on_trial(&self.layout, &spec.group_id, &spec.deployment_id, &until)?;
        Ok(())
    }

    /// Takes note that a command of the service succeeded: with the last one, its deployment has ended well.
    pub fn note_success(&self, group: &GroupId, deployment: &DeploymentId, command: &Command) {
        if let Command::Hook(event) = command {
            self.prove(group, deployment, Proof::Event(event));
        }
    }

    /// Takes note that all commands of a deployment succeeded.
    pub fn note_end(&self, spec: &DeploymentSpec) {
        self.prove(&spec.group_id, &spec.deployment_id, Proof::WholeDeployment);
    }

    pub(super) fn prove(&self, group: &GroupId, deployment: &DeploymentId, proof: Proof<'_>) {
        if let Err(error) = store::mark_last_good(&self.layout, group, deployment, proof) {
            tracing::error!(%error, %deployment, "the deployment ended well, and a rollback will not find it");
        }
    }
}
