//! Listing objects and versions.

use s3s::dto::{
    CommonPrefix, DeleteMarkerEntry, ETag, EncodingType, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass,
    ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Response, S3Result, s3_error};

use super::store::{self, Position, Version};
use super::{Answer, ObjectStore, timestamp};

/// As in S3: entries in one answer.
const MAX_KEYS: i32 = 1000;

pub async fn list_objects(store: &ObjectStore, input: ListObjectsInput) -> Answer<ListObjectsOutput> {
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let query = Query {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
        after: input.marker.as_deref().filter(|marker| !marker.is_empty()),
        limit: limit(input.max_keys)?,
    };
    let page = query.page(store).await?;
    Ok(S3Response::new(ListObjectsOutput {
        contents: Some(page.objects(encoding)),
        common_prefixes: Some(page.prefixes(encoding)),
        is_truncated: Some(page.next.is_some()),
        next_marker: page.next.map(|next| encoding.text(&next)),
        name: Some(input.bucket),
        prefix: Some(encoding.text(input.prefix.as_deref().unwrap_or_default())),
        marker: Some(encoding.text(input.marker.as_deref().unwrap_or_default())),
        delimiter: input.delimiter.as_deref().map(|delimiter| encoding.text(delimiter)),
        max_keys: Some(limit(input.max_keys)?),
        encoding_type: input.encoding_type,
        ..Default::default()
    }))
}

pub async fn list_objects_v2(store: &ObjectStore, input: ListObjectsV2Input) -> Answer<ListObjectsV2Output> {
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let resumed = input.continuation_token.as_deref().map(decode_token).transpose()?;
    let query = Query {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
        after: resumed.as_deref().or(input.start_after.as_deref()).filter(|after| !after.is_empty()),
        limit: limit(input.max_keys)?,
    };
    let page = query.page(store).await?;
    Ok(S3Response::new(ListObjectsV2Output {
        contents: Some(page.objects(encoding)),
        common_prefixes: Some(page.prefixes(encoding)),
        key_count: i32::try_from(page.entries.len()).ok(),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_deref().map(hex::encode),
        continuation_token: input.continuation_token,
        name: Some(input.bucket),
        prefix: Some(encoding.text(input.prefix.as_deref().unwrap_or_default())),
        start_after: input.start_after.as_deref().map(|after| encoding.text(after)),
        delimiter: input.delimiter.as_deref().map(|delimiter| encoding.text(delimiter)),
        max_keys: Some(limit(input.max_keys)?),
        encoding_type: input.encoding_type,
        ..Default::default()
    }))
}

pub async fn list_object_versions(
    store: &ObjectStore,
    input: ListObjectVersionsInput,
) -> Answer<ListObjectVersionsOutput> {
    let encoding = Encoding::of(input.encoding_type.as_ref());
    if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(NotImplemented, "a delimiter is not supported in the list of versions; leave it out"));
    }
    store::require_bucket(&store.pool, &input.bucket).await?;
    let limit = limit(input.max_keys)?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let wanted = i64::from(limit) + 1;
    let mut found = Vec::new();
    let mut from = Position::At(prefix.to_owned());
    if let Some(key) = input.key_marker.as_deref().filter(|key| !key.is_empty()) {
        from = Position::After(key.to_owned());
        if let Some(version_id) = input.version_id_marker.as_deref().filter(|id| !id.is_empty()) {
            let marked = store::find(&store.pool, &input.bucket, key, Some(version_id)).await?;
            found = store::versions_before(&store.pool, &marked, wanted).await?;
        }
    }
    found.extend(store::versions_from(&store.pool, &input.bucket, &from, wanted).await?);
    found.retain(|version| version.key.starts_with(prefix));
    let limit_length = usize::try_from(limit).unwrap_or_default();
    let more = found.len() > limit_length;
    found.truncate(limit_length);
    let last = found.last().filter(|_| more);
    let (next_key_marker, next_version_id_marker) =
        (last.map(|last| encoding.text(&last.key)), last.map(|last| last.version_id.clone()));
    let versions = found.iter().filter_map(|version| {
        let content = version.content()?;
        Some(ObjectVersion {
            e_tag: Some(ETag::Strong(content.etag.clone())),
            is_latest: Some(version.is_latest),
            key: Some(encoding.text(&version.key)),
            last_modified: Some(timestamp(version.created_at)),
            size: i64::try_from(content.size).ok(),
            storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
            version_id: Some(version.version_id.clone()),
            ..Default::default()
        })
    });
    let markers = found.iter().filter(|version| version.content().is_none()).map(|version| DeleteMarkerEntry {
        is_latest: Some(version.is_latest),
        key: Some(encoding.text(&version.key)),
        last_modified: Some(timestamp(version.created_at)),
        version_id: Some(version.version_id.clone()),
        ..Default::default()
    });
    Ok(S3Response::new(ListObjectVersionsOutput {
        versions: Some(versions.collect()),
        delete_markers: Some(markers.collect()),
        is_truncated: Some(more),
        next_key_marker,
        next_version_id_marker,
        key_marker: input.key_marker.as_deref().map(|key| encoding.text(key)),
        version_id_marker: input.version_id_marker,
        max_keys: Some(limit),
        name: Some(input.bucket),
        prefix: Some(encoding.text(prefix)),
        encoding_type: input.encoding_type,
        ..Default::default()
    }))
}

/// One request for a page of latest versions.
struct Query<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    /// The last key, or common prefix, of the page before.
    after: Option<&'a str>,
    limit: i32,
}

/// A page in the order of the keys.
struct Page {
    entries: Vec<Entry>,
    /// Where the next page begins after.
    next: Option<String>,
}

enum Entry {
    Object(Box<Version>),
    Prefix(String),
}

impl Query<'_> {
    async fn page(&self, store: &ObjectStore) -> S3Result<Page> {
        store::require_bucket(&store.pool, self.bucket).await?;
        let limit = usize::try_from(self.limit).unwrap_or_default();
        let mut entries: Vec<Entry> = Vec::new();
        if limit == 0 {
            return Ok(Page { entries, next: None });
        }
        let mut from = self.start();
        'pages: loop {
            let batch = store::latest_from(&store.pool, self.bucket, &from, i64::from(self.limit) + 1).await?;
            let Some(last) = batch.last() else { break };
            from = Position::After(last.key.clone());
            for version in batch {
                if !version.key.starts_with(self.prefix) {
                    break 'pages;
                }
                let entry = match self.common_prefix(&version.key) {
                    Some(prefix) => Entry::Prefix(prefix.to_owned()),
                    None => Entry::Object(Box::new(version)),
                };
                if entries.len() == limit {
                    let next = entries.last().map(|last| last.name().to_owned());
                    return Ok(Page { entries, next });
                }
                if let Entry::Prefix(prefix) = &entry {
                    // The rest under it would only be skipped one by one.
                    from = Position::At(beyond(prefix));
                    entries.push(entry);
                    continue 'pages;
                }
                entries.push(entry);
            }
        }
        Ok(Page { entries, next: None })
    }

    fn start(&self) -> Position {
        match self.after {
            Some(after) if after >= self.prefix => match self.common_prefix(after) {
                Some(common) if common == after => Position::At(beyond(after)),
                _ => Position::After(after.to_owned()),
            },
            _ => Position::At(self.prefix.to_owned()),
        }
    }

    /// What a key is listed under, if that is not itself.
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let end = rest.find(delimiter)? + delimiter.len();
        Some(&key[..self.prefix.len() + end])
    }
}

/// The first text after all that begin with `prefix`: no key has the last code point.
fn beyond(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Self::Object(version) => &version.key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

impl Page {
    fn objects(&self, encoding: Encoding) -> Vec<Object> {
        let object = |entry: &Entry| {
            let Entry::Object(version) = entry else { return None };
            let content = version.content()?;
            Some(Object {
                e_tag: Some(ETag::Strong(content.etag.clone())),
                key: Some(encoding.text(&version.key)),
                last_modified: Some(timestamp(version.created_at)),
                size: i64::try_from(content.size).ok(),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                ..Default::default()
            })
        };
        self.entries.iter().filter_map(object).collect()
    }

    fn prefixes(&self, encoding: Encoding) -> Vec<CommonPrefix> {
        let prefix = |entry: &Entry| match entry {
            Entry::Prefix(prefix) => Some(CommonPrefix { prefix: Some(encoding.text(prefix)) }),
            Entry::Object(_) => None,
        };
        self.entries.iter().filter_map(prefix).collect()
    }
}

/// How the client wants keys written.
#[derive(Clone, Copy)]
enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    fn of(asked: Option<&EncodingType>) -> Self {
        match asked.map(EncodingType::as_str) {
            Some(EncodingType::URL) => Self::Url,
            _ => Self::Plain,
        }
    }

    fn text(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            // The form's plus sign is a space to some clients only; all of them know %20.
            Self::Url => url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20"),
        }
    }
}

fn limit(asked: Option<i32>) -> S3Result<i32> {
    match asked {
        Some(negative @ ..0) => Err(s3_error!(InvalidArgument, "max-keys is {negative}; it cannot be negative")),
        Some(asked) => Ok(asked.min(MAX_KEYS)),
        None => Ok(MAX_KEYS),
    }
}

fn decode_token(token: &str) -> S3Result<String> {
    let decoded = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is none that this service gave"))
}
