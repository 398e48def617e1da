//! Buckets and the versions of their objects, in the database.

use std::collections::BTreeMap;

use s3s::dto::{ETag, ETagCondition};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Row, SqlitePool, Transaction};

use super::blobs::BlobId;
use super::checksum::{Algorithm, Checksum};
use super::failed;

/// A version of an object, or the marker of its deletion.
#[derive(Clone, Debug)]
pub struct Version {
    pub bucket: String,
    pub key: String,
    pub version_id: String,
    pub is_latest: bool,
    pub state: VersionState,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// What a version is.
#[derive(Clone, Debug)]
pub enum VersionState {
    Deleted,
    Stored(Box<Content>),
}

/// A stored content and what was said of it.
#[derive(Clone, Debug)]
pub struct Content {
    pub blob: BlobId,
    /// Bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Hexadecimal, of the whole.
    pub sha256: String,
    /// Another checksum of the whole.
    pub checksum: Option<Checksum>,
    pub headers: ObjectHeaders,
}

/// What a client stores beside a content and gets back with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHeaders {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// HTTP date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `x-amz-meta-…`, without the prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// What must hold of the latest version for a new one to be stored.
#[derive(Clone, Debug, Default)]
pub struct PutConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

const COLUMNS: &str = "bucket, key, version_id, is_latest, delete_marker, blob, size, etag, sha256, \
                       checksum_algorithm, checksum_value, headers, created_at";

/// Makes a bucket; `false` if it is there already.
pub async fn create_bucket(pool: &SqlitePool, name: &str) -> Result<bool, sqlx::Error> {
    let made = sqlx::query("INSERT INTO buckets (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(name)
        .bind(now())
        .execute(pool)
        .await?;
    Ok(made.rows_affected() == 1)
}

/// All buckets and when they were made.
pub async fn buckets(pool: &SqlitePool) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as("SELECT name, created_at FROM buckets ORDER BY name").fetch_all(pool).await
}

/// Refuses a bucket that is not there.
pub async fn require_bucket(pool: &SqlitePool, name: &str) -> S3Result<()> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM buckets WHERE name = ?")
        .bind(name)
        .fetch_optional(pool)
        .await
        .map_err(failed("look up the bucket"))?;
    found.map(drop).ok_or_else(|| {
        s3_error!(NoSuchBucket, "there is no bucket {name:?}; `slipway-control bucket create {name}` makes it")
    })
}

/// Removes a bucket that has no versions and no unfinished uploads.
pub async fn delete_bucket(pool: &SqlitePool, name: &str) -> S3Result<()> {
    require_bucket(pool, name).await?;
    let deleted = sqlx::query(
        "DELETE FROM buckets WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1) \
         AND NOT EXISTS (SELECT 1 FROM uploads WHERE bucket = ?1)",
    )
    .bind(name)
    .execute(pool)
    .await
    .map_err(failed("delete the bucket"))?;
    if deleted.rows_affected() == 1 {
        return Ok(());
    }
    Err(s3_error!(
        BucketNotEmpty,
        "the bucket {name:?} still has object versions, delete markers or unfinished uploads; delete those first"
    ))
}

/// One version, or the latest.
pub async fn find(pool: &SqlitePool, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Version> {
    let row = match version {
        Some(version) => {
            sqlx::query(sql(format!("SELECT {COLUMNS} FROM objects WHERE version_id = ? AND bucket = ? AND key = ?")))
                .bind(version)
                .bind(bucket)
                .bind(key)
                .fetch_optional(pool)
                .await
        }
        None => {
            sqlx::query(sql(format!("SELECT {COLUMNS} FROM objects WHERE bucket = ? AND key = ? AND is_latest = 1")))
                .bind(bucket)
                .bind(key)
                .fetch_optional(pool)
                .await
        }
    };
    if let Some(row) = row.map_err(failed("look up the object"))? {
        return Version::from_row(&row).map_err(failed("read the object's record"));
    }
    require_bucket(pool, bucket).await?;
    Err(match version {
        Some(version) => s3_error!(NoSuchVersion, "{bucket}/{key} has no version {version:?}"),
        None => s3_error!(NoSuchKey, "the bucket {bucket:?} has no object {key:?}"),
    })
}

/// Stores a new version of an object, within a transaction that [`begin`] began.
pub async fn insert(
    transaction: &mut Transaction<'_, Sqlite>,
    version: &Version,
    conditions: &PutConditions,
) -> S3Result<()> {
    check(transaction, version, conditions).await?;
    sqlx::query("UPDATE objects SET is_latest = 0 WHERE bucket = ? AND key = ? AND is_latest = 1")
        .bind(&version.bucket)
        .bind(&version.key)
        .execute(&mut **transaction)
        .await
        .map_err(failed("record the object"))?;
    let content = version.content();
    let headers = content.map(|content| serde_json::to_string(&content.headers)).transpose();
    let checksum = content.and_then(|content| content.checksum.as_ref());
    sqlx::query(sql(format!("INSERT INTO objects ({COLUMNS}) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)")))
        .bind(&version.bucket)
        .bind(&version.key)
        .bind(&version.version_id)
        .bind(i64::from(content.is_none()))
        .bind(content.map(|content| content.blob.as_str()))
        .bind(content.map_or(0, |content| i64::try_from(content.size).unwrap_or(i64::MAX)))
        .bind(content.map(|content| content.etag.as_str()))
        .bind(content.map(|content| content.sha256.as_str()))
        .bind(checksum.map(|checksum| checksum.algorithm.name()))
        .bind(checksum.map(|checksum| checksum.value.as_str()))
        .bind(headers.map_err(failed("record the object's headers"))?.unwrap_or_else(|| "{}".to_owned()))
        .bind(version.created_at)
        .execute(&mut **transaction)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(database) if database.is_foreign_key_violation() => {
                s3_error!(NoSuchBucket, "the bucket {:?} was deleted meanwhile", version.bucket)
            }
            _ => failed("record the object")(error),
        })?;
    Ok(())
}

/// Removes one version for good; the one before it becomes the latest. `None`: there was none.
pub async fn delete_version(pool: &SqlitePool, of: &Version) -> S3Result<Option<BlobId>> {
    let doing = "delete the version";
    let mut transaction = begin(pool).await?;
    let row = sqlx::query("DELETE FROM objects WHERE version_id = ? RETURNING blob, is_latest")
        .bind(&of.version_id)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed(doing))?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<i64, _>("is_latest").map_err(failed(doing))? == 1 {
        sqlx::query(
            "UPDATE objects SET is_latest = 1 \
             WHERE id = (SELECT id FROM objects WHERE bucket = ? AND key = ? ORDER BY id DESC LIMIT 1)",
        )
        .bind(&of.bucket)
        .bind(&of.key)
        .execute(&mut *transaction)
        .await
        .map_err(failed(doing))?;
    }
    transaction.commit().await.map_err(failed(doing))?;
    Ok(row.try_get::<Option<String>, _>("blob").map_err(failed(doing))?.map(BlobId::from_database))
}

/// Latest versions that are not deleted, by key, from `from` on (or after it).
pub async fn latest_from(pool: &SqlitePool, bucket: &str, from: &Position, limit: i64) -> S3Result<Vec<Version>> {
    let query = format!(
        "SELECT {COLUMNS} FROM objects \
         WHERE bucket = ? AND is_latest = 1 AND delete_marker = 0 AND key {} ? ORDER BY key LIMIT ?",
        from.comparison()
    );
    let rows = sqlx::query(sql(query)).bind(bucket).bind(from.key()).bind(limit).fetch_all(pool).await;
    versions(&rows.map_err(failed("list the objects"))?)
}

/// All versions by key, newest first, from `from` on (or after it).
pub async fn versions_from(pool: &SqlitePool, bucket: &str, from: &Position, limit: i64) -> S3Result<Vec<Version>> {
    let query = format!(
        "SELECT {COLUMNS} FROM objects WHERE bucket = ? AND key {} ? ORDER BY key, id DESC LIMIT ?",
        from.comparison()
    );
    let rows = sqlx::query(sql(query)).bind(bucket).bind(from.key()).bind(limit).fetch_all(pool).await;
    versions(&rows.map_err(failed("list the versions"))?)
}

/// Older versions of one key than a given one, newest first.
pub async fn versions_before(pool: &SqlitePool, of: &Version, limit: i64) -> S3Result<Vec<Version>> {
    let query = format!(
        "SELECT {COLUMNS} FROM objects WHERE bucket = ? AND key = ? \
         AND id < (SELECT id FROM objects WHERE version_id = ?) ORDER BY id DESC LIMIT ?"
    );
    let rows =
        sqlx::query(sql(query)).bind(&of.bucket).bind(&of.key).bind(&of.version_id).bind(limit).fetch_all(pool).await;
    versions(&rows.map_err(failed("list the versions"))?)
}

/// Whether the database refers to a content.
pub async fn refers_to(pool: &SqlitePool, blob: &BlobId) -> Result<bool, sqlx::Error> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM objects WHERE blob = ?1 UNION ALL SELECT 1 FROM upload_parts WHERE blob = ?1 LIMIT 1",
    )
    .bind(blob.as_str())
    .fetch_optional(pool)
    .await?;
    Ok(found.is_some())
}

/// A transaction that holds the write lock from its begin, so that it cannot fail half-way for the lack of it.
pub async fn begin(pool: &SqlitePool) -> S3Result<Transaction<'static, Sqlite>> {
    pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed("begin a transaction"))
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    At(String),
    After(String),
}

impl Position {
    fn comparison(&self) -> &'static str {
        match self {
            Self::At(_) => ">=",
            Self::After(_) => ">",
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::At(key) | Self::After(key) => key,
        }
    }
}

impl Version {
    /// The content, unless this is a delete marker.
    pub fn content(&self) -> Option<&Content> {
        match &self.state {
            VersionState::Stored(content) => Some(content),
            VersionState::Deleted => None,
        }
    }

    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let state = match row.try_get::<i64, _>("delete_marker")? {
            0 => VersionState::Stored(Box::new(Content::from_row(row)?)),
            _ => VersionState::Deleted,
        };
        Ok(Self {
            bucket: row.try_get("bucket")?,
            key: row.try_get("key")?,
            version_id: row.try_get("version_id")?,
            is_latest: row.try_get::<i64, _>("is_latest")? == 1,
            state,
            created_at: row.try_get("created_at")?,
        })
    }
}

impl Content {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let algorithm: Option<String> = row.try_get("checksum_algorithm")?;
        let algorithm = algorithm.and_then(|name| Algorithm::parse(&name).ok());
        let value: Option<String> = row.try_get("checksum_value")?;
        Ok(Self {
            blob: BlobId::from_database(row.try_get("blob")?),
            size: row.try_get::<i64, _>("size")?.unsigned_abs(),
            etag: row.try_get("etag")?,
            sha256: row.try_get("sha256")?,
            checksum: algorithm.zip(value).map(|(algorithm, value)| Checksum { algorithm, value }),
            headers: serde_json::from_str(row.try_get("headers")?)
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        })
    }
}

/// A new version's id; not guessable, as they are handed out.
pub fn fresh_version_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Milliseconds since the epoch.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

async fn check(
    transaction: &mut Transaction<'_, Sqlite>,
    version: &Version,
    conditions: &PutConditions,
) -> S3Result<()> {
    if conditions.if_match.is_none() && conditions.if_none_match.is_none() {
        return Ok(());
    }
    let etag: Option<String> = sqlx::query_scalar(
        "SELECT etag FROM objects WHERE bucket = ? AND key = ? AND is_latest = 1 AND delete_marker = 0",
    )
    .bind(&version.bucket)
    .bind(&version.key)
    .fetch_optional(&mut **transaction)
    .await
    .map_err(failed("look up the object"))?;
    let (bucket, key) = (&version.bucket, &version.key);
    match (&conditions.if_match, &etag) {
        (Some(_), None) => return Err(s3_error!(NoSuchKey, "If-Match: there is no {bucket}/{key}")),
        (Some(condition), Some(etag)) if !matches_etag(condition, etag) => {
            return Err(s3_error!(PreconditionFailed, "If-Match: the ETag of {bucket}/{key} is {etag:?}"));
        }
        _ => {}
    }
    match (&conditions.if_none_match, &etag) {
        (Some(condition), Some(etag)) if matches_etag(condition, etag) => {
            Err(s3_error!(PreconditionFailed, "If-None-Match: {bucket}/{key} is there already, with the ETag {etag:?}"))
        }
        _ => Ok(()),
    }
}

/// Whether an `If-Match` or `If-None-Match` names this ETag.
pub fn matches_etag(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(value) | ETag::Weak(value)) => value == etag,
    }
}

fn versions(rows: &[SqliteRow]) -> S3Result<Vec<Version>> {
    rows.iter().map(|row| Version::from_row(row).map_err(failed("read the object's record"))).collect()
}

/// Only constants of this module are put into these texts; values are bound.
fn sql(text: String) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(text)
}
