//! Reading objects: conditions, ranges, versions.

use std::ops::Range as Bytes;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    ChecksumMode, ChecksumType, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, Metadata, Range, StreamingBlob, Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::checksum::{Algorithm, Checksum, set_checksum};
use super::store::{self, Content, Version, VersionState, matches_etag};
use super::{Answer, ObjectStore, timestamp};

pub async fn get_object(store: &ObjectStore, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
    let input = &request.input;
    refuse_part(input.part_number)?;
    let (version, content) = find(store, (&input.bucket, &input.key), input.version_id.as_deref()).await?;
    Conditions {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    }
    .check(&version, &content)?;
    let part = requested_part(input.range, &request.headers, &version, &content)?;
    let range = part.clone().unwrap_or(0..content.size);
    let mut output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: content.headers.cache_control.clone(),
        content_disposition: content.headers.content_disposition.clone(),
        content_encoding: content.headers.content_encoding.clone(),
        content_language: content.headers.content_language.clone(),
        content_length: Some(length(&range)),
        content_range: part.as_ref().map(|part| content_range(part, &content)),
        content_type: Some(content_type(&content)),
        e_tag: Some(ETag::Strong(content.etag.clone())),
        expires: expires(&content),
        last_modified: Some(timestamp(version.created_at)),
        metadata: metadata(&content),
        version_id: Some(version.version_id.clone()),
        ..Default::default()
    };
    // They are over the whole: beside a part of the content a client would take them for the part's.
    if part.is_none() && wants_checksums(input.checksum_mode.as_ref()) {
        for checksum in checksums(&content) {
            set_checksum!(output, &checksum);
        }
        output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    }
    output.body = Some(StreamingBlob::new(store.blobs.read(&content.blob, range).await?));
    Ok(S3Response::new(output))
}

pub async fn head_object(store: &ObjectStore, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
    let input = &request.input;
    refuse_part(input.part_number)?;
    let (version, content) = find(store, (&input.bucket, &input.key), input.version_id.as_deref()).await?;
    Conditions {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    }
    .check(&version, &content)?;
    let part = requested_part(input.range, &request.headers, &version, &content)?;
    let mut output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: content.headers.cache_control.clone(),
        content_disposition: content.headers.content_disposition.clone(),
        content_encoding: content.headers.content_encoding.clone(),
        content_language: content.headers.content_language.clone(),
        content_length: Some(length(&part.clone().unwrap_or(0..content.size))),
        content_range: part.as_ref().map(|part| content_range(part, &content)),
        content_type: Some(content_type(&content)),
        e_tag: Some(ETag::Strong(content.etag.clone())),
        expires: expires(&content),
        last_modified: Some(timestamp(version.created_at)),
        metadata: metadata(&content),
        version_id: Some(version.version_id.clone()),
        ..Default::default()
    };
    if wants_checksums(input.checksum_mode.as_ref()) {
        for checksum in checksums(&content) {
            set_checksum!(output, &checksum);
        }
        output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    }
    let mut response = S3Response::new(output);
    if part.is_some() {
        response.status = Some(http::StatusCode::PARTIAL_CONTENT);
    }
    Ok(response)
}

/// The version that a request names, with its content; a delete marker is an error that says so.
pub async fn find(
    store: &ObjectStore,
    (bucket, key): (&str, &str),
    version_id: Option<&str>,
) -> S3Result<(Version, Content)> {
    let mut version = store::find(&store.pool, bucket, key, version_id).await?;
    match std::mem::replace(&mut version.state, VersionState::Deleted) {
        VersionState::Stored(content) => Ok((version, *content)),
        VersionState::Deleted => {
            let mut error = match version_id {
                Some(_) => s3_error!(MethodNotAllowed, "this version of {bucket}/{key} is a delete marker"),
                None => s3_error!(NoSuchKey, "the object {key:?} was deleted; its older versions are still there"),
            };
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
            add_header(&mut headers, "x-amz-version-id", &version.version_id);
            error.set_headers(headers);
            Err(error)
        }
    }
}

/// The checksums of a whole content: SHA-256 always, and the one that its client named.
pub fn checksums(content: &Content) -> Vec<Checksum> {
    let sha256 = hex::decode(&content.sha256).map(|digest| STANDARD.encode(digest)).unwrap_or_default();
    let sha256 = Checksum { algorithm: Algorithm::Sha256, value: sha256 };
    std::iter::once(sha256).chain(content.checksum.clone()).collect()
}

/// The preconditions of RFC 9110, 13.2.2, in its order.
struct Conditions<'a> {
    if_match: Option<&'a ETagCondition>,
    if_none_match: Option<&'a ETagCondition>,
    if_modified_since: Option<&'a Timestamp>,
    if_unmodified_since: Option<&'a Timestamp>,
}

impl Conditions<'_> {
    fn check(&self, version: &Version, content: &Content) -> S3Result<()> {
        let modified = seconds(version.created_at);
        let (bucket, key, etag) = (&version.bucket, &version.key, &content.etag);
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !matches_etag(condition, etag) => {
                return Err(s3_error!(PreconditionFailed, "If-Match: the ETag of {bucket}/{key} is {etag:?}"));
            }
            (None, Some(since)) if modified > *since => {
                return Err(s3_error!(PreconditionFailed, "If-Unmodified-Since: {bucket}/{key} was modified later"));
            }
            _ => {}
        }
        let unmodified = match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) => matches_etag(condition, etag),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if unmodified { Err(not_modified(version, content)) } else { Ok(()) }
    }
}

fn not_modified(version: &Version, content: &Content) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = HeaderMap::new();
    add_header(&mut headers, "etag", &format!("\"{}\"", content.etag));
    add_header(&mut headers, "x-amz-version-id", &version.version_id);
    error.set_headers(headers);
    error
}

/// The part of the content to answer with; none for the whole, also where `If-Range` names another state.
fn requested_part(
    range: Option<Range>,
    headers: &HeaderMap,
    version: &Version,
    content: &Content,
) -> S3Result<Option<Bytes<u64>>> {
    let Some(range) = range else { return Ok(None) };
    if let Some(if_range) = headers.get("if-range") {
        let same = if_range.to_str().is_ok_and(|value| match value.strip_prefix('"') {
            Some(tag) => tag.strip_suffix('"') == Some(content.etag.as_str()),
            None => {
                Timestamp::parse(TimestampFormat::HttpDate, value).is_ok_and(|date| date == seconds(version.created_at))
            }
        });
        if !same {
            return Ok(None);
        }
    }
    match range.check(content.size) {
        Ok(part) if !part.is_empty() => Ok(Some(part)),
        _ => {
            let mut error = s3_error!(
                InvalidRange,
                "the range {} lies outside of {} bytes",
                range.to_header_string(),
                content.size
            );
            let mut headers = HeaderMap::new();
            add_header(&mut headers, "content-range", &format!("bytes */{}", content.size));
            error.set_headers(headers);
            Err(error)
        }
    }
}

/// Parts are joined when an upload is completed; their bounds are not kept.
fn refuse_part(number: Option<i32>) -> S3Result<()> {
    match number {
        None => Ok(()),
        Some(_) => Err(s3_error!(NotImplemented, "partNumber is not supported here; ask for a range of bytes")),
    }
}

fn wants_checksums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

fn content_range(part: &Bytes<u64>, content: &Content) -> String {
    format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), content.size)
}

fn content_type(content: &Content) -> String {
    content.headers.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned())
}

fn expires(content: &Content) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, content.headers.expires.as_ref()?).ok()
}

fn metadata(content: &Content) -> Option<Metadata> {
    let metadata = &content.headers.metadata;
    (!metadata.is_empty()).then(|| metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn length(range: &Bytes<u64>) -> i64 {
    i64::try_from(range.end - range.start).unwrap_or(i64::MAX)
}

/// HTTP dates have whole seconds.
fn seconds(milliseconds: i64) -> Timestamp {
    timestamp(milliseconds - milliseconds.rem_euclid(1000))
}

fn add_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
