//! Revisions on this host: the one of a deployment, and its AppSpec.

use super::events::{check_events, never_run};
use super::failure::StageError;
use super::{Engine, scripts_ahead};
use crate::appspec::{self, AppSpec};
use crate::deployment::DeploymentSpec;
use crate::disk::Dir;
use crate::outcome::{WarningKind, Warnings};
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
