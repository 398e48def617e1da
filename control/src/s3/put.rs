//! Storing, copying and deleting objects.

use http::HeaderMap;
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag,
    Error as DeleteError, Metadata, MetadataDirective, PutObjectInput, PutObjectOutput, Timestamp, TimestampFormat,
};
use s3s::{S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use super::blobs::{MAX_PIECE, Staged};
use super::checksum::{Algorithm, Checksum, ChecksumClaim, Claims, checksum_members, set_checksum};
use super::get;
use super::store::{self, Content, ObjectHeaders, PutConditions, Version, VersionState};
use super::{Answer, ObjectStore, failed, timestamp};

/// As in S3: 2 KB of names and values.
const MAX_METADATA: usize = 2048;
/// As in S3: keys in one request to delete.
const MAX_DELETES: usize = 1000;

pub async fn put_object(store: &ObjectStore, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
    refuse_unsupported(&request.headers)?;
    let mut input = request.input;
    check_key(&input.key)?;
    check_length(input.content_length)?;
    store::require_bucket(&store.pool, &input.bucket).await?;
    let headers = object_headers!(input)?;
    let claims = claims(
        Checksum::among(checksum_members!(input))?,
        input.checksum_algorithm.as_ref(),
        (&request.headers, request.trailing_headers),
        input.content_md5.take(),
    )?;
    let staged = store.blobs.receive(input.body.take(), claims.algorithm()).await?;
    claims.verify(&staged.digests)?;
    let etag = hex::encode(staged.digests.md5);
    let version = new_version((input.bucket, input.key), etag, headers, staged).await?;
    let conditions = PutConditions { if_match: input.if_match, if_none_match: input.if_none_match };
    commit(store, &version, &conditions).await?;

    let mut output = PutObjectOutput { version_id: Some(version.version_id.clone()), ..Default::default() };
    if let Some(content) = version.content() {
        output.e_tag = Some(ETag::Strong(content.etag.clone()));
        if let Some(checksum) = &content.checksum {
            set_checksum!(output, checksum);
            output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
        }
    }
    Ok(S3Response::new(output))
}

pub async fn copy_object(store: &ObjectStore, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
    refuse_unsupported(&request.headers)?;
    let input = request.input;
    check_key(&input.key)?;
    let CopySource::Bucket { bucket, key, version_id } = &input.copy_source else {
        return Err(s3_error!(
            NotImplemented,
            "a copy's source is given as <bucket>/<key>, access points are not supported"
        ));
    };
    let conditional = input.copy_source_if_match.is_some()
        || input.copy_source_if_none_match.is_some()
        || input.copy_source_if_modified_since.is_some()
        || input.copy_source_if_unmodified_since.is_some();
    if conditional {
        return Err(s3_error!(NotImplemented, "conditions on a copy's source are not supported; name its version"));
    }
    store::require_bucket(&store.pool, &input.bucket).await?;
    let (source, mut content) = get::find(store, (bucket, key), version_id.as_deref()).await?;
    if input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE) {
        content.headers = object_headers!(input)?;
    }
    content.blob = store.blobs.link(&content.blob).await?;
    let result = CopyObjectResult {
        e_tag: Some(ETag::Strong(content.etag.clone())),
        last_modified: Some(timestamp(store::now())),
        ..Default::default()
    };
    let version = Version {
        bucket: input.bucket,
        key: input.key,
        version_id: store::fresh_version_id(),
        is_latest: true,
        state: VersionState::Stored(Box::new(content)),
        created_at: store::now(),
    };
    commit(store, &version, &PutConditions::default()).await?;
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: Some(source.version_id),
        version_id: Some(version.version_id),
        ..Default::default()
    }))
}

pub async fn delete_object(store: &ObjectStore, input: DeleteObjectInput) -> Answer<DeleteObjectOutput> {
    let deleted = delete(store, (input.bucket, input.key), input.version_id).await?;
    let output = DeleteObjectOutput {
        delete_marker: deleted.was_marker.then_some(true),
        version_id: deleted.version_id,
        ..Default::default()
    };
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}

pub async fn delete_objects(store: &ObjectStore, input: DeleteObjectsInput) -> Answer<DeleteObjectsOutput> {
    if input.delete.objects.len() > MAX_DELETES {
        return Err(s3_error!(MalformedXML, "at most {MAX_DELETES} objects can be deleted at a time"));
    }
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for object in input.delete.objects {
        let named = (Some(object.key.clone()), object.version_id.clone());
        match delete(store, (input.bucket.clone(), object.key), object.version_id).await {
            Ok(done) => deleted.push(DeletedObject {
                key: named.0,
                delete_marker: done.was_marker.then_some(true),
                delete_marker_version_id: done.version_id.filter(|_| done.was_marker),
                version_id: named.1,
            }),
            Err(error) => errors.push(DeleteError {
                key: named.0,
                version_id: named.1,
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
            }),
        }
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..Default::default()
    }))
}

struct Deleted {
    version_id: Option<String>,
    /// The version is a marker: one that was made, or one that was removed.
    was_marker: bool,
}

/// Without a version the object is only marked as deleted. Deleting what is not there is no error.
async fn delete(store: &ObjectStore, (bucket, key): (String, String), version_id: Option<String>) -> S3Result<Deleted> {
    store::require_bucket(&store.pool, &bucket).await?;
    let Some(version_id) = version_id else {
        check_key(&key)?;
        let marker = Version {
            bucket,
            key,
            version_id: store::fresh_version_id(),
            is_latest: true,
            state: VersionState::Deleted,
            created_at: store::now(),
        };
        commit(store, &marker, &PutConditions::default()).await?;
        return Ok(Deleted { version_id: Some(marker.version_id), was_marker: true });
    };
    let version = match store::find(&store.pool, &bucket, &key, Some(&version_id)).await {
        Ok(version) => version,
        Err(error) if error.code().as_str() == "NoSuchVersion" => {
            return Ok(Deleted { version_id: Some(version_id), was_marker: false });
        }
        Err(error) => return Err(error),
    };
    if let Some(blob) = store::delete_version(&store.pool, &version).await? {
        store.blobs.remove(vec![blob]).await;
    }
    Ok(Deleted { version_id: Some(version_id), was_marker: version.content().is_none() })
}

/// Puts a received content in its place and makes its version.
pub async fn new_version(
    (bucket, key): (String, String),
    etag: String,
    headers: ObjectHeaders,
    staged: Staged,
) -> S3Result<Version> {
    let (size, digests) = (staged.size, staged.digests.clone());
    let content =
        Content { blob: staged.keep().await?, size, etag, sha256: digests.sha256, checksum: digests.checksum, headers };
    Ok(Version {
        bucket,
        key,
        version_id: store::fresh_version_id(),
        is_latest: true,
        state: VersionState::Stored(Box::new(content)),
        created_at: store::now(),
    })
}

/// Records a version; if that fails, its content goes.
async fn commit(store: &ObjectStore, version: &Version, conditions: &PutConditions) -> S3Result<()> {
    let recorded = async {
        let mut transaction = store::begin(&store.pool).await?;
        store::insert(&mut transaction, version, conditions).await?;
        transaction.commit().await.map_err(failed("record the object"))
    };
    if let Err(error) = recorded.await {
        if let Some(content) = version.content() {
            store.discard(&content.blob).await;
        }
        return Err(error);
    }
    Ok(())
}

impl ObjectStore {
    /// Removes a content whose record was refused, unless the record was written after all.
    pub(super) async fn discard(&self, blob: &super::blobs::BlobId) {
        match store::refers_to(&self.pool, blob).await {
            Ok(false) => self.blobs.remove(vec![blob.clone()]).await,
            Ok(true) => {}
            Err(error) => tracing::warn!(%error, "a content may be unused; the next start will remove it then"),
        }
    }
}

/// The checksum that a client named: in a header, in a trailer to come, or only by its algorithm.
pub fn claims(
    given: Option<Checksum>,
    algorithm: Option<&ChecksumAlgorithm>,
    (headers, trailers): (&HeaderMap, Option<TrailingHeaders>),
    md5: Option<String>,
) -> S3Result<Claims> {
    let announced = headers
        .get_all("x-amz-trailer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|name| name.trim().strip_prefix("x-amz-checksum-"));
    let checksum = match (given, announced, trailers) {
        (Some(given), ..) => Some(ChecksumClaim::Given(given)),
        (None, Some(name), Some(trailers)) => Some(ChecksumClaim::Trailer(Algorithm::parse(name)?, trailers)),
        _ => algorithm.map(|name| Algorithm::parse(name.as_str())).transpose()?.map(ChecksumClaim::Compute),
    };
    Ok(Claims { md5, checksum })
}

/// What is asked for beside a content and would be silently left undone, is refused.
pub fn refuse_unsupported(headers: &HeaderMap) -> S3Result<()> {
    const REFUSED: [(&str, &str); 6] = [
        ("x-amz-server-side-encryption", "encryption by the store"),
        ("x-amz-object-lock-", "object lock"),
        ("x-amz-grant-", "access control lists"),
        ("x-amz-tagging", "object tags"),
        ("x-amz-website-redirect-location", "redirects"),
        ("x-amz-write-offset-bytes", "appending"),
    ];
    for (prefix, what) in REFUSED {
        if headers.keys().any(|name| name.as_str().starts_with(prefix)) {
            return Err(s3_error!(NotImplemented, "{what} ({prefix}) is not supported here; leave the option out"));
        }
    }
    let acl = headers.get("x-amz-acl").map(|value| value.as_bytes());
    if acl.is_some_and(|acl| !matches!(acl, b"private" | b"bucket-owner-full-control")) {
        return Err(s3_error!(
            NotImplemented,
            "access control lists (x-amz-acl) are not supported here; objects are private"
        ));
    }
    Ok(())
}

/// Keys are text that XML can carry.
pub fn check_key(key: &str) -> S3Result<()> {
    if key.is_empty() || key.chars().any(|character| character.is_control()) {
        return Err(s3_error!(InvalidArgument, "the key {key:?} is empty or has control characters"));
    }
    Ok(())
}

/// Before anything is received.
pub fn check_length(length: Option<i64>) -> S3Result<()> {
    match length.map(u64::try_from) {
        Some(Ok(length)) if length > MAX_PIECE => Err(s3_error!(
            EntityTooLarge,
            "{length} bytes are more than the {MAX_PIECE} that one request may store; upload in parts"
        )),
        _ => Ok(()),
    }
}

/// Checks and sorts what is stored beside a content.
pub fn user_metadata(metadata: Option<Metadata>) -> S3Result<std::collections::BTreeMap<String, String>> {
    let metadata: std::collections::BTreeMap<_, _> = metadata.unwrap_or_default().into_iter().collect();
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_METADATA {
        return Err(s3_error!(MetadataTooLarge, "{size} bytes of metadata are more than {MAX_METADATA}"));
    }
    Ok(metadata)
}

/// Chunks are taken apart on arrival: their encoding is not the content's.
pub fn content_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// As an HTTP date.
pub fn http_date(moment: Option<&Timestamp>) -> Option<String> {
    let mut text = Vec::new();
    moment?.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// The headers of an input that are stored; the inputs have the same members, and no type in common.
macro_rules! object_headers {
    ($input:expr) => {
        $crate::s3::put::user_metadata($input.metadata.clone()).map(|metadata| $crate::s3::store::ObjectHeaders {
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $crate::s3::put::content_encoding($input.content_encoding.clone()),
            content_language: $input.content_language.clone(),
            content_type: $input.content_type.clone(),
            expires: $crate::s3::put::http_date($input.expires.as_ref()),
            metadata,
        })
    };
}
pub(super) use object_headers;
