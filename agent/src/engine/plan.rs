//! What a deployment would install, up to the point where it would begin to.

use std::path::Path;

use super::Engine;
use super::admission::Purpose;
use super::download::{Obtained, content, scripts_of};
use super::failure::StageError;
use crate::bundle::Acquired;
use crate::deployment::DeploymentSpec;
use crate::disk::{self, Dir, Lock};
use crate::ids::DeploymentId;
use crate::install::{self, Cause, InstallError};
use crate::outcome::{WarningKind, Warnings};
use crate::plan::{Blocked, Conflict, Conflicts, Plan};
use crate::process::StopSignal;
use crate::revision::Revision;
use crate::unpack;

/// What a deployment would install.
#[derive(Debug)]
pub struct Planned {
    /// What Install would do now, or what keeps it from doing that.
    pub plan: Result<Plan, Box<Blocked>>,
    /// The revision, unpacked below the scratch directory.
    pub revision: Revision,
    /// The deployment of the same group whose files are on the host now.
    pub previous: Option<DeploymentId>,
    /// What people should know, beyond the warnings of the plan.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Fetches and unpacks a deployment's revision into `scratch`, an existing empty directory, and says
    /// what Install would do with it now. Waits for whoever works on the group, or on any path; changes
    /// nothing outside of `scratch`.
    pub fn plan(&self, spec: &DeploymentSpec, scratch: &Dir) -> Result<Planned, StageError> {
        let bundle = scratch.path().join("bundle");
        let obtained = self.obtain(spec, &bundle, Purpose::Look, &StopSignal::default())?;
        let policy = &self.unpack_policy(spec);
        let staged = unpack::into_scratch(content(&obtained), scratch, &spec.appspec_filename, policy, |root| {
            scripts_of(root, spec)
        })?;
        if matches!(obtained, Obtained::Acquired { acquired: Acquired::Fetched(_), .. }) {
            disk::remove_if_exists(&bundle)?;
        }
        let mut found = Warnings::default();
        staged.report.warnings.iter().for_each(|warning| found.add(WarningKind::Bundle, warning));
        for script in &staged.made_executable {
            found.add(
                WarningKind::Script,
                format!("the script {script} is not executable in the bundle and is made so"),
            );
        }
        let appspec = self.new_appspec(&staged.revision, spec, &mut found)?;
        let mut warnings: Vec<String> = found.lines().collect();
        let _group = wait_where_there_is(&self.layout.group_lock(&spec.group_id))?;
        let _paths = wait_where_there_is(&self.layout.paths_lock())?;
        if install::unsettled(&self.layout)?.iter().any(|one| one.why.is_none()) {
            let hint = "an earlier install was cut off, and a deployment settles it first, which changes what is said \
                        here: run `slipway-agent recover`, then plan again";
            warnings.push(hint.to_owned());
        }
        let plan = match install::plan(&self.install_request(spec, &staged.revision, &appspec)) {
            Ok(plan) => Ok(plan),
            Err(InstallError { cause: Cause::Conflicts(blocked), .. }) => Err(blocked),
            Err(error) => return Err(error.into()),
        };
        let plan = self.held_back(spec, plan)?;
        let previous = install::last_install(&self.layout, &spec.group_id)?.deployment().cloned();
        Ok(Planned { plan, revision: staged.revision, previous, warnings })
    }
}

impl Engine {
    /// A plan of what an install that is not settled holds back is in the way of itself.
    fn held_back(
        &self,
        spec: &DeploymentSpec,
        plan: Result<Plan, Box<Blocked>>,
    ) -> Result<Result<Plan, Box<Blocked>>, StageError> {
        let steps = plan.as_ref().map_or_else(|blocked| &blocked.steps, |plan| &plan.steps);
        let Some(refusal) = install::refusal(&self.layout, &spec.group_id, steps)? else { return Ok(plan) };
        let mut blocked = plan.map_or_else(
            |blocked| *blocked,
            |Plan { steps, rules, warnings, .. }| Blocked { conflicts: Conflicts(Vec::new()), steps, rules, warnings },
        );
        blocked.conflicts.0.insert(0, Conflict::HeldBack(refusal));
        Ok(Err(Box::new(blocked)))
    }
}

/// Takes a lock if there is a file for it. Where there is none nobody works, and none is made.
fn wait_where_there_is(path: &Path) -> Result<Option<Lock>, disk::Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let found = match Dir::open(parent) {
        Ok(locks) => locks.stat_if_exists(name)?,
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    found.map(|_| Lock::wait(path)).transpose()
}
