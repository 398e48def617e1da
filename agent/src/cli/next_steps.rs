//! What to do after a deployment has failed: the commands, ready to be typed.

use super::rollback;
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;
use crate::store::{Markers, StoreError, read_markers};

/// What is on the host after a deployment failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Aftermath {
    /// The deployment whose files are there.
    pub(super) installed: Option<DeploymentId>,
    /// Where `rollback` would go, where the failed revision is the one that is installed.
    pub(super) rollback_to: Option<DeploymentId>,
}

impl Aftermath {
    /// Of a failed deployment to a group.
    pub(super) fn read(layout: &Layout, group: &GroupId, failed: Option<&DeploymentId>) -> Result<Self, StoreError> {
        Ok(Self::by(layout, group, failed, &read_markers(layout, group)?))
    }

    /// The same by markers that were read.
    pub(super) fn by(layout: &Layout, group: &GroupId, failed: Option<&DeploymentId>, markers: &Markers) -> Self {
        let installed = markers.last_successful.as_ref().map(|mark| mark.deployment.clone());
        let is_failed = installed.is_some() && installed.as_ref() == failed;
        let rollback_to = if is_failed { rollback::target(layout, group, markers) } else { None };
        Self { installed, rollback_to }
    }

    /// What to do next, a line each.
    pub(super) fn next_steps(&self, failed: Option<&DeploymentId>, group: Option<&GroupId>) -> Vec<String> {
        let mut steps = Vec::new();
        if let Some(failed) = failed {
            steps.push(step(&format!("slipway-agent logs {failed}"), "shows what its scripts said"));
        }
        match (group, &self.rollback_to, &self.installed) {
            (Some(group), Some(to), _) => {
                steps.push(step(&format!("slipway-agent rollback --group {group}"), &format!("goes back to {to}")));
            }
            (Some(_), None, Some(installed)) if Some(installed) != failed => {
                steps.push(format!("{installed} is installed: deploy again once this is mended"));
            }
            _ => steps.push("deploy again once this is mended".to_owned()),
        }
        steps
    }
}

/// A command and what it does.
pub(super) fn step(command: &str, what: &str) -> String {
    format!("{command:<38} {what}")
}

/// Next steps as they stand below what happened.
pub(super) fn listed(steps: &[String]) -> String {
    let mut out = String::new();
    for (n, step) in steps.iter().enumerate() {
        // Commands stay whole, so that they can be copied.
        out.push_str(if n == 0 { "  next  " } else { "        " });
        out.push_str(step);
        out.push('\n');
    }
    out
}
