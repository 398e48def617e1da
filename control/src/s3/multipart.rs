//! Uploads in parts. The version that an upload becomes has the upload's id, so that a client that
//! lost the answer and completes once more gets the same answer.

use md5::{Digest, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::checksum::{Algorithm, Checksum, ChecksumClaim, checksum_members, set_checksum};
use super::put::{check_key, check_length, claims, new_version, object_headers, refuse_unsupported};
use super::store::{self, PutConditions, Version};
use super::uploads::{Scope, StoredPart, Upload, parts};
use super::{Answer, ObjectStore, failed, timestamp};

/// As in S3: every part but the last has at least 5 MiB.
const MIN_PART: u64 = 5 * 1024 * 1024;
/// As in S3.
const MAX_PARTS: i32 = 10_000;
const MAX_LISTED: i32 = 1000;
pub async fn create(
    store: &ObjectStore,
    request: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    refuse_unsupported(&request.headers)?;
    let input = request.input;
    check_key(&input.key)?;
    store::require_bucket(&store.pool, &input.bucket).await?;
    let algorithm = input.checksum_algorithm.as_ref().map(|name| Algorithm::parse(name.as_str())).transpose()?;
    let checksum = algorithm.map(|algorithm| (algorithm, Scope::wanted(algorithm, input.checksum_type.as_ref())));
    let headers = object_headers!(input)?;
    let upload = Upload { id: store::fresh_version_id(), bucket: input.bucket, key: input.key, checksum, headers };
    upload.insert(&store.pool).await?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        checksum_algorithm: upload.checksum.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: upload.checksum.map(|(_, scope)| ChecksumType::from_static(scope.name())),
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        ..Default::default()
    }))
}

pub async fn upload_part(store: &ObjectStore, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
    refuse_unsupported(&request.headers)?;
    let mut input = request.input;
    if !(1..=MAX_PARTS).contains(&input.part_number) {
        return Err(s3_error!(InvalidArgument, "part numbers go from 1 to {MAX_PARTS}, {} is none", input.part_number));
    }
    check_length(input.content_length)?;
    let upload = Upload::find(store, (&input.bucket, &input.key), &input.upload_id).await?;
    let mut claims = claims(
        Checksum::among(checksum_members!(input))?,
        input.checksum_algorithm.as_ref(),
        (&request.headers, request.trailing_headers),
        input.content_md5.take(),
    )?;
    match (upload.checksum, claims.algorithm()) {
        (Some((wanted, _)), None) => claims.checksum = Some(ChecksumClaim::Compute(wanted)),
        (Some((wanted, _)), Some(given)) if given != wanted => {
            return Err(s3_error!(
                InvalidRequest,
                "the upload was begun with {}, the part has {}",
                wanted.name(),
                given.name()
            ));
        }
        _ => {}
    }
    let staged = store.blobs.receive(input.body.take(), claims.algorithm()).await?;
    claims.verify(&staged.digests)?;
    let (size, digests) = (staged.size, staged.digests.clone());
    let part = StoredPart {
        number: input.part_number,
        blob: staged.keep().await?,
        size,
        etag: hex::encode(digests.md5),
        checksum: digests.checksum,
        created_at: store::now(),
    };
    match part.replace(&store.pool, &upload.id).await {
        Ok(before) => store.blobs.remove(before.into_iter().collect()).await,
        Err(error) => {
            store.discard(&part.blob).await;
            return Err(error);
        }
    }
    let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(part.etag)), ..Default::default() };
    if let Some(checksum) = &part.checksum {
        set_checksum!(output, checksum);
    }
    Ok(S3Response::new(output))
}

pub async fn complete(
    store: &ObjectStore,
    input: CompleteMultipartUploadInput,
) -> Answer<CompleteMultipartUploadOutput> {
    let upload = match Upload::find(store, (&input.bucket, &input.key), &input.upload_id).await {
        Ok(upload) => upload,
        Err(error) => return completed_before(store, &input).await.ok_or(error),
    };
    let stored = parts(&store.pool, &upload.id, 0, i64::from(MAX_PARTS)).await?;
    let named = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref()).unwrap_or_default();
    let chosen = choose(named, &stored)?;
    let composite = upload.composite(&chosen)?;
    let whole = upload.checksum.and_then(|(algorithm, scope)| (scope == Scope::Whole).then_some(algorithm));

    let staged = store.blobs.join(chosen.iter().map(|part| part.blob.clone()).collect(), whole).await?;
    let checksum = composite.or_else(|| staged.digests.checksum.clone());
    let claimed = Checksum::among(checksum_members!(input))?;
    if let Some(claimed) = claimed.filter(|claimed| Some(claimed) != checksum.as_ref()) {
        let computed =
            checksum.map_or_else(|| "none was asked for when it was begun".to_owned(), |checksum| checksum.value);
        return Err(s3_error!(
            BadDigest,
            "the checksum of the whole is said to be {}; here: {computed}",
            claimed.value
        ));
    }
    if input.mpu_object_size.is_some_and(|size| u64::try_from(size) != Ok(staged.size)) {
        return Err(s3_error!(
            InvalidRequest,
            "the parts have {} bytes together, not as many as x-amz-mp-object-size says",
            staged.size
        ));
    }
    let etag = parts_etag(&chosen)?;
    let target = (upload.bucket.clone(), upload.key.clone());
    let mut version = new_version(target, etag, upload.headers.clone(), staged).await?;
    version.version_id.clone_from(&upload.id);
    let conditions = PutConditions { if_match: input.if_match, if_none_match: input.if_none_match };
    if let Err(error) = upload.finish(&store.pool, &version, &conditions).await {
        if let Some(content) = version.content() {
            store.discard(&content.blob).await;
        }
        return Err(error);
    }
    store.blobs.remove(stored.into_iter().map(|part| part.blob).collect()).await;
    let scope = upload.checksum.map(|(_, scope)| scope);
    Ok(S3Response::new(completed(&version, checksum.zip(scope))))
}

pub async fn abort(store: &ObjectStore, input: AbortMultipartUploadInput) -> Answer<AbortMultipartUploadOutput> {
    let upload = Upload::find(store, (&input.bucket, &input.key), &input.upload_id).await?;
    let stored = parts(&store.pool, &upload.id, 0, i64::from(MAX_PARTS)).await?;
    sqlx::query("DELETE FROM uploads WHERE id = ?")
        .bind(&upload.id)
        .execute(&store.pool)
        .await
        .map_err(failed("abort the upload"))?;
    store.blobs.remove(stored.into_iter().map(|part| part.blob).collect()).await;
    Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
}

pub async fn list_parts(store: &ObjectStore, input: ListPartsInput) -> Answer<ListPartsOutput> {
    let upload = Upload::find(store, (&input.bucket, &input.key), &input.upload_id).await?;
    let limit = input.max_parts.unwrap_or(MAX_LISTED).clamp(1, MAX_LISTED);
    let after = input.part_number_marker.unwrap_or(0);
    let mut found = parts(&store.pool, &upload.id, after, i64::from(limit) + 1).await?;
    let more = found.len() > limit.unsigned_abs() as usize;
    found.truncate(limit.unsigned_abs() as usize);
    let listed = |part: &StoredPart| {
        let mut listed = Part {
            e_tag: Some(ETag::Strong(part.etag.clone())),
            last_modified: Some(timestamp(part.created_at)),
            part_number: Some(part.number),
            size: i64::try_from(part.size).ok(),
            ..Default::default()
        };
        if let Some(checksum) = &part.checksum {
            set_checksum!(listed, checksum);
        }
        listed
    };
    Ok(S3Response::new(ListPartsOutput {
        is_truncated: Some(more),
        max_parts: Some(limit),
        part_number_marker: Some(after),
        next_part_number_marker: found.last().map(|part| part.number),
        parts: Some(found.iter().map(listed).collect()),
        checksum_algorithm: upload.checksum.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: upload.checksum.map(|(_, scope)| ChecksumType::from_static(scope.name())),
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        ..Default::default()
    }))
}

pub async fn list_uploads(store: &ObjectStore, input: ListMultipartUploadsInput) -> Answer<ListMultipartUploadsOutput> {
    store::require_bucket(&store.pool, &input.bucket).await?;
    if input.delimiter.is_some() {
        return Err(s3_error!(NotImplemented, "a delimiter is not supported in the list of uploads; leave it out"));
    }
    let limit = input.max_uploads.unwrap_or(MAX_LISTED).clamp(1, MAX_LISTED);
    let prefix = input.prefix.clone().unwrap_or_default();
    let (key, id) = (input.key_marker.clone().unwrap_or_default(), input.upload_id_marker.clone().unwrap_or_default());
    let rows = sqlx::query(
        "SELECT id, key, created_at FROM uploads WHERE bucket = ?1 AND substr(key, 1, length(?2)) = ?2 \
         AND (key > ?3 OR (key = ?3 AND ?4 <> '' AND id > ?4)) ORDER BY key, id LIMIT ?5",
    )
    .bind(&input.bucket)
    .bind(&prefix)
    .bind(&key)
    .bind(&id)
    .bind(i64::from(limit) + 1)
    .fetch_all(&store.pool)
    .await
    .map_err(failed("list the uploads"))?;
    let more = rows.len() > limit.unsigned_abs() as usize;
    let listed = |row: &SqliteRow| -> Result<MultipartUpload, sqlx::Error> {
        Ok(MultipartUpload {
            initiated: Some(timestamp(row.try_get("created_at")?)),
            key: Some(row.try_get("key")?),
            upload_id: Some(row.try_get("id")?),
            ..Default::default()
        })
    };
    let uploads: Result<Vec<_>, _> = rows.iter().take(limit.unsigned_abs() as usize).map(listed).collect();
    let uploads = uploads.map_err(failed("list the uploads"))?;
    let last = uploads.last().filter(|_| more);
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        is_truncated: Some(more),
        key_marker: input.key_marker,
        upload_id_marker: input.upload_id_marker,
        max_uploads: Some(limit),
        next_key_marker: last.and_then(|upload| upload.key.clone()),
        next_upload_id_marker: last.and_then(|upload| upload.upload_id.clone()),
        prefix: input.prefix,
        uploads: Some(uploads),
        ..Default::default()
    }))
}

/// The stored parts that a client names, which must be the ones it thinks they are.
fn choose<'a>(named: &[CompletedPart], stored: &'a [StoredPart]) -> S3Result<Vec<&'a StoredPart>> {
    let mut chosen: Vec<&StoredPart> = Vec::with_capacity(named.len());
    for part in named {
        let number = part.part_number.unwrap_or(0);
        if chosen.last().is_some_and(|before| before.number >= number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "part {number} is named after a part of the same or a higher number"
            ));
        }
        let found = stored.iter().find(|stored| stored.number == number);
        let same_etag = |stored: &&StoredPart| part.e_tag.as_ref().is_none_or(|etag| etag.value() == stored.etag);
        let found = found.filter(same_etag).ok_or_else(|| {
            s3_error!(InvalidPart, "part {number} was not uploaded, or has another ETag than the one named")
        })?;
        let claimed = Checksum::among(checksum_members!(part))?;
        if claimed.is_some() && claimed != found.checksum {
            return Err(s3_error!(InvalidPart, "part {number} has another checksum than the one named"));
        }
        chosen.push(found);
    }
    let Some((_, all_but_last)) = chosen.split_last() else {
        return Err(s3_error!(MalformedXML, "no parts are named; an upload has at least one"));
    };
    if let Some(small) = all_but_last.iter().find(|part| part.size < MIN_PART) {
        return Err(s3_error!(
            EntityTooSmall,
            "part {} has {} bytes; every part but the last has at least {MIN_PART}",
            small.number,
            small.size
        ));
    }
    Ok(chosen)
}

/// Hexadecimal MD5 of the parts' MD5s, and their number.
fn parts_etag(parts: &[&StoredPart]) -> S3Result<String> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(hex::decode(&part.etag).map_err(failed("read a part's ETag"))?);
    }
    Ok(format!("{}-{}", hex::encode(md5.finalize()), parts.len()))
}

/// The answer again, where the upload was completed by an earlier request of the same id.
async fn completed_before(
    store: &ObjectStore,
    input: &CompleteMultipartUploadInput,
) -> Option<S3Response<CompleteMultipartUploadOutput>> {
    let version = store::find(&store.pool, &input.bucket, &input.key, Some(&input.upload_id)).await.ok()?;
    Some(S3Response::new(completed(&version, None)))
}

fn completed(version: &Version, checksum: Option<(Checksum, Scope)>) -> CompleteMultipartUploadOutput {
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", version.bucket, version.key)),
        bucket: Some(version.bucket.clone()),
        key: Some(version.key.clone()),
        e_tag: version.content().map(|content| ETag::Strong(content.etag.clone())),
        version_id: Some(version.version_id.clone()),
        ..Default::default()
    };
    if let Some((checksum, scope)) = &checksum {
        set_checksum!(output, checksum);
        output.checksum_type = Some(ChecksumType::from_static(scope.name()));
    }
    output
}
