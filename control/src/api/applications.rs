//! Operations on applications.

use serde::Deserialize;
use serde_json::{Value, json};

use super::resource_tags;
use crate::apps::{self, groups};
use crate::deployments::{Halt, active_in_group, by_id, halt};
use crate::error::ApiError;
use crate::ids::ApplicationName;
use crate::page::{self, Page, Start};
use crate::service::Service;
use crate::tags::Tag;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CreateInput {
    application_name: Option<String>,
    compute_platform: Option<String>,
    tags: Option<Vec<Tag>>,
}

pub(super) async fn create(service: &Service, input: CreateInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    match input.compute_platform.as_deref() {
        None | Some("Server") => {}
        Some(platform @ ("Lambda" | "ECS")) => {
            return Err(ApiError::client(
                "InvalidComputePlatformException",
                format!("This service deploys to hosts; applications for {platform} need AWS CodeDeploy."),
            ));
        }
        Some(other) => {
            return Err(ApiError::client(
                "InvalidComputePlatformException",
                format!("computePlatform {other:?} is not one of Server, Lambda, ECS."),
            ));
        }
    }
    let mut change = service.change().await?;
    let id = apps::create(change.db(), &name).await?;
    resource_tags::set(change.db(), &id, &input.tags.unwrap_or_default()).await?;
    change.commit().await?;
    Ok(json!({ "applicationId": id }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NameInput {
    application_name: Option<String>,
}

pub(super) async fn get(service: &Service, input: NameInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    let application = apps::find(&mut *service.pool().acquire().await?, &name).await?;
    Ok(json!({ "application": application }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BatchInput {
    application_names: Option<Vec<String>>,
}

pub(super) async fn batch_get(service: &Service, input: BatchInput) -> Result<Value, ApiError> {
    let names = super::batch(
        input.application_names,
        100,
        ("ApplicationNameRequiredException", "BatchLimitExceededException"),
    )?;
    let mut reader = service.pool().acquire().await?;
    let mut found = Vec::new();
    for name in names {
        found.push(apps::find(&mut reader, &ApplicationName::from_request(Some(name))?).await?);
    }
    Ok(json!({ "applicationsInfo": found }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListInput {
    next_token: Option<String>,
}

pub(super) async fn list(service: &Service, input: ListInput) -> Result<Value, ApiError> {
    let start = Start::from_request(input.next_token, "ListApplications", &())?;
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM applications WHERE name > coalesce(?, '') ORDER BY name LIMIT ?")
            .bind(start.after())
            .bind(i64::try_from(page::SIZE + 1).unwrap_or(i64::MAX))
            .fetch_all(service.pool())
            .await?;
    let page = Page::cut(names, &start, String::clone);
    Ok(page.answer("applications"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UpdateInput {
    application_name: Option<String>,
    new_application_name: Option<String>,
}

pub(super) async fn update(service: &Service, input: UpdateInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    if let Some(new) = input.new_application_name {
        let new = ApplicationName::from_request(Some(new))?;
        let mut change = service.change().await?;
        apps::rename(change.db(), &name, &new).await?;
        change.commit().await?;
    }
    Ok(json!({}))
}

/// Deletes an application. One that is being deployed ends as failed; one that is not there is no
/// error, as with AWS.
pub(super) async fn delete(service: &Service, input: NameInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    let mut change = service.change().await?;
    if let Some(application) = apps::by_name(change.db(), &name).await? {
        for group in groups::all(change.db(), &application).await? {
            let Some(active) = active_in_group(change.db(), &group.id).await? else { continue };
            if let Some(deployment) = by_id(change.db(), active.as_str()).await? {
                halt::halt(&mut change, &deployment, Halt::ApplicationDeleted).await?;
            }
        }
        apps::delete(change.db(), &application).await?;
        change.commit().await?;
    }
    Ok(json!({}))
}
