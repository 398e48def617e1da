//! The records of uploads in parts.

use s3s::dto::ChecksumType;
use s3s::{S3Result, s3_error};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use super::blobs::BlobId;
use super::checksum::{Algorithm, Checksum};
use super::store::{self, ObjectHeaders, PutConditions, Version};
use super::{ObjectStore, OpenError, failed};

/// An upload that was not completed for this long was forgotten: seven days.
const ABANDONED_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// An upload that was begun.
pub struct Upload {
    pub id: String,
    pub bucket: String,
    pub key: String,
    pub checksum: Option<(Algorithm, Scope)>,
    pub headers: ObjectHeaders,
}

/// What an upload's checksum goes over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Whole,
    Parts,
}

/// A part that was received.
pub struct StoredPart {
    pub number: i32,
    pub blob: BlobId,
    pub size: u64,
    pub etag: String,
    pub checksum: Option<Checksum>,
    pub created_at: i64,
}

/// Forgets the uploads that nobody completed in a week; the sweep then removes their contents.
pub async fn expire(store: &ObjectStore) -> Result<(), OpenError> {
    let expired = sqlx::query("DELETE FROM uploads WHERE created_at < ?")
        .bind(store::now() - ABANDONED_MS)
        .execute(&store.pool)
        .await?;
    if expired.rows_affected() > 0 {
        tracing::info!(
            uploads = expired.rows_affected(),
            "removed uploads that were begun over a week ago and never completed"
        );
    }
    Ok(())
}

impl Upload {
    /// Records the upload.
    pub async fn insert(&self, pool: &SqlitePool) -> S3Result<()> {
        let doing = "begin the upload";
        sqlx::query(
            "INSERT INTO uploads (id, bucket, key, checksum_algorithm, checksum_type, headers, created_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.id)
        .bind(&self.bucket)
        .bind(&self.key)
        .bind(self.checksum.map(|(algorithm, _)| algorithm.name()))
        .bind(self.checksum.map(|(_, scope)| scope.name()))
        .bind(serde_json::to_string(&self.headers).map_err(failed(doing))?)
        .bind(store::now())
        .execute(pool)
        .await
        .map(drop)
        .map_err(failed(doing))
    }

    /// The upload of an id, if it is one to this object.
    pub async fn find(store: &ObjectStore, (bucket, key): (&str, &str), id: &str) -> S3Result<Self> {
        let doing = "look up the upload";
        let row = sqlx::query(
            "SELECT checksum_algorithm, checksum_type, headers FROM uploads WHERE id = ? AND bucket = ? AND key = ?",
        )
        .bind(id)
        .bind(bucket)
        .bind(key)
        .fetch_optional(&store.pool)
        .await
        .map_err(failed(doing))?;
        let row = row.ok_or_else(|| {
            s3_error!(
                NoSuchUpload,
                "there is no upload {id:?} to {bucket}/{key}: it was completed, aborted or never begun"
            )
        })?;
        let algorithm: Option<String> = row.try_get("checksum_algorithm").map_err(failed(doing))?;
        let scope: Option<String> = row.try_get("checksum_type").map_err(failed(doing))?;
        let algorithm = algorithm.map(|name| Algorithm::parse(&name)).transpose()?;
        let scope = if scope.as_deref() == Some(ChecksumType::FULL_OBJECT) { Scope::Whole } else { Scope::Parts };
        let headers: String = row.try_get("headers").map_err(failed(doing))?;
        Ok(Self {
            id: id.to_owned(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            checksum: algorithm.map(|algorithm| (algorithm, scope)),
            headers: serde_json::from_str(&headers).map_err(failed(doing))?,
        })
    }

    /// The checksum over the parts' checksums, if that is the kind this upload was begun with.
    pub fn composite(&self, parts: &[&StoredPart]) -> S3Result<Option<Checksum>> {
        let Some((algorithm, Scope::Parts)) = self.checksum else { return Ok(None) };
        let checksums: Option<Vec<Checksum>> = parts.iter().map(|part| part.checksum.clone()).collect();
        let value = checksums.and_then(|checksums| algorithm.composite(&checksums));
        let value =
            value.ok_or_else(|| failed("compute the checksum over the parts")("a part's checksum is missing"))?;
        Ok(Some(Checksum { algorithm, value }))
    }

    /// Turns the upload into a version, in one transaction.
    pub async fn finish(&self, pool: &SqlitePool, version: &Version, conditions: &PutConditions) -> S3Result<()> {
        let doing = "complete the upload";
        let mut transaction = store::begin(pool).await?;
        let ended = sqlx::query("DELETE FROM uploads WHERE id = ?")
            .bind(&self.id)
            .execute(&mut *transaction)
            .await
            .map_err(failed(doing))?;
        if ended.rows_affected() == 0 {
            return Err(s3_error!(NoSuchUpload, "the upload {:?} was completed or aborted meanwhile", self.id));
        }
        store::insert(&mut transaction, version, conditions).await?;
        transaction.commit().await.map_err(failed(doing))
    }
}

impl Scope {
    /// S3's own choice where the client makes none.
    pub fn wanted(algorithm: Algorithm, asked: Option<&ChecksumType>) -> Self {
        match (asked.map(ChecksumType::as_str), algorithm) {
            (Some(ChecksumType::FULL_OBJECT), _) | (None, Algorithm::Crc64Nvme) => Self::Whole,
            _ => Self::Parts,
        }
    }

    /// The name in answers and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => ChecksumType::FULL_OBJECT,
            Self::Parts => ChecksumType::COMPOSITE,
        }
    }
}

impl StoredPart {
    /// Records the part; the content of an earlier one of that number is given back.
    pub async fn replace(&self, pool: &SqlitePool, upload: &str) -> S3Result<Option<BlobId>> {
        let doing = "record the part";
        let mut transaction = store::begin(pool).await?;
        let before: Option<String> =
            sqlx::query_scalar("DELETE FROM upload_parts WHERE upload_id = ? AND number = ? RETURNING blob")
                .bind(upload)
                .bind(self.number)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed(doing))?;
        sqlx::query(
            "INSERT INTO upload_parts (upload_id, number, blob, size, etag, checksum_value, created_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(upload)
        .bind(self.number)
        .bind(self.blob.as_str())
        .bind(i64::try_from(self.size).unwrap_or(i64::MAX))
        .bind(&self.etag)
        .bind(self.checksum.as_ref().map(|checksum| checksum.value.as_str()))
        .bind(self.created_at)
        .execute(&mut *transaction)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(database) if database.is_foreign_key_violation() => {
                s3_error!(NoSuchUpload, "the upload {upload:?} was completed or aborted meanwhile")
            }
            _ => failed(doing)(error),
        })?;
        transaction.commit().await.map_err(failed(doing))?;
        Ok(before.map(BlobId::from_database))
    }

    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let algorithm: Option<String> = row.try_get("checksum_algorithm")?;
        let value: Option<String> = row.try_get("checksum_value")?;
        let algorithm = algorithm.and_then(|name| Algorithm::parse(&name).ok());
        Ok(Self {
            number: row.try_get("number")?,
            blob: BlobId::from_database(row.try_get("blob")?),
            size: row.try_get::<i64, _>("size")?.unsigned_abs(),
            etag: row.try_get("etag")?,
            checksum: algorithm.zip(value).map(|(algorithm, value)| Checksum { algorithm, value }),
            created_at: row.try_get("created_at")?,
        })
    }
}

/// The parts of an upload with higher numbers than `after`, in their order.
pub async fn parts(pool: &SqlitePool, upload: &str, after: i32, limit: i64) -> S3Result<Vec<StoredPart>> {
    let doing = "look up the parts";
    let rows = sqlx::query(
        "SELECT number, blob, size, etag, checksum_value, upload_parts.created_at, checksum_algorithm \
         FROM upload_parts JOIN uploads ON uploads.id = upload_id \
         WHERE upload_id = ? AND number > ? ORDER BY number LIMIT ?",
    )
    .bind(upload)
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(failed(doing))?;
    rows.iter().map(|row| StoredPart::from_row(row).map_err(failed(doing))).collect()
}
