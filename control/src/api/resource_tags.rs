//! Tags of applications, deployment groups and configurations, by ARN.

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use crate::apps::{self, configs, groups};
use crate::error::ApiError;
use crate::ids::{ApplicationName, ConfigName, GroupName};
use crate::instances::Realm;
use crate::page::Page;
use crate::service::Service;
use crate::tags::Tag;

/// Most tags of one resource.
const MOST: i64 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Input {
    resource_arn: Option<String>,
    tags: Option<Vec<Tag>>,
    tag_keys: Option<Vec<String>>,
}

pub(super) async fn tag(service: &Service, input: Input) -> Result<Value, ApiError> {
    let tags = input.tags.filter(|tags| !tags.is_empty()).ok_or_else(|| missing("Tags"))?;
    let mut change = service.change().await?;
    let id = resource(service.realm(), change.db(), input.resource_arn).await?;
    set(change.db(), &id, &tags).await?;
    change.commit().await?;
    Ok(json!({}))
}

pub(super) async fn untag(service: &Service, input: Input) -> Result<Value, ApiError> {
    let keys = input.tag_keys.filter(|keys| !keys.is_empty()).ok_or_else(|| missing("TagKeys"))?;
    let mut change = service.change().await?;
    let id = resource(service.realm(), change.db(), input.resource_arn).await?;
    for key in keys {
        sqlx::query("DELETE FROM resource_tags WHERE resource_id = ? AND key = ?")
            .bind(&id)
            .bind(key)
            .execute(change.db())
            .await?;
    }
    change.commit().await?;
    Ok(json!({}))
}

pub(super) async fn list(service: &Service, input: Input) -> Result<Value, ApiError> {
    // A resource has fewer tags than a page has places: no token was ever given out, and the operation has no error for one.
    let mut reader = service.pool().acquire().await?;
    // Of the errors of the other two operations this one has those about the ARN alone.
    let id = resource(service.realm(), &mut reader, input.resource_arn).await.map_err(|error| match error.status {
        400 if error.name.ends_with("DoesNotExistException") => ApiError::client("InvalidArnException", error.message),
        _ => error,
    })?;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT key, value FROM resource_tags WHERE resource_id = ? ORDER BY key")
            .bind(&id)
            .fetch_all(&mut *reader)
            .await?;
    let tags = rows.into_iter().map(|(key, value)| Tag { key, value }).collect();
    Ok(Page { items: tags, next: None }.answer("Tags"))
}

/// Sets tags of a resource; a key that it has gets the new value.
pub(super) async fn set(db: &mut SqliteConnection, resource_id: &str, tags: &[Tag]) -> Result<(), ApiError> {
    let invalid = |message: String| ApiError::client("InvalidTagsToAddException", message);
    for tag in tags {
        if let Some(problem) = tag.problem() {
            return Err(invalid(problem));
        }
        sqlx::query(
            "INSERT INTO resource_tags (resource_id, key, value) VALUES (?, ?, ?) \
             ON CONFLICT (resource_id, key) DO UPDATE SET value = excluded.value",
        )
        .bind(resource_id)
        .bind(&tag.key)
        .bind(&tag.value)
        .execute(&mut *db)
        .await?;
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM resource_tags WHERE resource_id = ?")
        .bind(resource_id)
        .fetch_one(db)
        .await?;
    if count > MOST {
        return Err(invalid(format!("The resource would have {count} tags; at most {MOST} are kept.")));
    }
    Ok(())
}

fn missing(member: &str) -> ApiError {
    ApiError::client("TagRequiredException", format!("{member} is missing from the request."))
}

/// The id of what an ARN names.
async fn resource(realm: &Realm, db: &mut SqliteConnection, arn: Option<String>) -> Result<String, ApiError> {
    let arn = arn
        .filter(|arn| !arn.is_empty())
        .ok_or_else(|| ApiError::client("ResourceArnRequiredException", "ResourceArn is missing from the request."))?;
    let invalid = || {
        ApiError::client(
            "InvalidArnException",
            format!("{arn:.300?} is no ARN of this service: those are {}:<name>.", realm.arn("<type>")),
        )
    };
    let parts: Vec<&str> = arn.splitn(7, ':').collect();
    let ["arn", partition, "codedeploy", region, account, kind, name] = parts.as_slice() else { return Err(invalid()) };
    let is_ours = *partition == "aws" && *region == realm.region && *account == realm.account;
    if !is_ours || name.is_empty() || name.contains(':') {
        return Err(invalid());
    }
    match *kind {
        "application" => {
            let name = ApplicationName::from_request(Some((*name).to_owned())).map_err(|_| invalid())?;
            Ok(apps::find(db, &name).await?.id)
        }
        "deploymentgroup" => {
            let (application, group) = name.split_once('/').ok_or_else(invalid)?;
            let application = ApplicationName::from_request(Some(application.to_owned())).map_err(|_| invalid())?;
            let group = GroupName::from_request(Some(group.to_owned())).map_err(|_| invalid())?;
            let application = apps::find(db, &application).await?;
            Ok(groups::find(db, &application, &group).await?.id)
        }
        "deploymentconfig" => {
            let name = ConfigName::from_request(Some((*name).to_owned())).map_err(|_| invalid())?;
            Ok(configs::find(db, name.as_str()).await?.id)
        }
        other => Err(ApiError::client(
            "ArnNotSupportedException",
            format!(
                "Resources of the type {other:.100} have no tags; applications, deployment groups and configurations have."
            ),
        )),
    }
}
