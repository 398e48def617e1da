//! Revisions on this host: the one of a deployment, and its AppSpec.

use std::path::{Path, PathBuf};

use super::Engine;
use super::failure::StageError;
use crate::appspec::{self, AppSpec};
use crate::deployment::{DeploymentSpec, RelativePath};
use crate::disk::{self, Dir, Kind};
use crate::revision::Revision;

/// Longest AppSpec that is read, in bytes.
const MAX_APPSPEC: u64 = 1 << 20;

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
            tracing::debug!(deployment = %spec.deployment_id, "{warning}");
        }
        Ok(parsed.spec)
    }
}

/// Finds and reads the AppSpec in a revision's root. Answers its path there, and its text.
pub(super) fn read_appspec(root: &Dir, wanted: &RelativePath) -> Result<(PathBuf, Vec<u8>), StageError> {
    let names: Vec<String> =
        root.entries()?.into_iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
    let is_file = |path: &Path| root.stat(path).is_ok_and(|stat| stat.kind == Kind::File);
    let name = appspec::locate(wanted, &names, is_file)?;
    let text = disk::read_bounded_at(root, &name, MAX_APPSPEC)?;
    Ok((name, text))
}
