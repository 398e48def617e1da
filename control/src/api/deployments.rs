//! Operations on deployments.

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;
use sqlx::types::Json;

use super::group_wishes::{AlarmInput, RollbackInput};
use crate::apps::{self, configs, groups};
use crate::clock::Moment;
use crate::deployments::halt::{self, Halted};
use crate::deployments::launch::{self, Order, Source};
use crate::deployments::{
    Deployment, DeploymentOptions, DeploymentStatus, FileExists, Halt, Mode, by_id, last_successful, overview, waiting,
};
use crate::error::ApiError;
use crate::ids::{ApplicationName, ConfigName, DeploymentId, GroupName};
use crate::page::{self, Page, Start};
use crate::revisions::{RevisionLocation, WireLocation};
use crate::service::Service;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CreateInput {
    application_name: Option<String>,
    deployment_group_name: Option<String>,
    revision: Option<WireLocation>,
    deployment_config_name: Option<String>,
    description: Option<String>,
    ignore_application_stop_failures: Option<bool>,
    target_instances: Option<Value>,
    auto_rollback_configuration: Option<RollbackInput>,
    update_outdated_instances_only: Option<bool>,
    file_exists_behavior: Option<String>,
    deployment_mode: Option<String>,
    override_alarm_configuration: Option<AlarmInput>,
    ec2_deployment_options: Option<Value>,
}

pub(super) async fn create(service: &Service, input: CreateInput) -> Result<Value, ApiError> {
    let application = ApplicationName::from_request(input.application_name)?;
    let group = GroupName::from_request(input.deployment_group_name)?;
    let config = input.deployment_config_name.map(super::configs::optional_name).transpose()?;
    let description = super::description(input.description)?;
    let file_exists = super::word(input.file_exists_behavior, "InvalidFileExistsBehaviorException")?;
    input.override_alarm_configuration.unwrap_or_default().refuse_if_enabled()?;
    let auto_rollback = input.auto_rollback_configuration.map(RollbackInput::rule).transpose()?;
    if input.target_instances.is_some_and(|targets| targets.as_object().is_none_or(|members| !members.is_empty())) {
        return Err(ApiError::client(
            "InvalidTargetInstancesException",
            "targetInstances belong to blue/green deployments, which are not there yet; leave them out.",
        ));
    }
    if input.ec2_deployment_options.is_some() {
        return Err(ApiError::client(
            "InvalidInputException",
            "ec2DeploymentOptions are not there yet; leave them out.",
        ));
    }
    let mode = mode(input.deployment_mode)?;
    let update_outdated_instances_only = input.update_outdated_instances_only.unwrap_or_default();
    if mode == Mode::Restart && update_outdated_instances_only {
        return Err(ApiError::client(
            "InvalidUpdateOutdatedInstancesOnlyValueException",
            "A RESTART is of every host of the group, and no host is outdated for it; leave updateOutdatedInstancesOnly out.",
        ));
    }

    let mut change = service.change().await?;
    let application = apps::find(change.db(), &application).await?;
    let group = groups::find(change.db(), &application, &group).await?;
    let config_name = config.as_ref().map_or(group.settings.deployment_config_name.as_str(), ConfigName::as_str);
    let config = configs::find(change.db(), config_name).await?;
    let last = last_successful(change.db(), &group.id).await?;
    let (revision, source) = match (mode, input.revision, last) {
        (Mode::Deploy, None, Some(last)) if update_outdated_instances_only => (last.revision, Source::User),
        (Mode::Deploy, revision, _) => (RevisionLocation::from_request(revision)?, Source::User),
        (Mode::Restart, Some(_), _) => {
            return Err(ApiError::client(
                "InvalidInputException",
                "A RESTART uses the revision of the group's last successful deployment; leave the revision out.",
            ));
        }
        (Mode::Restart, None, None) => {
            return Err(ApiError::client(
                "RevisionDoesNotExistException",
                format!("The deployment group {} has no successful deployment to restart.", group.name),
            ));
        }
        (Mode::Restart, None, Some(last)) => (last.revision.clone(), Source::Restart(Box::new(last))),
    };
    let options = DeploymentOptions {
        description,
        ignore_application_stop_failures: input.ignore_application_stop_failures.unwrap_or_default(),
        update_outdated_instances_only,
        file_exists: file_exists.unwrap_or(FileExists::Disallow),
        auto_rollback: auto_rollback.unwrap_or_else(|| group.settings.auto_rollback.clone()),
        mode,
    };
    let id = launch::launch(&mut change, Order { application, group, config, revision, options, source }).await?;
    change.commit().await?;
    Ok(json!({ "deploymentId": id }))
}

fn mode(member: Option<String>) -> Result<Mode, ApiError> {
    match member.as_deref() {
        None | Some("STANDARD") => Ok(Mode::Deploy),
        Some("RESTART") => Ok(Mode::Restart),
        Some(other) => Err(ApiError::client(
            "InvalidInputException",
            format!("deploymentMode {other:.100?} is not one of STANDARD, RESTART."),
        )),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct IdInput {
    deployment_id: Option<String>,
}

/// The deployment that a request names.
pub(super) async fn find(db: &mut SqliteConnection, id: Option<String>) -> Result<Deployment, ApiError> {
    let id = DeploymentId::from_request(id)?;
    by_id(db, id.as_str()).await?.ok_or_else(|| {
        ApiError::client(
            "DeploymentDoesNotExistException",
            format!("There is no deployment {id}; `aws deploy list-deployments` shows those there are."),
        )
    })
}

pub(super) async fn get(service: &Service, input: IdInput) -> Result<Value, ApiError> {
    let mut reader = service.pool().acquire().await?;
    let deployment = find(&mut reader, input.deployment_id).await?;
    Ok(json!({ "deploymentInfo": info(&mut reader, service, &deployment).await? }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BatchInput {
    deployment_ids: Option<Vec<String>>,
}

/// Those that are there; others are left out, as with AWS.
pub(super) async fn batch_get(service: &Service, input: BatchInput) -> Result<Value, ApiError> {
    let ids = super::batch(input.deployment_ids, 25, ("DeploymentIdRequiredException", "BatchLimitExceededException"))?;
    let mut reader = service.pool().acquire().await?;
    let mut found = Vec::new();
    for id in ids {
        let id = DeploymentId::from_request(Some(id))?;
        if let Some(deployment) = by_id(&mut reader, id.as_str()).await? {
            found.push(info(&mut reader, service, &deployment).await?);
        }
    }
    Ok(json!({ "deploymentsInfo": found }))
}

/// The API's `DeploymentInfo`.
async fn info(db: &mut SqliteConnection, service: &Service, deployment: &Deployment) -> Result<Value, ApiError> {
    let options = &deployment.options;
    let mut messages = deployment.messages.clone();
    messages.extend(waiting::messages(db, service, deployment, Moment::now()).await?);
    let mut info = json!({
        "applicationName": deployment.application_name,
        "deploymentGroupName": deployment.group_name,
        "deploymentConfigName": deployment.config_name,
        "deploymentId": deployment.id,
        "revision": deployment.revision,
        "status": deployment.status,
        "createTime": deployment.created,
        "deploymentOverview": counted(db, deployment).await?,
        "creator": deployment.creator,
        "ignoreApplicationStopFailures": options.ignore_application_stop_failures,
        "updateOutdatedInstancesOnly": options.update_outdated_instances_only,
        "autoRollbackConfiguration": options.auto_rollback,
        "deploymentStyle": { "deploymentType": "IN_PLACE", "deploymentOption": "WITHOUT_TRAFFIC_CONTROL" },
        "instanceTerminationWaitTimeStarted": false,
        "fileExistsBehavior": options.file_exists,
        "deploymentStatusMessages": messages,
        "computePlatform": "Server",
    });
    let rollback: serde_json::Map<String, Value> = [
        ("rollbackDeploymentId", &deployment.rollback_deployment_id),
        ("rollbackTriggeringDeploymentId", &deployment.rollback_of),
        ("rollbackMessage", &deployment.rollback_message),
    ]
    .into_iter()
    .filter_map(|(member, value)| value.as_ref().map(|value| (member.to_owned(), json!(value))))
    .collect();
    for (member, value) in [
        ("description", options.description.as_ref().map(|text| json!(text))),
        ("previousRevision", deployment.previous_revision.as_ref().map(|revision| json!(revision))),
        ("startTime", deployment.started.map(|time| json!(time))),
        ("completeTime", deployment.completed.map(|time| json!(time))),
        ("errorInformation", deployment.error.as_ref().map(|(code, text)| json!({ "code": code, "message": text }))),
        ("rollbackInfo", (!rollback.is_empty()).then_some(Value::Object(rollback))),
        ("deploymentMode", (options.mode == Mode::Restart).then(|| json!("RESTART"))),
    ] {
        if let Some(value) = value {
            info[member] = value;
        }
    }
    Ok(info)
}

async fn counted(db: &mut SqliteConnection, deployment: &Deployment) -> sqlx::Result<Value> {
    let counts = overview::counts(db, deployment).await?;
    let mut overview = json!({ "Pending": 0, "InProgress": 0, "Succeeded": 0, "Failed": 0, "Skipped": 0, "Ready": 0 });
    for (status, count) in counts {
        overview[status.as_str()] = json!(count);
    }
    Ok(overview)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListInput {
    application_name: Option<String>,
    deployment_group_name: Option<String>,
    external_id: Option<String>,
    include_only_statuses: Option<Vec<String>>,
    create_time_range: Option<TimeRange>,
    next_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TimeRange {
    start: Option<f64>,
    end: Option<f64>,
}

impl TimeRange {
    fn moments(self) -> Result<(Option<Moment>, Option<Moment>), ApiError> {
        let invalid = |message: &str| ApiError::client("InvalidTimeRangeException", message);
        let moment = |seconds: Option<f64>| {
            let parse =
                |seconds| Moment::from_seconds(seconds).ok_or_else(|| invalid("createTimeRange holds no time."));
            seconds.map(parse).transpose()
        };
        let (start, end) = (moment(self.start)?, moment(self.end)?);
        if start.zip(end).is_some_and(|(start, end)| start > end) {
            return Err(invalid("createTimeRange ends before it starts."));
        }
        Ok((start, end))
    }
}

/// Newest first.
pub(super) async fn list(service: &Service, input: ListInput) -> Result<Value, ApiError> {
    let statuses: Option<Vec<DeploymentStatus>> =
        super::words(input.include_only_statuses, "InvalidDeploymentStatusException")?;
    let (from, until) = input.create_time_range.unwrap_or_default().moments()?;
    let members = (&input.application_name, &input.deployment_group_name, &input.external_id, &statuses, from, until);
    let start = Start::from_request(input.next_token, "ListDeployments", &members)?;
    let mut reader = service.pool().acquire().await?;
    let group = match (input.application_name, input.deployment_group_name) {
        (None, None) => None,
        (application, group) => {
            let application = ApplicationName::from_request(application)?;
            let group = GroupName::from_request(group)?;
            let application = apps::find(&mut reader, &application).await?;
            Some(groups::find(&mut reader, &application, &group).await?.id)
        }
    };
    if input.external_id.is_some() {
        // Only CloudFormation gives deployments one, and it gives none to this service.
        return Ok(json!({ "deployments": [] }));
    }
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT seq, id FROM deployments WHERE (?1 IS NULL OR group_id = ?1) \
         AND (?2 IS NULL OR status IN (SELECT value FROM json_each(?2))) \
         AND (?3 IS NULL OR created_ms >= ?3) AND (?4 IS NULL OR created_ms <= ?4) \
         AND (?5 IS NULL OR seq < ?5) ORDER BY seq DESC LIMIT ?6",
    )
    .bind(group)
    .bind(statuses.filter(|statuses| !statuses.is_empty()).map(Json))
    .bind(from)
    .bind(until)
    .bind(start.after_key::<i64>()?)
    .bind(i64::try_from(page::SIZE + 1).unwrap_or(i64::MAX))
    .fetch_all(&mut *reader)
    .await?;
    let Page { items, next } = Page::cut(rows, &start, |(seq, _)| seq.to_string());
    Ok(Page { items: items.into_iter().map(|(_, id)| id).collect(), next }.answer("deployments"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StopInput {
    deployment_id: Option<String>,
    auto_rollback_enabled: Option<bool>,
}

pub(super) async fn stop(service: &Service, input: StopInput) -> Result<Value, ApiError> {
    let mut change = service.change().await?;
    let deployment = find(change.db(), input.deployment_id).await?;
    if deployment.completed.is_some() {
        return Err(ApiError::client(
            "DeploymentAlreadyCompletedException",
            format!("The deployment {} has ended already: {}.", deployment.id, deployment.status),
        ));
    }
    let reason = match input.auto_rollback_enabled {
        None => Halt::Stop,
        Some(true) => Halt::StopAndRollBack,
        Some(false) => Halt::StopAndStay,
    };
    let halted = halt::halt(&mut change, &deployment, reason).await?;
    change.commit().await?;
    Ok(match halted {
        Halted::Ended => json!({ "status": "Succeeded", "statusMessage": "The deployment was stopped." }),
        Halted::Ending => json!({
            "status": "Pending",
            "statusMessage": "Hosts are still running an event, which ends by itself; nothing more is sent to them.",
        }),
    })
}
