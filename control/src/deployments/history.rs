//! What a group remembers of its hosts.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;

use super::order::History;
use super::{Deployment, Target, TargetStatus};

/// Of every host that the group has deployed to, by the instance's ARN.
///
/// # Errors
/// Those of the database.
pub async fn of_group(db: &mut SqliteConnection, group_id: &str) -> sqlx::Result<HashMap<String, History>> {
    let rows: Vec<(String, TargetStatus, Option<String>)> =
        sqlx::query_as("SELECT instance_arn, last_status, revision_key FROM group_hosts WHERE group_id = ?")
            .bind(group_id)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(arn, last_status, revision_key)| (arn, History { last_status, revision_key })).collect())
}

/// Notes how a host ended.
///
/// # Errors
/// Those of the database.
pub async fn note(
    db: &mut SqliteConnection,
    deployment: &Deployment,
    target: &Target,
    status: TargetStatus,
) -> sqlx::Result<()> {
    let revision_key = (status == TargetStatus::Succeeded).then_some(deployment.revision_key.as_str());
    sqlx::query(
        "INSERT INTO group_hosts (group_id, instance_arn, last_status, revision_key) VALUES (?, ?, ?, ?) \
         ON CONFLICT (group_id, instance_arn) DO UPDATE SET last_status = excluded.last_status, \
         revision_key = coalesce(excluded.revision_key, revision_key)",
    )
    .bind(&deployment.group_id)
    .bind(&target.instance_arn)
    .bind(status)
    .bind(revision_key)
    .execute(db)
    .await?;
    Ok(())
}
