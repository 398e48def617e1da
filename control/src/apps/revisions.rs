//! Which revisions an application has, and when each was used.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::Application;
use crate::clock::Moment;
use crate::revisions::RevisionLocation;

/// A revision that was registered, by a user or by its first deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredRevision {
    /// Grows with registration.
    pub seq: i64,
    /// Where it is.
    pub location: RevisionLocation,
    /// What its author wrote.
    pub description: Option<String>,
    /// When it was registered.
    pub registered: Moment,
    /// When it was deployed first.
    pub first_used: Option<Moment>,
    /// When it was deployed last.
    pub last_used: Option<Moment>,
}

impl FromRow<'_, SqliteRow> for RegisteredRevision {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let Json(location) = row.try_get("location")?;
        Ok(Self {
            seq: row.try_get("seq")?,
            location,
            description: row.try_get("description")?,
            registered: row.try_get("registered_ms")?,
            first_used: row.try_get("first_used_ms")?,
            last_used: row.try_get("last_used_ms")?,
        })
    }
}

/// Registers a revision; one that is registered already gets the new description, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn register(
    db: &mut SqliteConnection,
    application: &Application,
    location: &RevisionLocation,
    description: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO revisions (application_id, location, description, s3_bucket, s3_key, registered_ms) \
         VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (application_id, location) DO UPDATE SET description = coalesce(excluded.description, description)",
    )
    .bind(&application.id)
    .bind(location.canonical())
    .bind(description)
    .bind(location.s3().map(|s3| s3.bucket.as_str()))
    .bind(location.s3().map(|s3| s3.key.as_str()))
    .bind(Moment::now())
    .execute(db)
    .await?;
    Ok(())
}

/// Registers a revision if need be, and notes that it is being deployed.
///
/// # Errors
/// Those of the database.
pub async fn note_use(
    db: &mut SqliteConnection,
    application: &Application,
    location: &RevisionLocation,
) -> sqlx::Result<()> {
    register(db, application, location, None).await?;
    sqlx::query(
        "UPDATE revisions SET first_used_ms = coalesce(first_used_ms, ?1), last_used_ms = ?1 \
         WHERE application_id = ?2 AND location = ?3",
    )
    .bind(Moment::now())
    .bind(&application.id)
    .bind(location.canonical())
    .execute(db)
    .await?;
    Ok(())
}

/// A revision of the application, if it is registered.
///
/// # Errors
/// Those of the database.
pub async fn find(
    db: &mut SqliteConnection,
    application: &Application,
    location: &RevisionLocation,
) -> sqlx::Result<Option<RegisteredRevision>> {
    sqlx::query_as("SELECT * FROM revisions WHERE application_id = ? AND location = ?")
        .bind(&application.id)
        .bind(location.canonical())
        .fetch_optional(db)
        .await
}

/// All revisions of an application, in the order of registration.
///
/// # Errors
/// Those of the database.
pub async fn all(db: &mut SqliteConnection, application: &Application) -> sqlx::Result<Vec<RegisteredRevision>> {
    sqlx::query_as("SELECT * FROM revisions WHERE application_id = ? ORDER BY seq")
        .bind(&application.id)
        .fetch_all(db)
        .await
}

/// Names of the groups whose last successful deployment brought this revision.
///
/// # Errors
/// Those of the database.
pub async fn groups_with(
    db: &mut SqliteConnection,
    application: &Application,
    location: &RevisionLocation,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT g.name FROM deployment_groups g \
         WHERE g.application_id = ? AND (SELECT d.revision FROM deployments d \
             WHERE d.group_id = g.id AND d.status = 'Succeeded' ORDER BY d.seq DESC LIMIT 1) = ? \
         ORDER BY g.name",
    )
    .bind(&application.id)
    .bind(location.canonical())
    .fetch_all(db)
    .await
}
