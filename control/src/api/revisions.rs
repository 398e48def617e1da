//! Operations on an application's revisions.

use std::cmp::Reverse;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use crate::apps::revisions::{self, RegisteredRevision};
use crate::apps::{self, Application};
use crate::clock::Moment;
use crate::error::ApiError;
use crate::ids::ApplicationName;
use crate::page::{Page, Start};
use crate::revisions::{RevisionLocation, WireLocation};
use crate::service::Service;
use crate::text::words;

words! {
    /// What a list is sorted by.
    enum SortBy {
        Registered = "registerTime",
        FirstUsed = "firstUsedTime",
        LastUsed = "lastUsedTime",
    }
}

words! {
    /// Which way it is sorted.
    enum SortOrder {
        Ascending = "ascending",
        Descending = "descending",
    }
}

words! {
    /// Whether revisions count that are some group's current one.
    enum Deployed {
        Include = "include",
        Exclude = "exclude",
        Ignore = "ignore",
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RevisionInput {
    application_name: Option<String>,
    description: Option<String>,
    revision: Option<WireLocation>,
}

pub(super) async fn register(service: &Service, input: RevisionInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    let description = super::description(input.description)?;
    let location = RevisionLocation::from_request(input.revision)?;
    let mut change = service.change().await?;
    let application = apps::find(change.db(), &name).await?;
    revisions::register(change.db(), &application, &location, description.as_deref()).await?;
    change.commit().await?;
    Ok(json!({}))
}

pub(super) async fn get(service: &Service, input: RevisionInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    let location = RevisionLocation::from_request(input.revision)?;
    let mut reader = service.pool().acquire().await?;
    let application = apps::find(&mut reader, &name).await?;
    let found = revisions::find(&mut reader, &application, &location).await?.ok_or_else(|| {
        ApiError::client(
            "RevisionDoesNotExistException",
            format!("The application {name} has no such revision; `aws deploy list-application-revisions` shows them."),
        )
    })?;
    Ok(json!({
        "applicationName": name,
        "revision": found.location,
        "revisionInfo": info(&mut reader, &application, &found).await?,
    }))
}

/// The API's `GenericRevisionInfo`.
async fn info(
    db: &mut SqliteConnection,
    application: &Application,
    revision: &RegisteredRevision,
) -> Result<Value, ApiError> {
    let mut info = json!({
        "deploymentGroups": revisions::groups_with(db, application, &revision.location).await?,
        "registerTime": revision.registered,
    });
    for (member, value) in [
        ("description", revision.description.as_ref().map(|text| json!(text))),
        ("firstUsedTime", revision.first_used.map(|time| json!(time))),
        ("lastUsedTime", revision.last_used.map(|time| json!(time))),
    ] {
        if let Some(value) = value {
            info[member] = value;
        }
    }
    Ok(info)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BatchInput {
    application_name: Option<String>,
    revisions: Option<Vec<WireLocation>>,
}

pub(super) async fn batch_get(service: &Service, input: BatchInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    let wanted = super::batch(input.revisions, 25, ("RevisionRequiredException", "BatchLimitExceededException"))?;
    let mut reader = service.pool().acquire().await?;
    let application = apps::find(&mut reader, &name).await?;
    let (mut found, mut missing) = (Vec::new(), 0_usize);
    for location in wanted {
        let location = RevisionLocation::from_request(Some(location))?;
        match revisions::find(&mut reader, &application, &location).await? {
            Some(revision) => found.push(json!({
                "revisionLocation": revision.location,
                "genericRevisionInfo": info(&mut reader, &application, &revision).await?,
            })),
            None => missing += 1,
        }
    }
    let mut answer = json!({ "applicationName": name, "revisions": found });
    if missing > 0 {
        answer["errorMessage"] = json!(format!("{missing} of the revisions are not registered for {name}."));
    }
    Ok(answer)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListInput {
    application_name: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    s3_bucket: Option<String>,
    s3_key_prefix: Option<String>,
    deployed: Option<String>,
    next_token: Option<String>,
}

pub(super) async fn list(service: &Service, input: ListInput) -> Result<Value, ApiError> {
    let name = ApplicationName::from_request(input.application_name)?;
    let sort_by = super::word(input.sort_by, "InvalidSortByException")?;
    let sort_order = super::word(input.sort_order, "InvalidSortOrderException")?;
    let deployed = super::word(input.deployed, "InvalidDeployedStateFilterException")?;
    let members = (&name, sort_by, sort_order, &input.s3_bucket, &input.s3_key_prefix, deployed);
    let start = Start::from_request(input.next_token, "ListApplicationRevisions", &members)?;
    if input.s3_key_prefix.is_some() && input.s3_bucket.is_none() {
        return Err(ApiError::client("BucketNameFilterRequiredException", "s3KeyPrefix needs s3Bucket beside it."));
    }
    let mut reader = service.pool().acquire().await?;
    let application = apps::find(&mut reader, &name).await?;
    let mut found = revisions::all(&mut reader, &application).await?;
    if let Some(bucket) = &input.s3_bucket {
        let prefix = input.s3_key_prefix.as_deref().unwrap_or_default();
        found.retain(|revision| {
            revision.location.s3().is_some_and(|s3| s3.bucket == *bucket && s3.key.starts_with(prefix))
        });
    }
    let wants_current = match deployed {
        Some(Deployed::Include) => Some(true),
        Some(Deployed::Exclude) => Some(false),
        Some(Deployed::Ignore) | None => None,
    };
    if let Some(wants_current) = wants_current {
        let current = current(&mut reader, &application).await?;
        found.retain(|revision| current.contains(&revision.location.canonical()) == wants_current);
    }
    // The number of its registration tells it from others of the same moment.
    let key = |revision: &RegisteredRevision| match sort_by {
        None | Some(SortBy::Registered) => (None, revision.seq),
        Some(SortBy::FirstUsed) => (revision.first_used.map(Moment::millis), revision.seq),
        Some(SortBy::LastUsed) => (revision.last_used.map(Moment::millis), revision.seq),
    };
    let page = match sort_order {
        None | Some(SortOrder::Ascending) => Page::of(found, &start, key)?,
        Some(SortOrder::Descending) => Page::of(found, &start, |revision| Reverse(key(revision)))?,
    };
    let locations = page.items.into_iter().map(|revision| revision.location).collect();
    Ok(Page { items: locations, next: page.next }.answer("revisions"))
}

/// Canonical locations of the revisions that the application's groups have now.
async fn current(db: &mut SqliteConnection, application: &Application) -> sqlx::Result<HashSet<String>> {
    let current: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT (SELECT d.revision FROM deployments d WHERE d.group_id = g.id AND d.status = 'Succeeded' \
         ORDER BY d.seq DESC LIMIT 1) FROM deployment_groups g WHERE g.application_id = ?",
    )
    .bind(&application.id)
    .fetch_all(db)
    .await?;
    Ok(current.into_iter().flatten().collect())
}
