//! The embedded S3: `s3s` speaks the protocol, the store behind it is ours. Every put makes a
//! version; contents are files, all else is in the database.

mod access;
mod blobs;
mod checksum;
mod get;
mod list;
mod multipart;
mod put;
mod store;
mod stream;
mod uploads;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::ServerName;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, BucketLocationConstraint, BucketVersioningStatus,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput,
    PutObjectInput, PutObjectOutput, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use sqlx::SqlitePool;

use self::access::{HostNames, KeyAccess};
use self::blobs::{BlobError, Blobs};
use crate::sigv4;

/// The store of all buckets and objects.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    pool: SqlitePool,
    blobs: Blobs,
    region: Arc<str>,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory of contents cannot be used.
    #[error("the object store cannot be opened: {0}")]
    Blobs(String),
    /// The database failed.
    #[error("the object store's records cannot be read: {0}")]
    Database(#[from] sqlx::Error),
}

/// Makes a bucket; `Ok(false)` if it was there already.
///
/// # Errors
/// If the name is none that S3 allows, or the database fails.
pub async fn create_bucket(pool: &SqlitePool, name: &str) -> Result<bool, CreateBucketError> {
    if !s3s::path::check_bucket_name(name) {
        return Err(CreateBucketError::Name(name.to_owned()));
    }
    Ok(store::create_bucket(pool, name).await?)
}

/// The names of all buckets.
///
/// # Errors
/// Those of the database.
pub async fn bucket_names(pool: &SqlitePool) -> Result<Vec<String>, sqlx::Error> {
    Ok(store::buckets(pool).await?.into_iter().map(|(name, _)| name).collect())
}

/// Why a bucket was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateBucketError {
    /// Not a bucket's name.
    #[error(
        "{0:?} cannot be a bucket's name: it takes 3 to 63 of a-z 0-9 . - and begins and ends with a letter or digit"
    )]
    Name(String),
    /// The database failed.
    #[error("the bucket could not be recorded: {0}")]
    Database(#[from] sqlx::Error),
}

impl ObjectStore {
    /// Opens the store in `directory` and removes what an interrupted life left there. Only one process may.
    ///
    /// # Errors
    /// If the directory or the database cannot be used.
    pub async fn open(pool: SqlitePool, directory: &Path, region: &str) -> Result<Self, OpenError> {
        let blobs = Blobs::open(directory).map_err(|error| OpenError::Blobs(error.to_string()))?;
        let store = Self { pool, blobs, region: region.into() };
        uploads::expire(&store).await?;
        store.sweep().await?;
        Ok(store)
    }

    /// The HTTP service, for requests that address it by path or as `<bucket>.<name>`.
    pub fn service(&self, names: &[ServerName<'static>]) -> S3Service {
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::try_from(sigv4::MAX_SKEW.as_secs()).unwrap_or(300);
        // A list of a thousand keys to delete, or of ten thousand parts to complete, is far under this.
        config.xml_max_body_size = 4 * 1024 * 1024;
        let mut builder = S3ServiceBuilder::new(self.clone());
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(KeyAccess::new(self.pool.clone()));
        builder.set_access(KeyAccess::new(self.pool.clone()));
        builder.set_host(HostNames::new(names));
        builder.build()
    }

    /// Removes contents that no record refers to: a crash between the two writes, or a failed removal, left them.
    async fn sweep(&self) -> Result<(), OpenError> {
        for shard in 0..=u8::MAX {
            let found = self.blobs.in_place(shard).map_err(|error| OpenError::Blobs(error.to_string()))?;
            let mut unused = Vec::new();
            for blob in found {
                if !store::refers_to(&self.pool, &blob).await? {
                    tracing::info!(blob = blob.as_str(), "removing a content that nothing refers to");
                    unused.push(blob);
                }
            }
            self.blobs.remove(unused).await;
        }
        Ok(())
    }
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait::async_trait]
impl S3 for ObjectStore {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        let bucket = request.input.bucket;
        if !store::create_bucket(&self.pool, &bucket).await.map_err(failed("make the bucket"))? {
            return Err(s3_error!(BucketAlreadyOwnedByYou, "the bucket {bucket:?} is there already"));
        }
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        store::require_bucket(&self.pool, &request.input.bucket).await?;
        Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(self.region.to_string()), ..Default::default() }))
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        store::delete_bucket(&self.pool, &request.input.bucket).await?;
        Ok(S3Response::with_status(DeleteBucketOutput::default(), http::StatusCode::NO_CONTENT))
    }

    async fn list_buckets(&self, _request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let buckets = store::buckets(&self.pool).await.map_err(failed("list the buckets"))?;
        let bucket = |(name, created_at)| Bucket {
            name: Some(name),
            creation_date: Some(timestamp(created_at)),
            ..Default::default()
        };
        let buckets = buckets.into_iter().map(bucket).collect();
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets), ..Default::default() }))
    }

    async fn get_bucket_location(&self, request: S3Request<GetBucketLocationInput>) -> Answer<GetBucketLocationOutput> {
        store::require_bucket(&self.pool, &request.input.bucket).await?;
        // S3 leaves it empty for its oldest region, and clients rely on that.
        let region = (&*self.region != "us-east-1").then(|| BucketLocationConstraint::from(self.region.to_string()));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint: region }))
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        store::require_bucket(&self.pool, &request.input.bucket).await?;
        let status = Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED));
        Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        get::get_object(self, request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        get::head_object(self, request).await
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        put::put_object(self, request).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        put::copy_object(self, request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        put::delete_object(self, request.input).await
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
        put::delete_objects(self, request.input).await
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        list::list_objects(self, request.input).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        list::list_objects_v2(self, request.input).await
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> Answer<ListObjectVersionsOutput> {
        list::list_object_versions(self, request.input).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        multipart::create(self, request).await
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        multipart::upload_part(self, request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        multipart::complete(self, request.input).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        multipart::abort(self, request.input).await
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        multipart::list_parts(self, request.input).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        multipart::list_uploads(self, request.input).await
    }
}

/// Our mistake: its cause goes to the log, not over the wire.
fn failed<E: fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> S3Error {
    move |cause| {
        tracing::error!(%cause, "failed to {doing}");
        s3_error!(InternalError, "the service failed to {doing}; its log says why")
    }
}

impl From<BlobError> for S3Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::TooLarge => s3_error!(EntityTooLarge, "{error}; upload it in parts"),
            BlobError::Idle => s3_error!(RequestTimeout, "{error}; nothing was stored"),
            // The protocol library's own errors: a signature or a chunk that does not hold.
            BlobError::Client(cause) => match cause.downcast::<S3Error>() {
                Ok(error) => *error,
                Err(cause) => {
                    s3_error!(IncompleteBody, "the content could not be read to its end: {cause}; nothing was stored")
                }
            },
            BlobError::Io { ref source, .. }
                if source.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) =>
            {
                tracing::error!(%error, "the disk is full");
                let mut full = S3Error::with_message(
                    S3ErrorCode::Custom("InsufficientStorage".into()),
                    "the disk of the object store is full; delete object versions or enlarge it",
                );
                full.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
                full
            }
            BlobError::Io { .. } | BlobError::Task(_) => failed("store or read the content")(error),
        }
    }
}

/// From milliseconds since the epoch.
fn timestamp(milliseconds: i64) -> Timestamp {
    let moment = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    SystemTime::from(moment).into()
}
