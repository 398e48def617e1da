//! Operations on deployment groups.

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::group_wishes::{Wishes, role};
use super::resource_tags;
use crate::apps::groups::{self, Group, GroupSettings, OutdatedInstances};
use crate::apps::rollback_rule::AutoRollback;
use crate::apps::{self, Application, configs};
use crate::deployments::{self, Halt, active_in_group, halt};
use crate::error::ApiError;
use crate::ids::{ApplicationName, GroupName};
use crate::page::{Page, Start};
use crate::service::Service;
use crate::tags::{Selection, Tag};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CreateInput {
    application_name: Option<String>,
    deployment_group_name: Option<String>,
    tags: Option<Vec<Tag>>,
    #[serde(flatten)]
    wishes: Wishes,
}

pub(super) async fn create(service: &Service, input: CreateInput) -> Result<Value, ApiError> {
    let application = ApplicationName::from_request(input.application_name)?;
    let name = GroupName::from_request(input.deployment_group_name)?;
    let mut settings = GroupSettings {
        deployment_config_name: configs::DEFAULT.to_owned(),
        service_role_arn: role(input.wishes.service_role_arn.clone())?,
        on_premises: Selection::Nothing,
        ec2: Selection::Nothing,
        auto_scaling_groups: Vec::new(),
        auto_rollback: AutoRollback::default(),
        outdated_instances: OutdatedInstances::Update,
        termination_hook_enabled: None,
    };
    let mut change = service.change().await?;
    let application = apps::find(change.db(), &application).await?;
    input.wishes.apply(change.db(), &mut settings).await?;
    let id = groups::create(change.db(), &application, &name, &settings).await?;
    resource_tags::set(change.db(), &id, &input.tags.unwrap_or_default()).await?;
    change.commit().await?;
    Ok(json!({ "deploymentGroupId": id }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UpdateInput {
    application_name: Option<String>,
    current_deployment_group_name: Option<String>,
    new_deployment_group_name: Option<String>,
    #[serde(flatten)]
    wishes: Wishes,
}

pub(super) async fn update(service: &Service, input: UpdateInput) -> Result<Value, ApiError> {
    let application = ApplicationName::from_request(input.application_name)?;
    let name = GroupName::from_request(input.current_deployment_group_name)?;
    let new = match input.new_deployment_group_name {
        Some(new) => GroupName::from_request(Some(new))?,
        None => name.clone(),
    };
    let mut change = service.change().await?;
    let application = apps::find(change.db(), &application).await?;
    let mut group = groups::find(change.db(), &application, &name).await?;
    input.wishes.apply(change.db(), &mut group.settings).await?;
    groups::update(change.db(), &application, &group, &new).await?;
    change.commit().await?;
    Ok(json!({ "hooksNotCleanedUp": [] }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NameInput {
    application_name: Option<String>,
    deployment_group_name: Option<String>,
}

pub(super) async fn get(service: &Service, input: NameInput) -> Result<Value, ApiError> {
    let application = ApplicationName::from_request(input.application_name)?;
    let name = GroupName::from_request(input.deployment_group_name)?;
    let mut reader = service.pool().acquire().await?;
    let application = apps::find(&mut reader, &application).await?;
    let group = groups::find(&mut reader, &application, &name).await?;
    Ok(json!({ "deploymentGroupInfo": info(&mut reader, &application, &group).await? }))
}

/// Deletes a group. One that is being deployed to ends as failed; one that is not there is no
/// error, as with AWS.
pub(super) async fn delete(service: &Service, input: NameInput) -> Result<Value, ApiError> {
    let application = ApplicationName::from_request(input.application_name)?;
    let name = GroupName::from_request(input.deployment_group_name)?;
    let mut change = service.change().await?;
    let Some(application) = apps::by_name(change.db(), &application).await? else { return Ok(deleted()) };
    let Some(group) = groups::by_name(change.db(), &application, &name).await? else { return Ok(deleted()) };
    if let Some(active) = active_in_group(change.db(), &group.id).await?
        && let Some(deployment) = deployments::by_id(change.db(), active.as_str()).await?
    {
        halt::halt(&mut change, &deployment, Halt::GroupDeleted).await?;
    }
    groups::delete(change.db(), &group).await?;
    change.commit().await?;
    Ok(deleted())
}

fn deleted() -> Value {
    json!({ "hooksNotCleanedUp": [] })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListInput {
    application_name: Option<String>,
    next_token: Option<String>,
}

pub(super) async fn list(service: &Service, input: ListInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    let start = Start::from_request(input.next_token, "ListDeploymentGroups", &name)?;
    let mut reader = service.pool().acquire().await?;
    let application = apps::find(&mut reader, &name).await?;
    let names = groups::all(&mut reader, &application).await?.into_iter().map(|group| group.name).collect();
    let mut answer = Page::of(names, &start, String::clone)?.answer("deploymentGroups");
    answer["applicationName"] = json!(name);
    Ok(answer)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BatchInput {
    application_name: Option<String>,
    deployment_group_names: Option<Vec<String>>,
}

pub(super) async fn batch_get(service: &Service, input: BatchInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    let names = super::batch(
        input.deployment_group_names,
        100,
        ("DeploymentGroupNameRequiredException", "BatchLimitExceededException"),
    )?;
    let mut reader = service.pool().acquire().await?;
    let application = apps::find(&mut reader, &name).await?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        let name = GroupName::from_request(Some(name))?;
        match groups::by_name(&mut reader, &application, &name).await? {
            Some(group) => found.push(info(&mut reader, &application, &group).await?),
            None => missing.push(name.as_str().to_owned()),
        }
    }
    let mut answer = json!({ "deploymentGroupsInfo": found });
    if !missing.is_empty() {
        answer["errorMessage"] =
            json!(format!("The application {name} has no deployment group {}.", missing.join(", ")));
    }
    Ok(answer)
}

/// The API's `DeploymentGroupInfo`.
async fn info(db: &mut SqliteConnection, application: &Application, group: &Group) -> Result<Value, ApiError> {
    let settings = &group.settings;
    let mut info = json!({
        "applicationName": application.name,
        "deploymentGroupId": group.id,
        "deploymentGroupName": group.name,
        "deploymentConfigName": settings.deployment_config_name,
        "serviceRoleArn": settings.service_role_arn,
        "ec2TagFilters": [],
        "onPremisesInstanceTagFilters": [],
        "autoScalingGroups": settings.auto_scaling_groups.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "triggerConfigurations": [],
        "autoRollbackConfiguration": settings.auto_rollback,
        "deploymentStyle": { "deploymentType": "IN_PLACE", "deploymentOption": "WITHOUT_TRAFFIC_CONTROL" },
        "outdatedInstancesStrategy": settings.outdated_instances,
        "computePlatform": "Server",
        "terminationHookEnabled": settings.termination_hook_enabled.unwrap_or_default(),
    });
    match &settings.ec2 {
        Selection::Nothing => {}
        Selection::Any(filters) => info["ec2TagFilters"] = json!(filters),
        Selection::Each(sets) => info["ec2TagSet"] = json!({ "ec2TagSetList": sets }),
    }
    match &settings.on_premises {
        Selection::Nothing => {}
        Selection::Any(filters) => info["onPremisesInstanceTagFilters"] = json!(filters),
        Selection::Each(sets) => info["onPremisesTagSet"] = json!({ "onPremisesTagSetList": sets }),
    }
    if let Some(last) = deployments::last_successful(db, &group.id).await? {
        info["targetRevision"] = json!(last.revision);
        info["lastSuccessfulDeployment"] = last_info(&last);
    }
    if let Some(last) = deployments::last_attempted(db, &group.id).await? {
        info["lastAttemptedDeployment"] = last_info(&last);
    }
    Ok(info)
}

/// The API's `LastDeploymentInfo`.
fn last_info(deployment: &deployments::Deployment) -> Value {
    let mut info = json!({
        "deploymentId": deployment.id,
        "status": deployment.status,
        "createTime": deployment.created,
    });
    if let Some(completed) = deployment.completed {
        info["endTime"] = json!(completed);
    }
    info
}
