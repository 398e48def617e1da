//! Reads of a deployment's hosts and their events: the current family (targets) and the deprecated
//! one (instances), which the AWS command line still uses.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::deployments::find as find_deployment;
use crate::clock::Moment;
use crate::deployments::{Deployment, EventError, EventStatus, Target, TargetStatus};
use crate::error::ApiError;
use crate::page::{self, Page, Start};
use crate::service::Service;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListTargetsInput {
    deployment_id: Option<String>,
    next_token: Option<String>,
    target_filters: Option<BTreeMap<String, Vec<String>>>,
}

pub(super) async fn list_targets(service: &Service, input: ListTargetsInput) -> Result<Value, ApiError> {
    let mut statuses = None;
    for (filter, values) in input.target_filters.unwrap_or_default() {
        match filter.as_str() {
            "TargetStatus" => statuses = Some(values),
            "ServerInstanceLabel" => return Err(no_labels()),
            other => {
                return Err(ApiError::client(
                    "InvalidTargetFilterNameException",
                    format!("The target filter {other:.100} is not one of TargetStatus, ServerInstanceLabel."),
                ));
            }
        }
    }
    let page = names(service, "ListDeploymentTargets", input.deployment_id, statuses, input.next_token).await?;
    Ok(page.answer("targetIds"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListInstancesInput {
    deployment_id: Option<String>,
    next_token: Option<String>,
    instance_status_filter: Option<Vec<String>>,
    instance_type_filter: Option<Vec<String>>,
}

pub(super) async fn list_instances(service: &Service, input: ListInstancesInput) -> Result<Value, ApiError> {
    if input.instance_type_filter.is_some_and(|types| !types.is_empty()) {
        return Err(no_labels());
    }
    let page =
        names(service, "ListDeploymentInstances", input.deployment_id, input.instance_status_filter, input.next_token)
            .await?;
    Ok(page.answer("instancesList"))
}

fn no_labels() -> ApiError {
    ApiError::client(
        "InvalidDeploymentInstanceTypeException",
        "Hosts are Blue or Green in blue/green deployments only, and this deployment is in place; leave the filter out.",
    )
}

/// Names of a deployment's hosts, in the order of the fleet.
async fn names(
    service: &Service,
    operation: &str,
    deployment_id: Option<String>,
    statuses: Option<Vec<String>>,
    next_token: Option<String>,
) -> Result<Page<String>, ApiError> {
    let statuses: Option<Vec<TargetStatus>> = super::words(statuses, "InvalidInstanceStatusException")?;
    let start = Start::from_request(next_token, operation, &(&deployment_id, &statuses))?;
    let mut reader = service.pool().acquire().await?;
    let deployment = find_deployment(&mut reader, deployment_id).await?;
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT rank, instance_name FROM targets WHERE deployment_id = ?1 \
         AND (?2 IS NULL OR status IN (SELECT value FROM json_each(?2))) AND (?3 IS NULL OR rank > ?3) \
         ORDER BY rank LIMIT ?4",
    )
    .bind(deployment.id.as_str())
    .bind(statuses.filter(|statuses| !statuses.is_empty()).map(Json))
    .bind(start.after_key::<i64>()?)
    .bind(i64::try_from(page::SIZE + 1).unwrap_or(i64::MAX))
    .fetch_all(&mut *reader)
    .await?;
    let Page { items, next } = Page::cut(rows, &start, |(rank, _)| rank.to_string());
    Ok(Page { items: items.into_iter().map(|(_, name)| name).collect(), next })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GetTargetInput {
    deployment_id: Option<String>,
    target_id: Option<String>,
}

pub(super) async fn get_target(service: &Service, input: GetTargetInput) -> Result<Value, ApiError> {
    let mut reader = service.pool().acquire().await?;
    let deployment = find_deployment(&mut reader, input.deployment_id).await?;
    let id = required(input.target_id, "DeploymentTargetIdRequiredException")?;
    let target = by_name(&mut reader, &deployment, &id).await?.ok_or_else(|| no_target(&deployment, &id))?;
    Ok(json!({ "deploymentTarget": target_info(&mut reader, &target).await? }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BatchTargetsInput {
    deployment_id: Option<String>,
    target_ids: Option<Vec<String>>,
}

pub(super) async fn batch_get_targets(service: &Service, input: BatchTargetsInput) -> Result<Value, ApiError> {
    let mut reader = service.pool().acquire().await?;
    let deployment = find_deployment(&mut reader, input.deployment_id).await?;
    let ids = super::batch(
        input.target_ids,
        25,
        ("DeploymentTargetIdRequiredException", "DeploymentTargetListSizeExceededException"),
    )?;
    let mut found = Vec::new();
    for id in ids {
        let target = by_name(&mut reader, &deployment, &id).await?.ok_or_else(|| no_target(&deployment, &id))?;
        found.push(target_info(&mut reader, &target).await?);
    }
    Ok(json!({ "deploymentTargets": found }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GetInstanceInput {
    deployment_id: Option<String>,
    instance_id: Option<String>,
}

pub(super) async fn get_instance(service: &Service, input: GetInstanceInput) -> Result<Value, ApiError> {
    let mut reader = service.pool().acquire().await?;
    let deployment = find_deployment(&mut reader, input.deployment_id).await?;
    let id = required(input.instance_id, "InstanceIdRequiredException")?;
    let target = by_name(&mut reader, &deployment, &id).await?.ok_or_else(|| {
        ApiError::client(
            "InstanceDoesNotExistException",
            format!("The deployment {} has no host {id:.200}.", deployment.id),
        )
    })?;
    Ok(json!({ "instanceSummary": instance_summary(&mut reader, &target).await? }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BatchInstancesInput {
    deployment_id: Option<String>,
    instance_ids: Option<Vec<String>>,
}

pub(super) async fn batch_get_instances(service: &Service, input: BatchInstancesInput) -> Result<Value, ApiError> {
    let mut reader = service.pool().acquire().await?;
    let deployment = find_deployment(&mut reader, input.deployment_id).await?;
    let ids = super::batch(input.instance_ids, 25, ("InstanceIdRequiredException", "BatchLimitExceededException"))?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in ids {
        match by_name(&mut reader, &deployment, &id).await? {
            Some(target) => found.push(instance_summary(&mut reader, &target).await?),
            None => missing.push(id),
        }
    }
    let mut answer = json!({ "instancesSummary": found });
    if !missing.is_empty() {
        answer["errorMessage"] = json!(format!("The deployment {} has no host {}.", deployment.id, missing.join(", ")));
    }
    Ok(answer)
}

fn required(member: Option<String>, error: &str) -> Result<String, ApiError> {
    member
        .filter(|text| !text.is_empty())
        .ok_or_else(|| ApiError::client(error, "The name of the host is missing from the request."))
}

fn no_target(deployment: &Deployment, id: &str) -> ApiError {
    ApiError::client(
        "DeploymentTargetDoesNotExistException",
        format!("The deployment {} has no target {id:.200}.", deployment.id),
    )
}

/// A host of the deployment, by its name or its ARN.
async fn by_name(db: &mut SqliteConnection, deployment: &Deployment, name: &str) -> sqlx::Result<Option<Target>> {
    sqlx::query_as("SELECT * FROM targets WHERE deployment_id = ?1 AND (instance_name = ?2 OR instance_arn = ?2)")
        .bind(deployment.id.as_str())
        .bind(name)
        .fetch_optional(db)
        .await
}

/// The API's `DeploymentTarget`.
async fn target_info(db: &mut SqliteConnection, target: &Target) -> Result<Value, ApiError> {
    Ok(json!({
        "deploymentTargetType": "InstanceTarget",
        "instanceTarget": {
            "deploymentId": target.deployment_id,
            "targetId": target.instance_name,
            "targetArn": target.instance_arn,
            "status": target.status,
            "lastUpdatedAt": target.updated,
            "lifecycleEvents": events(db, target).await?,
        },
    }))
}

/// The API's `InstanceSummary`.
async fn instance_summary(db: &mut SqliteConnection, target: &Target) -> Result<Value, ApiError> {
    Ok(json!({
        "deploymentId": target.deployment_id,
        "instanceId": target.instance_arn,
        "status": target.status,
        "lastUpdatedAt": target.updated,
        "lifecycleEvents": events(db, target).await?,
    }))
}

struct Event {
    name: String,
    status: EventStatus,
    started: Option<Moment>,
    ended: Option<Moment>,
    error: Option<EventError>,
    script_name: Option<String>,
    message: Option<String>,
    log_tail: Option<String>,
}

impl FromRow<'_, SqliteRow> for Event {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            name: row.try_get("name")?,
            status: row.try_get("status")?,
            started: row.try_get("started_ms")?,
            ended: row.try_get("ended_ms")?,
            error: row.try_get("error_code")?,
            script_name: row.try_get("script_name")?,
            message: row.try_get("message")?,
            log_tail: row.try_get("log_tail")?,
        })
    }
}

/// The API's `LifecycleEventList`.
pub(super) async fn events(db: &mut SqliteConnection, target: &Target) -> Result<Vec<Value>, ApiError> {
    let events: Vec<Event> = sqlx::query_as("SELECT * FROM events WHERE target_id = ? ORDER BY position")
        .bind(target.id)
        .fetch_all(db)
        .await?;
    Ok(events.into_iter().map(event_info).collect())
}

fn event_info(event: Event) -> Value {
    let mut info = json!({ "lifecycleEventName": event.name, "status": event.status });
    if let Some(time) = event.started {
        info["startTime"] = json!(time);
    }
    if let Some(time) = event.ended {
        info["endTime"] = json!(time);
    }
    let mut diagnostics = serde_json::Map::new();
    if let Some(error) = event.error {
        diagnostics.insert("errorCode".to_owned(), json!(error));
    }
    for (member, text) in [("scriptName", event.script_name), ("message", event.message), ("logTail", event.log_tail)] {
        if let Some(text) = text {
            diagnostics.insert(member.to_owned(), json!(text));
        }
    }
    if !diagnostics.is_empty() {
        info["diagnostics"] = Value::Object(diagnostics);
    }
    info
}
