//! What the service's own S3 knows of a revision's bundle.

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::Pinned;
use crate::error::ApiError;
use crate::revisions::S3Location;

/// The version of an object that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version<'a> {
    /// The one of this id.
    Named(&'a str),
    /// The newest one.
    Newest,
    /// Any version.
    Any,
}

/// Whether a host may read an object: it is registered, and the object in this version is the bundle of one of its
/// deployments.
///
/// # Errors
/// Those of the database.
pub async fn host_may_read(
    pool: &SqlitePool,
    host_arn: &str,
    (bucket, key): (&str, &str),
    version: Version<'_>,
) -> sqlx::Result<bool> {
    let versions: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT DISTINCT d.pinned_version FROM deployments d JOIN targets t ON t.deployment_id = d.id \
         WHERE d.s3_bucket = ?1 AND d.s3_key = ?2 AND t.host_identifier = ?3 \
         AND EXISTS (SELECT 1 FROM instances WHERE identity_arn = ?3 AND deregistered_ms IS NULL)",
    )
    .bind(bucket)
    .bind(key)
    .bind(host_arn)
    .fetch_all(pool)
    .await?;
    let asked = match version {
        Version::Any => return Ok(!versions.is_empty()),
        Version::Named(asked) => Some(asked.to_owned()),
        Version::Newest => {
            let newest = "SELECT version_id FROM objects WHERE bucket = ? AND key = ? AND is_latest = 1";
            sqlx::query_scalar(newest).bind(bucket).bind(key).fetch_optional(pool).await?
        }
    };
    Ok(asked.is_some_and(|asked| versions.iter().flatten().any(|version| *version == asked)))
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
