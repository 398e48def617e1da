//! What can be known of a new revision's scripts before any of them runs.
//!
//! A script can make or mend the scripts that run after it, and with AWS's agent such revisions deploy. So a script that
//! is not there fails a deployment at once only where nothing of the deployment runs before it; otherwise it is a warning.

use super::failure::StageError;
use crate::appspec::{AppSpec, Script};
use crate::deployment::DeploymentSpec;
use crate::hooks;
use crate::lifecycle::{HOOK_EVENTS, IN_PLACE};
use crate::outcome::{WarningKind, Warnings};
use crate::revision::Revision;

/// Looks at each script of a revision that was just unpacked.
pub(super) fn check(
    revision: &Revision,
    appspec: &AppSpec,
    spec: &DeploymentSpec,
    warnings: &mut Warnings,
) -> Result<(), StageError> {
    let first = first(appspec, spec);
    for (event, scripts) in appspec.hooks.iter().filter(|(event, _)| is_run(event.as_str(), spec)) {
        for script in scripts {
            let Some(mut failure) = hooks::known_failure(revision, script) else { continue };
            if first.is_some_and(|first| std::ptr::eq(first, script)) {
                failure.message.push_str(
                    " It is the first script of this revision that would run, so nothing can put that right before: \
                     nothing was run, and nothing installed.",
                );
                return Err(StageError::FirstScript(Box::new(failure)));
            }
            let text = format!("{} {event} fails, unless a script that runs before puts that right.", failure.message);
            warnings.add(WarningKind::Script, text);
        }
    }
    Ok(())
}

/// The script of the revision that runs before all others, where that is sure.
fn first<'a>(appspec: &'a AppSpec, spec: &DeploymentSpec) -> Option<&'a Script> {
    let names: Vec<&str> = match &spec.order {
        Some(order) => order.iter().map(|event| event.as_str()).collect(),
        // A service can run events of its user's own wherever it likes.
        None if appspec
            .hooks
            .keys()
            .any(|event| !HOOK_EVENTS.contains(&event.as_str()) && is_run(event.as_str(), spec)) =>
        {
            return None;
        }
        // These it runs wherever it has a revision downloaded; those around a load balancer come after them.
        None => IN_PLACE.to_vec(),
    };
    // What comes before concerns an earlier revision.
    let mut after_download = names.into_iter().skip_while(|name| *name != "DownloadBundle");
    let (_, scripts) =
        after_download.find_map(|name| appspec.hooks.iter().find(|(event, _)| event.as_str() == name))?;
    scripts.first()
}

/// Whether an event can run: in this deployment, or in the one that replaces it.
fn is_run(event: &str, spec: &DeploymentSpec) -> bool {
    let lists = [&spec.all_possible_lifecycle_events, &spec.order];
    HOOK_EVENTS.contains(&event) || lists.into_iter().flatten().flatten().any(|listed| listed.as_str() == event)
}
