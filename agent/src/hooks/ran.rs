//! The scripts that a deployment has run so far, by what their runners left.

use super::HookError;
use super::record::{Exit, RunnerSpec, SPEC, ScriptsOf};
use crate::disk::Dir;
use crate::ids::DeploymentId;
use crate::layout::Layout;
use crate::store;

/// The scripts of a deployment's own revision that have ended, the last first, each as `script (event)`.
pub fn ran(layout: &Layout, deployment: &DeploymentId) -> Result<Vec<String>, HookError> {
    let runs = layout.hooks().join(deployment.as_str());
    let dir = match Dir::open(&runs) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in dir.entries()? {
        let run = runs.join(&entry.name);
        let (Some(spec), Some(exit)) = (store::read::<RunnerSpec>(&run.join(SPEC))?, Exit::read(&run)?) else {
            continue;
        };
        if spec.subject.scripts_of == ScriptsOf::ThisDeployment {
            found.push((exit.ended, format!("{} ({})", spec.subject.name, spec.event)));
        }
    }
    found.sort();
    Ok(found.into_iter().rev().map(|(_, script)| script).collect())
}
