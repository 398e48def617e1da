//! Hosts and deployments at a glance, for operators.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use sqlx::types::Json;

use super::{Deployment, Target, TargetStatus};
use crate::revisions::RevisionLocation;

/// The newest revision of one deployment group that was deployed to a host with success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The application's name.
    pub application: String,
    /// The group's name.
    pub group: String,
    /// The deployment that brought it.
    pub deployment: String,
    /// The revision.
    pub revision: RevisionLocation,
}

/// Reads the revisions of each host, by the instance's ARN, in the order of applications and groups.
///
/// # Errors
/// Those of the database.
pub async fn deployed(db: &mut SqliteConnection) -> sqlx::Result<HashMap<String, Vec<Deployed>>> {
    let rows: Vec<(String, String, String, String, Json<RevisionLocation>)> = sqlx::query_as(
        "SELECT instance_arn, application_name, group_name, id, revision FROM ( \
             SELECT t.instance_arn, d.application_name, d.group_name, d.id, d.revision, \
                 ROW_NUMBER() OVER (PARTITION BY t.instance_arn, d.group_id ORDER BY d.seq DESC) AS place \
             FROM targets t JOIN deployments d ON d.id = t.deployment_id WHERE t.status = ?) AS newest \
         WHERE place = 1 ORDER BY application_name, group_name",
    )
    .bind(TargetStatus::Succeeded)
    .fetch_all(db)
    .await?;
    let mut all: HashMap<String, Vec<Deployed>> = HashMap::new();
    for (arn, application, group, deployment, Json(revision)) in rows {
        all.entry(arn).or_default().push(Deployed { application, group, deployment, revision });
    }
    Ok(all)
}

/// The newest deployments, the newest first; of one application where its name is given.
///
/// # Errors
/// Those of the database.
pub async fn newest(db: &mut SqliteConnection, application: Option<&str>, most: u32) -> sqlx::Result<Vec<Deployment>> {
    sqlx::query_as("SELECT * FROM deployments WHERE (?1 IS NULL OR application_name = ?1) ORDER BY seq DESC LIMIT ?2")
        .bind(application)
        .bind(most)
        .fetch_all(db)
        .await
}

/// Counts the hosts of a deployment in each state.
///
/// # Errors
/// Those of the database.
pub async fn counts(db: &mut SqliteConnection, deployment: &Deployment) -> sqlx::Result<Vec<(TargetStatus, i64)>> {
    sqlx::query_as("SELECT status, count(*) FROM targets WHERE deployment_id = ? GROUP BY status ORDER BY status")
        .bind(deployment.id.as_str())
        .fetch_all(db)
        .await
}

/// The hosts of a deployment, in the order of the fleet.
///
/// # Errors
/// Those of the database.
pub async fn targets(db: &mut SqliteConnection, deployment: &Deployment) -> sqlx::Result<Vec<Target>> {
    sqlx::query_as("SELECT * FROM targets WHERE deployment_id = ? ORDER BY rank")
        .bind(deployment.id.as_str())
        .fetch_all(db)
        .await
}
