//! The events of an AppSpec and those of its deployment.

use super::failure::StageError;
use crate::appspec::{AppSpec, OwnEvent};
use crate::deployment::DeploymentSpec;
use crate::ids::EventName;
use crate::lifecycle;
use crate::yaml::{Position, nearest};

/// Holds an AppSpec to the list of events that the service gave, as AWS's agent does at Install.
pub(super) fn check_events(appspec: &AppSpec, spec: &DeploymentSpec) -> Result<(), StageError> {
    let Some(possible) = &spec.all_possible_lifecycle_events else { return Ok(()) };
    let possible_names: Vec<&str> = possible.iter().map(|event| event.as_str()).collect();
    let unknown = appspec.hooks.keys().filter(|event| !possible.contains(event));
    let unknown: Vec<String> = unknown.map(|event| with_guess(event, &possible_names)).collect();
    if !unknown.is_empty() {
        return Err(StageError::ImpossibleEvents { unknown: unknown.join(", "), possible: possible_names.join(", ") });
    }
    let own = |event: &EventName| {
        let name = event.as_str();
        lifecycle::HOOK_EVENTS.contains(&name)
            || lifecycle::SERVICE_EVENTS.contains(&name)
            || matches!(name, "DownloadBundle" | "Install")
    };
    let missing: Vec<String> = possible
        .iter()
        .filter(|event| !own(event) && !appspec.hooks.contains_key(*event))
        .map(|event| with_guess(event, &lifecycle::HOOK_EVENTS))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(StageError::MissingEvents(missing.join(", "))) }
}

fn with_guess(event: &EventName, possible: &[&str]) -> String {
    match nearest(event.as_str(), possible.iter().copied()) {
        Some(guess) => format!("{event} (did you mean {guess}?)"),
        None => event.to_string(),
    }
}

/// Warnings of scripts that this deployment never runs, since nothing names their events: AWS's agents pass over them
/// without a word. Where the service gave a list of events, [`check_events`] holds them to it.
pub(super) fn never_run<'a>(
    own_events: &'a [OwnEvent],
    spec: &'a DeploymentSpec,
) -> impl Iterator<Item = (Position, String)> + 'a {
    let is_listed = spec.all_possible_lifecycle_events.is_some();
    own_events.iter().filter(move |_| !is_listed).map(|event| (event.at, event.warning()))
}
