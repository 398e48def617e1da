//! Revisions on this host: the one of a deployment, and its AppSpec.

use super::Engine;
use super::failure::StageError;
use crate::appspec::{self, AppSpec};
use crate::deployment::DeploymentSpec;
use crate::disk::Dir;
use crate::revision::{Revision, read_appspec};

impl Engine {
    /// The revision that this deployment brought.
    pub(super) fn current_revision(&self, spec: &DeploymentSpec) -> Result<Revision, StageError> {
        let root = self.layout.archive(&spec.group_id, &spec.deployment_id);
        match Dir::open(&root) {
            Ok(_) => Ok(Revision::at(root)),
            Err(error) if error.is_not_found() => {
                Err(StageError::NoRevision { deployment: spec.deployment_id.clone(), root })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A revision's AppSpec: the file that the deployment names, or one of the usual names.
    pub(super) fn appspec(&self, revision: &Revision, spec: &DeploymentSpec) -> Result<AppSpec, StageError> {
        let root = Dir::open(revision.root())?;
        let (name, text) = read_appspec(&root, &spec.appspec_filename)?;
        let parsed = appspec::parse(&text, &name.display().to_string())?;
        for warning in &parsed.warnings {
            tracing::debug!("{warning}");
        }
        Ok(parsed.spec)
    }
}
