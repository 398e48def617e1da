//! What became of a deployment, as the public API tells it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::Api;
use crate::until::until;

/// One lifecycle event on one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The host's name.
    pub host: String,
    /// The event's name.
    pub name: String,
    /// The API's word for its state.
    pub status: String,
    /// When it began, seconds since the epoch.
    pub start: Option<f64>,
    /// When it ended, seconds since the epoch.
    pub end: Option<f64>,
    /// What the agent reported, if it ended.
    pub diagnostics: Value,
}

impl Event {
    /// Whether nothing more will happen to it.
    pub fn is_terminal(&self) -> bool {
        matches!(self.status.as_str(), "Succeeded" | "Failed" | "Skipped")
    }

    /// A text member of the diagnostics: `errorCode`, `scriptName`, `message` or `logTail`.
    pub fn diagnostic(&self, member: &str) -> &str {
        self.diagnostics[member].as_str().unwrap_or_default()
    }
}

/// A deployment that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its id.
    pub id: String,
    /// `deploymentInfo` of GetDeployment.
    pub info: Value,
    /// Events of all hosts.
    pub events: Vec<Event>,
}

impl Finished {
    /// `Succeeded`, `Failed` or `Stopped`.
    pub fn status(&self) -> &str {
        self.info["status"].as_str().unwrap_or_default()
    }

    /// The id of the deployment that rolls this one back, if there is one.
    pub fn rollback(&self) -> Option<&str> {
        self.info["rollbackInfo"]["rollbackDeploymentId"].as_str()
    }

    /// The first event of that name.
    pub fn event(&self, name: &str) -> Result<&Event> {
        let found = self.events.iter().find(|event| event.name == name);
        found.with_context(|| format!("deployment {} has no event {name}: {:?}", self.id, self.events))
    }

    /// The event that failed.
    pub fn failed_event(&self) -> Result<&Event> {
        let found = self.events.iter().find(|event| event.status == "Failed");
        found.with_context(|| format!("no event of deployment {} failed: {}, {:?}", self.id, self.info, self.events))
    }
}

/// `deploymentInfo` of a deployment.
pub fn info(api: &Api, id: &str) -> Result<Value> {
    Ok(api.call("GetDeployment", json!({"deploymentId": id}))?["deploymentInfo"].take())
}

/// The events of all hosts of a deployment, as they are now.
pub fn events(api: &Api, id: &str) -> Result<Vec<Event>> {
    let targets = api.call("ListDeploymentTargets", json!({"deploymentId": id}))?["targetIds"].take();
    if targets.as_array().is_none_or(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let described = api.call("BatchGetDeploymentTargets", json!({"deploymentId": id, "targetIds": targets}))?;
    let mut events = Vec::new();
    for target in described["deploymentTargets"].as_array().context("deploymentTargets is a list")? {
        let target = &target["instanceTarget"];
        let host = target["targetId"].as_str().context("a target has an id")?;
        for event in target["lifecycleEvents"].as_array().into_iter().flatten() {
            events.push(Event {
                host: host.to_owned(),
                name: event["lifecycleEventName"].as_str().unwrap_or_default().to_owned(),
                status: event["status"].as_str().unwrap_or_default().to_owned(),
                start: event["startTime"].as_f64(),
                end: event["endTime"].as_f64(),
                diagnostics: event["diagnostics"].clone(),
            });
        }
    }
    Ok(events)
}

/// Waits until a deployment has ended, handing every look at it to `watch`.
pub fn finish_watching(
    api: &Api,
    id: &str,
    patience: Duration,
    mut watch: impl FnMut(&Value, &[Event]) -> Result<()>,
) -> Result<Finished> {
    until(&format!("deployment {id} to end"), patience, || {
        let info = info(api, id)?;
        let events = events(api, id)?;
        watch(&info, &events)?;
        let ended = matches!(info["status"].as_str(), Some("Succeeded" | "Failed" | "Stopped"));
        Ok(ended.then(|| Finished { id: id.to_owned(), info, events }))
    })
    .with_context(|| match events(api, id) {
        Ok(events) => format!("the events are {events:#?}"),
        Err(error) => format!("and its events cannot be had: {error}"),
    })
}

/// Waits until a deployment has ended.
pub fn finish(api: &Api, id: &str, patience: Duration) -> Result<Finished> {
    finish_watching(api, id, patience, |_, _| Ok(()))
}
