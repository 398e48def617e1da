//! The line of the log about a call: who called, from where, what for, and what came of it.

use serde::Deserialize;
use serde_json::Value;

use crate::caller::{Caller, Peer};
use crate::error::ApiError;

/// Longest list of names that is shown, in characters.
const LONGEST: usize = 200;

/// A call, as far as it is known.
#[derive(Debug)]
pub struct CallLog {
    operation: String,
    peer: Option<Peer>,
    /// Known once the signature was verified.
    pub caller: Option<Caller>,
    subject: String,
}

/// The members that name what a call of the public API is about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subject {
    application_name: Option<String>,
    current_deployment_group_name: Option<String>,
    deployment_group_name: Option<String>,
    deployment_config_name: Option<String>,
    deployment_id: Option<String>,
    instance_name: Option<String>,
    instance_names: Option<Vec<String>>,
    new_application_name: Option<String>,
    new_deployment_group_name: Option<String>,
    resource_arn: Option<String>,
}

impl CallLog {
    /// A call of which nothing more is known.
    pub fn new(operation: &str, peer: Option<Peer>) -> Self {
        Self { operation: operation.chars().take(100).collect(), peer, caller: None, subject: String::new() }
    }

    /// Notes what the call is about.
    pub fn note_subject(&mut self, body: &[u8]) {
        let Ok(subject) = serde_json::from_slice::<Subject>(body) else { return };
        let names = [
            subject.application_name,
            subject.current_deployment_group_name,
            subject.deployment_group_name,
            subject.deployment_config_name,
            subject.deployment_id,
            subject.instance_name,
            subject.new_application_name,
            subject.new_deployment_group_name,
            subject.resource_arn,
        ];
        let names = names.into_iter().flatten().chain(subject.instance_names.unwrap_or_default());
        let text = names.collect::<Vec<_>>().join(" ");
        self.subject = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    }

    /// Writes the line: each change and each refusal for everybody, the rest for who looks closely.
    pub fn write(&self, answered: &Result<Value, ApiError>) {
        let Self { operation, subject, .. } = self;
        let caller = self.caller.as_ref().map_or("unknown", Caller::arn);
        let key = self.caller.as_ref().map_or("-", Caller::access_key_id);
        let address = self.peer.map(|peer| peer.to_string()).unwrap_or_default();
        match answered {
            Err(ApiError { status, name, message }) => {
                tracing::info!(operation, subject, caller, key, address, status, name, reason = message, "refused");
            }
            Ok(answer) if is_change(operation, self.caller.as_ref()) => {
                let deployment = answer["deploymentId"].as_str().unwrap_or_default();
                tracing::info!(operation, subject, deployment, caller, key, address, "changed");
            }
            Ok(_) => tracing::debug!(operation, subject, caller, key, address, "answered"),
        }
    }
}

/// Whether an operation of the public API changes something. A host's reports are in its deployments.
fn is_change(operation: &str, caller: Option<&Caller>) -> bool {
    matches!(caller, Some(Caller::Administrator { .. }))
        && !["Get", "List", "BatchGet"].iter().any(|reads| operation.starts_with(reads))
}
