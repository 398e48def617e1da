//! Deployments: how one begins, goes from host to host and event to event, and ends.
//!
//! Every step is one transaction, so that a service that is killed between two of them goes on
//! with the next. [`launch`] begins one, [`progress`] takes the results of events, [`schedule`]
//! decides what they mean for the fleet, [`halt`] stops, [`rollback`] returns to what was good.

mod bundle;
pub mod commands;
pub mod halt;
pub mod history;
pub mod launch;
pub mod order;
pub mod overview;
pub mod progress;
mod rollback;
pub mod schedule;
pub mod specification;
mod states;
pub mod waiting;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use crate::apps::rollback_rule::AutoRollback;
use crate::clock::Moment;
use crate::health::Fleet;
use crate::ids::DeploymentId;
use crate::revisions::RevisionLocation;

pub use self::bundle::{Version, host_may_read};
pub use self::states::{Creator, DeploymentStatus, ErrorCode, EventError, EventStatus, FileExists, Halt, TargetStatus};

/// What a host runs, in order, when it is deployed to in place without a load balancer.
pub const EVENTS: [&str; 7] = [
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
];

/// The event whose failure can be ignored.
pub const APPLICATION_STOP: &str = EVENTS[0];

/// How a deployment's revision comes to the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Downloaded and installed.
    Deploy,
    /// Installed again from what the hosts kept of the last successful deployment.
    Restart,
}

/// What a user chose for one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentOptions {
    /// For people.
    pub description: Option<String>,
    /// A failing ApplicationStop does not fail the host.
    pub ignore_application_stop_failures: bool,
    /// Only hosts that do not have the revision yet.
    pub update_outdated_instances_only: bool,
    /// What happens to files in the way.
    pub file_exists: FileExists,
    /// Of the deployment, or else of its group when it was made.
    pub auto_rollback: AutoRollback,
    /// How the revision comes to the hosts.
    pub mode: Mode,
}

/// The content that the embedded S3 held when the deployment was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Version of the object.
    pub version: String,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
}

/// A deployment as stored.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Grows with every deployment.
    pub seq: i64,
    /// Its id.
    pub id: DeploymentId,
    /// Of the application, also when that is gone.
    pub application_id: String,
    /// Of the application, also when that is gone.
    pub application_name: String,
    /// Of the group, also when that is gone.
    pub group_id: String,
    /// Of the group, also when that is gone.
    pub group_name: String,
    /// Name of the deployment configuration.
    pub config_name: String,
    /// State.
    pub status: DeploymentStatus,
    /// Who made it.
    pub creator: Creator,
    /// What it deploys.
    pub revision: RevisionLocation,
    /// Equal for equal content, as far as is known.
    pub revision_key: String,
    /// What the group had before.
    pub previous_revision: Option<RevisionLocation>,
    /// Which content exactly, where known.
    pub pinned: Option<Pinned>,
    /// With [`Mode::Restart`]: the deployment whose archive is used again.
    pub reuse_archive_from: Option<String>,
    /// What the user chose.
    pub options: DeploymentOptions,
    /// What the user should know.
    pub messages: Vec<String>,
    /// When it was made.
    pub created: Moment,
    /// When its first host began.
    pub started: Option<Moment>,
    /// When it ended.
    pub completed: Option<Moment>,
    /// Why it did not succeed, and that in words.
    pub error: Option<(ErrorCode, String)>,
    /// Why it gives out nothing more.
    pub halt: Option<Halt>,
    /// The deployment that rolled this one back.
    pub rollback_deployment_id: Option<String>,
    /// The deployment that this one rolls back.
    pub rollback_of: Option<String>,
    /// What happened about a rollback.
    pub rollback_message: Option<String>,
    /// Its hosts, and how many must stay healthy.
    pub fleet: Fleet,
}

impl FromRow<'_, SqliteRow> for Deployment {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let Json(revision) = row.try_get("revision")?;
        let previous: Option<Json<RevisionLocation>> = row.try_get("previous_revision")?;
        let Json(options) = row.try_get("options")?;
        let Json(messages) = row.try_get("messages")?;
        let version: Option<String> = row.try_get("pinned_version")?;
        let sha256: Option<String> = row.try_get("pinned_sha256")?;
        let code: Option<ErrorCode> = row.try_get("error_code")?;
        let error_message: Option<String> = row.try_get("error_message")?;
        Ok(Self {
            seq: row.try_get("seq")?,
            id: DeploymentId::stored(row.try_get("id")?),
            application_id: row.try_get("application_id")?,
            application_name: row.try_get("application_name")?,
            group_id: row.try_get("group_id")?,
            group_name: row.try_get("group_name")?,
            config_name: row.try_get("config_name")?,
            status: row.try_get("status")?,
            creator: row.try_get("creator")?,
            revision,
            revision_key: row.try_get("revision_key")?,
            previous_revision: previous.map(|Json(location)| location),
            pinned: version.zip(sha256).map(|(version, sha256)| Pinned { version, sha256 }),
            reuse_archive_from: row.try_get("reuse_archive_from")?,
            options,
            messages,
            created: row.try_get("created_ms")?,
            started: row.try_get("started_ms")?,
            completed: row.try_get("completed_ms")?,
            error: code.map(|code| (code, error_message.unwrap_or_default())),
            halt: row.try_get("halt")?,
            rollback_deployment_id: row.try_get("rollback_deployment_id")?,
            rollback_of: row.try_get("rollback_of")?,
            rollback_message: row.try_get("rollback_message")?,
            fleet: Fleet::stored(row.try_get("fleet")?, row.try_get("minimum_healthy")?),
        })
    }
}

/// One host of a deployment.
#[derive(Clone, Debug)]
pub struct Target {
    /// Row id.
    pub id: i64,
    /// Its deployment.
    pub deployment_id: String,
    /// ARN of the instance.
    pub instance_arn: String,
    /// Name of the instance.
    pub instance_name: String,
    /// Who its agent is.
    pub host_identifier: String,
    /// State.
    pub status: TargetStatus,
    /// When that changed, or one of its events.
    pub updated: Moment,
}

impl FromRow<'_, SqliteRow> for Target {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            deployment_id: row.try_get("deployment_id")?,
            instance_arn: row.try_get("instance_arn")?,
            instance_name: row.try_get("instance_name")?,
            host_identifier: row.try_get("host_identifier")?,
            status: row.try_get("status")?,
            updated: row.try_get("updated_ms")?,
        })
    }
}

/// The deployment of this id, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn by_id(db: &mut SqliteConnection, id: &str) -> sqlx::Result<Option<Deployment>> {
    sqlx::query_as("SELECT * FROM deployments WHERE id = ?").bind(id).fetch_optional(db).await
}

/// The last deployment of a group that succeeded.
///
/// # Errors
/// Those of the database.
pub async fn last_successful(db: &mut SqliteConnection, group_id: &str) -> sqlx::Result<Option<Deployment>> {
    sqlx::query_as("SELECT * FROM deployments WHERE group_id = ? AND status = 'Succeeded' ORDER BY seq DESC LIMIT 1")
        .bind(group_id)
        .fetch_optional(db)
        .await
}

/// The last deployment of a group, however it ended.
///
/// # Errors
/// Those of the database.
pub async fn last_attempted(db: &mut SqliteConnection, group_id: &str) -> sqlx::Result<Option<Deployment>> {
    sqlx::query_as("SELECT * FROM deployments WHERE group_id = ? ORDER BY seq DESC LIMIT 1")
        .bind(group_id)
        .fetch_optional(db)
        .await
}

/// Ids of the deployments that have not ended, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn unfinished(pool: &SqlitePool) -> sqlx::Result<Vec<DeploymentId>> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM deployments WHERE completed_ms IS NULL ORDER BY seq")
        .fetch_all(pool)
        .await?;
    Ok(ids.into_iter().map(DeploymentId::stored).collect())
}

/// Deployments that have taken too long and were not told so yet.
///
/// # Errors
/// Those of the database.
pub async fn overdue(db: &mut SqliteConnection, now: Moment) -> sqlx::Result<Vec<Deployment>> {
    sqlx::query_as("SELECT * FROM deployments WHERE completed_ms IS NULL AND halt IS NULL AND deadline_ms <= ?")
        .bind(now)
        .fetch_all(db)
        .await
}

/// The deployment of a group that has not ended, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn active_in_group(db: &mut SqliteConnection, group_id: &str) -> sqlx::Result<Option<DeploymentId>> {
    let id: Option<String> =
        sqlx::query_scalar("SELECT id FROM deployments WHERE group_id = ? AND completed_ms IS NULL LIMIT 1")
            .bind(group_id)
            .fetch_optional(db)
            .await?;
    Ok(id.map(DeploymentId::stored))
}
