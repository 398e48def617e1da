//! What the service's own S3 knows of a revision's bundle.

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::Pinned;
use crate::error::ApiError;
use crate::revisions::S3Location;

/// Whether a host may read an object: bundles of its own deployments, and nothing else.
///
/// # Errors
/// Those of the database.
pub async fn host_may_read(pool: &SqlitePool, host_arn: &str, bucket: &str, key: &str) -> sqlx::Result<bool> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM deployments d JOIN targets t ON t.deployment_id = d.id \
         WHERE d.s3_bucket = ? AND d.s3_key = ? AND t.host_identifier = ? LIMIT 1",
    )
    .bind(bucket)
    .bind(key)
    .bind(host_arn)
    .fetch_optional(pool)
    .await?;
    Ok(found.is_some())
}

/// The version and digest that the embedded S3 has of a bundle now, so that every host of a
/// deployment, and of a later rollback to it, gets the same bytes whatever happens to the key.
/// None if the bucket is not in the embedded S3.
///
/// # Errors
/// `RevisionDoesNotExistException` if the bucket is there and the object is not.
pub(super) async fn pin(db: &mut SqliteConnection, location: &S3Location) -> Result<Option<Pinned>, ApiError> {
    let ours: Option<i64> = sqlx::query_scalar("SELECT 1 FROM buckets WHERE name = ?")
        .bind(&location.bucket)
        .fetch_optional(&mut *db)
        .await?;
    if ours.is_none() {
        return Ok(None);
    }
    let found: Option<(String, String)> = sqlx::query_as(
        "SELECT version_id, sha256 FROM objects WHERE bucket = ?1 AND key = ?2 AND delete_marker = 0 \
         AND CASE WHEN ?3 IS NOT NULL THEN version_id = ?3 WHEN ?4 IS NOT NULL THEN etag = ?4 ELSE is_latest = 1 END \
         ORDER BY id DESC LIMIT 1",
    )
    .bind(&location.bucket)
    .bind(&location.key)
    .bind(&location.version)
    .bind(&location.etag)
    .fetch_optional(db)
    .await?;
    match found {
        Some((version, sha256)) => Ok(Some(Pinned { version, sha256 })),
        None => Err(ApiError::client(
            "RevisionDoesNotExistException",
            format!(
                "The bucket {} of this service has no object {}{}; push the bundle first (`aws deploy push`).",
                location.bucket,
                location.key,
                match (&location.version, &location.etag) {
                    (Some(version), _) => format!(" of the version {version}"),
                    (None, Some(etag)) => format!(" with the ETag {etag}"),
                    (None, None) => String::new(),
                }
            ),
        )),
    }
}
