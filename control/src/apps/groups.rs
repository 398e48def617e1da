//! Deployment groups: which hosts, and how they are deployed to.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::Application;
use super::rollback_rule::AutoRollback;
use crate::clock::Moment;
use crate::error::ApiError;
use crate::ids::{self, GroupName};
use crate::tags::Selection;
use crate::text::words;

words! {
    /// What happens to hosts that came up during a deployment. Kept for Auto Scaling.
    pub enum OutdatedInstances {
        /// They are brought up to date.
        Update = "UPDATE",
        /// They are left.
        Ignore = "IGNORE",
    }
}

/// What a user chose for a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSettings {
    /// Name of the deployment configuration.
    pub deployment_config_name: String,
    /// Kept and shown; this service needs no role.
    pub service_role_arn: String,
    /// On-premises hosts of the group.
    pub on_premises: Selection,
    /// EC2 hosts of the group.
    pub ec2: Selection,
    /// Auto Scaling groups, by name.
    pub auto_scaling_groups: Vec<String>,
    /// Rule for its deployments that bring none of their own.
    pub auto_rollback: AutoRollback,
    /// Kept and shown.
    pub outdated_instances: OutdatedInstances,
    /// Kept and shown.
    pub termination_hook_enabled: Option<bool>,
}

impl GroupSettings {
    /// What of the selection this service cannot reach yet, in words for the deployment's messages.
    pub fn unreachable_hosts(&self) -> Option<String> {
        let mut kinds = Vec::new();
        if self.ec2 != Selection::Nothing {
            kinds.push("EC2 tag filters");
        }
        if !self.auto_scaling_groups.is_empty() {
            kinds.push("Auto Scaling groups");
        }
        (!kinds.is_empty()).then(|| {
            format!(
                "The deployment group has {}; this service knows only registered on-premises instances yet, so no \
                 host was selected by them.",
                kinds.join(" and ")
            )
        })
    }
}

/// A group as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// UUID; stays when the group is renamed.
    pub id: String,
    /// The application that it belongs to.
    pub application_id: String,
    /// Its name.
    pub name: String,
    /// What the user chose.
    pub settings: GroupSettings,
}

impl FromRow<'_, SqliteRow> for Group {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let Json(settings) = row.try_get("settings")?;
        Ok(Self {
            id: row.try_get("id")?,
            application_id: row.try_get("application_id")?,
            name: row.try_get("name")?,
            settings,
        })
    }
}

/// Makes a group and gives its id.
///
/// # Errors
/// `DeploymentGroupAlreadyExistsException`.
pub async fn create(
    db: &mut SqliteConnection,
    application: &Application,
    name: &GroupName,
    settings: &GroupSettings,
) -> Result<String, ApiError> {
    if by_name(db, application, name).await?.is_some() {
        return Err(exists(application, name));
    }
    let id = ids::uuid();
    sqlx::query(
        "INSERT INTO deployment_groups (id, application_id, name, settings, created_ms) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(&application.id)
    .bind(name.as_str())
    .bind(Json(settings))
    .bind(Moment::now())
    .execute(db)
    .await?;
    Ok(id)
}

/// The group of this name.
///
/// # Errors
/// `DeploymentGroupDoesNotExistException`.
pub async fn find(db: &mut SqliteConnection, application: &Application, name: &GroupName) -> Result<Group, ApiError> {
    by_name(db, application, name).await?.ok_or_else(|| {
        ApiError::client(
            "DeploymentGroupDoesNotExistException",
            format!("The application {} has no deployment group {name}.", application.name),
        )
    })
}

/// The group of this name, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn by_name(
    db: &mut SqliteConnection,
    application: &Application,
    name: &GroupName,
) -> sqlx::Result<Option<Group>> {
    sqlx::query_as("SELECT * FROM deployment_groups WHERE application_id = ? AND name = ?")
        .bind(&application.id)
        .bind(name.as_str())
        .fetch_optional(db)
        .await
}

/// The group of this id, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn by_id(db: &mut SqliteConnection, id: &str) -> sqlx::Result<Option<Group>> {
    sqlx::query_as("SELECT * FROM deployment_groups WHERE id = ?").bind(id).fetch_optional(db).await
}

/// Groups of an application, by name.
///
/// # Errors
/// Those of the database.
pub async fn all(db: &mut SqliteConnection, application: &Application) -> sqlx::Result<Vec<Group>> {
    sqlx::query_as("SELECT * FROM deployment_groups WHERE application_id = ? ORDER BY name")
        .bind(&application.id)
        .fetch_all(db)
        .await
}

/// Stores a group's changed settings and name; deployments of it are shown under the new name.
///
/// # Errors
/// `DeploymentGroupAlreadyExistsException`.
pub async fn update(
    db: &mut SqliteConnection,
    application: &Application,
    group: &Group,
    name: &GroupName,
) -> Result<(), ApiError> {
    if by_name(db, application, name).await?.is_some_and(|other| other.id != group.id) {
        return Err(exists(application, name));
    }
    sqlx::query("UPDATE deployment_groups SET name = ?, settings = ? WHERE id = ?")
        .bind(name.as_str())
        .bind(Json(&group.settings))
        .bind(&group.id)
        .execute(&mut *db)
        .await?;
    sqlx::query("UPDATE deployments SET group_name = ?1 WHERE group_id = ?2 AND group_name <> ?1")
        .bind(name.as_str())
        .bind(&group.id)
        .execute(db)
        .await?;
    Ok(())
}

/// Removes a group; the record of its deployments stays.
///
/// # Errors
/// Those of the database.
pub async fn delete(db: &mut SqliteConnection, group: &Group) -> sqlx::Result<()> {
    for statement in [
        "DELETE FROM group_hosts WHERE group_id = ?",
        "DELETE FROM resource_tags WHERE resource_id = ?",
        "DELETE FROM deployment_groups WHERE id = ?",
    ] {
        sqlx::query(statement).bind(&group.id).execute(&mut *db).await?;
    }
    Ok(())
}

fn exists(application: &Application, name: &GroupName) -> ApiError {
    ApiError::client(
        "DeploymentGroupAlreadyExistsException",
        format!("The application {} has a deployment group {name} already.", application.name),
    )
}
