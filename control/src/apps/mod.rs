//! Applications, and below them their deployment groups, deployment configurations and revisions.

pub mod configs;
pub mod groups;
pub mod revisions;
pub mod rollback_rule;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row};

use crate::clock::Moment;
use crate::error::ApiError;
use crate::ids::{self, ApplicationName};

/// An application as stored. Its JSON is the API's `ApplicationInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// UUID; stays when the application is renamed.
    #[serde(rename = "applicationId")]
    pub id: String,
    /// Its name.
    #[serde(rename = "applicationName")]
    pub name: String,
    /// When it was made.
    #[serde(rename = "createTime")]
    pub created: Moment,
    linked_to_git_hub: bool,
    compute_platform: &'static str,
}

impl FromRow<'_, SqliteRow> for Application {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            created: row.try_get("created_ms")?,
            linked_to_git_hub: false,
            compute_platform: "Server",
        })
    }
}

/// Makes an application and gives its id.
///
/// # Errors
/// `ApplicationAlreadyExistsException`.
pub async fn create(db: &mut SqliteConnection, name: &ApplicationName) -> Result<String, ApiError> {
    if by_name(db, name).await?.is_some() {
        return Err(exists(name));
    }
    let id = ids::uuid();
    sqlx::query("INSERT INTO applications (id, name, created_ms) VALUES (?, ?, ?)")
        .bind(&id)
        .bind(name.as_str())
        .bind(Moment::now())
        .execute(db)
        .await?;
    Ok(id)
}

/// The application of this name.
///
/// # Errors
/// `ApplicationDoesNotExistException`.
pub async fn find(db: &mut SqliteConnection, name: &ApplicationName) -> Result<Application, ApiError> {
    by_name(db, name).await?.ok_or_else(|| {
        ApiError::client(
            "ApplicationDoesNotExistException",
            format!("There is no application {name}; `aws deploy list-applications` shows those there are."),
        )
    })
}

/// The application of this name, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn by_name(db: &mut SqliteConnection, name: &ApplicationName) -> sqlx::Result<Option<Application>> {
    sqlx::query_as("SELECT * FROM applications WHERE name = ?").bind(name.as_str()).fetch_optional(db).await
}

/// Renames an application; its deployments are shown under the new name.
///
/// # Errors
/// `ApplicationDoesNotExistException`, `ApplicationAlreadyExistsException`.
pub async fn rename(db: &mut SqliteConnection, from: &ApplicationName, to: &ApplicationName) -> Result<(), ApiError> {
    let application = find(db, from).await?;
    if from != to && by_name(db, to).await?.is_some() {
        return Err(exists(to));
    }
    for statement in [
        "UPDATE applications SET name = ?1 WHERE id = ?2",
        "UPDATE deployments SET application_name = ?1 WHERE application_id = ?2",
    ] {
        sqlx::query(statement).bind(to.as_str()).bind(&application.id).execute(&mut *db).await?;
    }
    Ok(())
}

/// Removes an application with its groups and revisions; the record of its deployments stays.
///
/// # Errors
/// Those of the database.
pub async fn delete(db: &mut SqliteConnection, application: &Application) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM resource_tags WHERE resource_id = ?1 \
         OR resource_id IN (SELECT id FROM deployment_groups WHERE application_id = ?1)",
    )
    .bind(&application.id)
    .execute(&mut *db)
    .await?;
    sqlx::query("DELETE FROM applications WHERE id = ?").bind(&application.id).execute(db).await?;
    Ok(())
}

fn exists(name: &ApplicationName) -> ApiError {
    ApiError::client("ApplicationAlreadyExistsException", format!("There is an application {name} already."))
}
