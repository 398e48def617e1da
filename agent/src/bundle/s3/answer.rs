//! What the head of an answer says.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use crate::bundle::Refusal;
use crate::bundle::verify::{Algorithm, Expectation};
use crate::deployment::revision::S3Source;
use crate::http::{clock_ahead, read_body};

/// Longest error document that is read.
const MAX_DOCUMENT: usize = 64 * 1024;

const CHECKSUMS: [(&str, Algorithm); 5] = [
    ("x-amz-checksum-sha256", Algorithm::Sha256),
    ("x-amz-checksum-sha1", Algorithm::Sha1),
    ("x-amz-checksum-crc64nvme", Algorithm::Crc64Nvme),
    ("x-amz-checksum-crc32c", Algorithm::Crc32c),
    ("x-amz-checksum-crc32", Algorithm::Crc32),
];

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Without quotes.
pub(super) fn etag(headers: &HeaderMap) -> Option<&str> {
    text(headers, "etag").map(|etag| etag.trim_start_matches("W/").trim_matches('"'))
}

/// Everything that the content must have, by the specification and by the answer.
pub(super) fn expectations(source: &S3Source, headers: &HeaderMap) -> Vec<Expectation> {
    let mut all = Vec::new();
    if let Some(sha256) = &source.sha256 {
        all.extend(Expectation::parse(Algorithm::Sha256, "the deployment specification", sha256));
    }
    for (name, algorithm) in CHECKSUMS {
        let Some(value) = text(headers, name) else { continue };
        match Expectation::parse(algorithm, name, value) {
            Some(expectation) => all.push(expectation),
            // The digest of the parts' digests: of an object that was uploaded in parts.
            None => tracing::debug!(header = name, value, "a composite checksum is not verified"),
        }
    }
    if let Some(sha256) = text(headers, "x-amz-meta-sha256") {
        match Expectation::parse(Algorithm::Sha256, "x-amz-meta-sha256", sha256) {
            Some(expectation) => all.push(expectation),
            None => tracing::warn!(value = sha256, "the object's metadata sha256 is not a SHA-256 and is ignored"),
        }
    }
    if let Some(etag) = etag(headers).filter(|etag| etag.len() == 32 && !is_encrypted_otherwise(headers)) {
        all.extend(Expectation::parse(Algorithm::Md5, "ETag", etag));
    }
    all
}

/// With a key of KMS or of the customer the ETag is no MD5, though it looks like one.
fn is_encrypted_otherwise(headers: &HeaderMap) -> bool {
    text(headers, "x-amz-server-side-encryption").is_some_and(|kind| kind.starts_with("aws:kms"))
        || headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
}

/// The error document of an answer.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub code: String,
    pub message: String,
    /// The bucket's, where the request was signed for another one.
    pub region: String,
}

impl Document {
    pub async fn read(response: reqwest::Response) -> Self {
        // An answer without a readable document still has its status, which tells enough.
        let body = read_body(response, MAX_DOCUMENT).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        Self { code: element(&body, "Code"), message: element(&body, "Message"), region: element(&body, "Region") }
    }

    fn shown(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", "") => "no further word".to_owned(),
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }
}

/// The documents are flat and of our own request's making; a whole XML parser would add nothing.
fn element(document: &str, name: &str) -> String {
    let inner = document
        .split_once(&format!("<{name}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")))
        .map_or("", |(inner, _)| inner);
    inner.trim().chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Why an answer is a refusal.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, document: &Document, now: Timestamp) -> Refusal {
    let shown = document.shown();
    let says_kms = document.code.starts_with("KMS.") || document.message.to_ascii_lowercase().contains("kms");
    match (document.code.as_str(), status.as_u16()) {
        ("NoSuchBucket", _) => Refusal::NoBucket,
        ("NoSuchVersion", _) => Refusal::NoVersion,
        ("NoSuchKey", _) | (_, 404) => Refusal::NoKey,
        ("RequestTimeTooSkewed" | "RequestExpired", _) => {
            Refusal::Clock { ahead: clock_ahead(headers, now).map(|ahead| -ahead.as_secs()) }
        }
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "InvalidClientTokenId",
            _,
        )
        | (_, 401) => Refusal::Credentials(shown),
        (_, 403 | 400) if says_kms => Refusal::Decryption(shown),
        (_, 403) => Refusal::Reading(shown),
        (_, status) => Refusal::Other { status, answer: shown },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::BundleType;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn source() -> S3Source {
        let text = |text: &str| text.to_owned();
        S3Source {
            bucket: text("b"),
            key: text("k"),
            bundle_type: BundleType::Tar,
            version: None,
            etag: None,
            sha256: None,
        }
    }

    #[test]
    fn an_etag_is_a_digest_only_where_it_can_be_one() {
        let md5 = ("etag", "\"25f9e794323b453885f5181f1b624d0b\"");
        for (answer, algorithms) in [
            (vec![md5], vec![Algorithm::Md5]),
            (vec![md5, ("x-amz-server-side-encryption", "AES256")], vec![Algorithm::Md5]),
            (vec![md5, ("x-amz-server-side-encryption", "aws:kms")], vec![]),
            (vec![md5, ("x-amz-server-side-encryption", "aws:kms:dsse")], vec![]),
            (vec![md5, ("x-amz-server-side-encryption-customer-algorithm", "AES256")], vec![]),
            (vec![("etag", "\"25f9e794323b453885f5181f1b624d0b-3\"")], vec![]),
            (vec![("x-amz-checksum-crc32", "y/Q5Jg==")], vec![Algorithm::Crc32]),
            (vec![("x-amz-checksum-crc32", "y/Q5Jg==-2")], vec![]),
        ] {
            let found: Vec<_> = expectations(&source(), &headers(&answer)).iter().map(|e| e.algorithm).collect();
            assert_eq!(found, algorithms, "{answer:?}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let now: Timestamp = "2026-11-20T10:00:10Z".parse().unwrap();
        let date = headers(&[("date", "Fri, 20 Nov 2026 10:00:00 GMT")]);
        let judge = |status, code: &str, message: &str| {
            let document = Document { code: code.to_owned(), message: message.to_owned(), region: String::new() };
            refusal(StatusCode::from_u16(status).unwrap(), &date, &document, now)
        };
        assert_eq!(judge(404, "NoSuchBucket", ""), Refusal::NoBucket);
        assert_eq!(judge(404, "NoSuchVersion", ""), Refusal::NoVersion);
        assert_eq!(judge(404, "", ""), Refusal::NoKey);
        assert_eq!(judge(403, "RequestTimeTooSkewed", ""), Refusal::Clock { ahead: Some(10) });
        assert!(matches!(judge(403, "AccessDenied", "Access Denied"), Refusal::Reading(_)));
        assert!(matches!(judge(403, "AccessDenied", "not authorized to perform: kms:Decrypt"), Refusal::Decryption(_)));
        assert!(matches!(judge(403, "InvalidAccessKeyId", ""), Refusal::Credentials(_)));
        assert!(matches!(judge(400, "ExpiredToken", ""), Refusal::Credentials(_)));
        assert!(matches!(judge(418, "", "teapot"), Refusal::Other { status: 418, .. }));
    }

    #[test]
    fn error_documents_are_read_without_what_could_disturb_a_log() {
        assert_eq!(element("<Error><Code>A\u{1b}[31mB</Code></Error>", "Code"), "A[31mB");
        assert_eq!(element("<Error><Code>A", "Code"), "");
        assert_eq!(element(&format!("<Message>{}</Message>", "x".repeat(999)), "Message").len(), 300);
    }
}
