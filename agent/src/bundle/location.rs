use crate::deployment::BundleType;
use crate::deployment::revision::S3Source;

/// Why a text names no object in S3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location:?} does not name an object in S3: {reason}; expected s3://BUCKET/KEY[?versionId=…&etag=…]")]
pub struct LocationError {
    location: String,
    reason: &'static str,
}

/// Parses `s3://bucket/key?versionId=…&etag=…`. The key is taken as it is; a question mark belongs to
/// it unless nothing but these two parameters follows.
pub fn parse_s3_location(location: &str, bundle_type: BundleType) -> Result<S3Source, LocationError> {
    let error = |reason| LocationError { location: location.to_owned(), reason };
    let rest = location.strip_prefix("s3://").ok_or_else(|| error("it does not begin with s3://"))?;
    let (bucket, key) = rest.split_once('/').ok_or_else(|| error("there is no key"))?;
    let (key, version, etag) = match key.rsplit_once('?').and_then(|(key, query)| Some((key, parameters(query)?))) {
        Some((key, (version, etag))) => (key, version, etag),
        None => (key, None, None),
    };
    if bucket.is_empty() {
        return Err(error("there is no bucket"));
    }
    if key.is_empty() {
        return Err(error("there is no key"));
    }
    Ok(S3Source { bucket: bucket.to_owned(), key: key.to_owned(), bundle_type, version, etag, sha256: None })
}

/// Version and ETag, or nothing if there is any other parameter.
fn parameters(query: &str) -> Option<(Option<String>, Option<String>)> {
    let (mut version, mut etag) = (None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = Some(value.trim_matches('"').to_owned()).filter(|value| !value.is_empty());
        match &*name {
            "versionId" => version = value,
            "etag" | "eTag" => etag = value,
            _ => return None,
        }
    }
    Some((version, etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_taken_apart() {
        for (location, bucket, key, version, etag) in [
            ("s3://b/k.tgz", "b", "k.tgz", None, None),
            ("s3://b/deep/er/k", "b", "deep/er/k", None, None),
            ("s3://b/k?versionId=v1&etag=%22abc%22", "b", "k", Some("v1"), Some("abc")),
            ("s3://b/k?etag=abc-2", "b", "k", None, Some("abc-2")),
            ("s3://b/what?now", "b", "what?now", None, None),
            ("s3://b/what?now?versionId=2", "b", "what?now", Some("2"), None),
            ("s3://b/k?versionId=", "b", "k", None, None),
        ] {
            let found = parse_s3_location(location, BundleType::Tgz).unwrap();
            let found = (&*found.bucket, &*found.key, found.version.as_deref(), found.etag.as_deref());
            assert_eq!(found, (bucket, key, version, etag), "{location}");
        }
        for bad in ["", "b/k", "s3://", "s3://b", "s3://b/", "s3:///k", "s3://b/?versionId=1", "https://b/k"] {
            assert!(parse_s3_location(bad, BundleType::Tgz).is_err(), "{bad}");
        }
    }
}
