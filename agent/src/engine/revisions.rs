//! Revisions on this host: the one of a deployment, and its AppSpec.

use super::events::{check_events, never_run};
use super::failure::StageError;
use super::{Engine, scripts_ahead};
use crate::appspec::{self, AppSpec};
use crate::deployment::{DeploymentSpec, OtherAppSpec, RevisionSource};
use crate::disk::Dir;
use crate::outcome::{WarningKind, Warnings};
use crate::revision::{Revision, read_appspec};
use crate::unpack;

/// Names that are listed where one is missed.
const LISTED: usize = 20;

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

    /// What the bundle of a deployment may hold, and whose it becomes. A directory of this host is copied as this
    /// process's own, as AWS's tool does: whose it is there says who works on it, and not whose the files are to be.
    pub(super) fn unpack_policy(&self, spec: &DeploymentSpec) -> unpack::Policy {
        match spec.source {
            RevisionSource::LocalDirectory { .. } => {
                unpack::Policy { ownership: unpack::Ownership::Own, ..self.policy.unpack }
            }
            _ => self.policy.unpack,
        }
    }

    /// A revision's AppSpec: the file that the deployment names, or one of the usual names.
    pub(super) fn appspec(&self, revision: &Revision, spec: &DeploymentSpec) -> Result<AppSpec, StageError> {
        let root = Dir::open(revision.root())?;
        let (name, text) = read_appspec(&root, &spec.appspec_filename)?;
        Ok(appspec::parse(&text, &name.display().to_string())?.spec)
    }

    /// The AppSpec of a revision that was just unpacked, held to what its deployment runs. What of it is ignored is
    /// told once in a deployment, here.
    pub(super) fn new_appspec(
        &self,
        revision: &Revision,
        spec: &DeploymentSpec,
        warnings: &mut Warnings,
    ) -> Result<AppSpec, StageError> {
        let root = Dir::open(revision.root())?;
        require_named_appspec(&root, spec)?;
        let (name, text) = read_appspec(&root, &spec.appspec_filename)?;
        let name = name.display().to_string();
        let parsed = appspec::parse(&text, &name)?;
        let ignored = parsed.warnings.iter().map(|warning| (warning.at, warning.message.clone()));
        let mut found: Vec<_> = ignored.chain(never_run(&parsed.own_events, spec)).collect();
        found.sort_by_key(|(at, _)| *at);
        for (at, text) in found {
            warnings.add(WarningKind::AppSpec, format!("{name}:{at}: {text}"));
        }
        check_events(&parsed.spec, spec)?;
        scripts_ahead::check(revision, &parsed.spec, spec, warnings)?;
        Ok(parsed.spec)
    }
}

/// Holds the revision that a deployment brings to the name of its AppSpec, where only that one will do.
fn require_named_appspec(root: &Dir, spec: &DeploymentSpec) -> Result<(), StageError> {
    if spec.other_appspec == OtherAppSpec::Taken || root.stat_if_exists(spec.appspec_filename.as_path())?.is_some() {
        return Ok(());
    }
    let mut found: Vec<String> =
        root.entries()?.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
    found.sort();
    found.truncate(LISTED);
    Err(StageError::NoNamedAppSpec { wanted: spec.appspec_filename.clone(), found: found.join(", ") })
}
