//! What the head of an answer says.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use crate::bundle::Refusal;
use crate::bundle::digest::{Algorithm, Over, Wanted};
use crate::bundle::verify::Expectation;
use crate::deployment::revision::S3Source;
use crate::http::{Foreign, clock_ahead, read_body};

/// Longest error document that is read.
const MAX_DOCUMENT: usize = 64 * 1024;

/// An upload to S3 has no more parts.
const MOST_PARTS: u64 = 10_000;

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

/// As it came, with quotes; a weak one is no identity.
pub(super) fn strong_etag(headers: &HeaderMap) -> Option<String> {
    text(headers, "etag").map(str::to_owned).filter(|etag| !etag.starts_with("W/"))
}

/// What is known of the content beforehand.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// What the content must have, by the specification and by the answer.
    pub whole: Vec<Expectation>,
    /// Checksums over the checksums of parts, whose lengths the answer does not tell.
    pub parts: Vec<PartsClaim>,
}

/// A checksum of an object that was uploaded in parts: over the checksums of the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartsClaim {
    pub algorithm: Algorithm,
    pub origin: &'static str,
    /// In base64.
    pub value: String,
    /// How many parts there are, at least one.
    pub count: u64,
    /// Whether it can be anything else.
    pub form: Form,
    /// Of the object, with quotes, as it came: its parts are to be the same one's.
    pub etag: Option<String>,
}

/// How a checksum over parts is told from one over the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// By the number of parts after it, as S3 writes it.
    Numbered,
    /// Only the ETag tells that there are parts. It may be over the whole all the same.
    Bare,
}

/// Everything that is known of the content by the specification and by the answer.
pub(super) fn claims(source: &S3Source, headers: &HeaderMap) -> Claims {
    let mut claims = Claims::default();
    let whole = |algorithm, origin, text: &str| Expectation::parse(Wanted::whole(algorithm), origin, text);
    if let Some(sha256) = &source.sha256 {
        claims.whole.extend(whole(Algorithm::Sha256, "the deployment specification", sha256));
    }
    for (origin, algorithm) in CHECKSUMS {
        let Some(text) = text(headers, origin) else { continue };
        match (whole(algorithm, origin, text), PartsClaim::parse(algorithm, origin, text, headers)) {
            (Some(expectation), _) => match parts_by_etag(headers) {
                None => claims.whole.push(expectation),
                Some(count) => {
                    claims.parts.push(PartsClaim {
                        algorithm,
                        origin,
                        value: text.to_owned(),
                        count,
                        form: Form::Bare,
                        etag: strong_etag(headers),
                    });
                }
            },
            (None, Some(claim)) => claims.parts.push(claim),
            (None, None) => tracing::warn!(header = origin, value = text, "this is no checksum and is ignored"),
        }
    }
    if let Some(sha256) = text(headers, "x-amz-meta-sha256") {
        match whole(Algorithm::Sha256, "x-amz-meta-sha256", sha256) {
            Some(expectation) => claims.whole.push(expectation),
            None => tracing::warn!(value = sha256, "the object's metadata sha256 is not a SHA-256 and is ignored"),
        }
    }
    if let Some(etag) = etag(headers).filter(|etag| etag.len() == 32 && !is_encrypted_otherwise(headers)) {
        claims.whole.extend(whole(Algorithm::Md5, "ETag", etag));
    }
    claims
}

impl PartsClaim {
    /// Reads `base64-count`.
    fn parse(algorithm: Algorithm, origin: &'static str, text: &str, headers: &HeaderMap) -> Option<Self> {
        let (value, count) = text.rsplit_once('-')?;
        let count = count.parse().ok().filter(|count| (1..=MOST_PARTS).contains(count))?;
        let (value, etag) = (value.to_owned(), strong_etag(headers));
        let claim = Self { algorithm, origin, value, count, form: Form::Numbered, etag };
        claim.expectation(Vec::new()).map(|_| claim)
    }

    /// What the claim is, if it is over the whole; nothing if it cannot be.
    pub fn over_the_whole(&self) -> Option<Expectation> {
        match self.form {
            Form::Numbered => None,
            Form::Bare => Expectation::parse(Wanted::whole(self.algorithm), self.origin, &self.value),
        }
    }

    /// The claim, with the lengths of the parts.
    pub fn expectation(&self, lengths: Vec<u64>) -> Option<Expectation> {
        let digest = Wanted { algorithm: self.algorithm, over: Over::Parts(lengths) };
        Expectation::parse(digest, self.origin, &self.value)
    }
}

/// The number of parts by the ETag, where the answer does not say that its checksums are over the whole.
fn parts_by_etag(headers: &HeaderMap) -> Option<u64> {
    let (digest, count) = etag(headers)?.split_once('-')?;
    let is_composite = digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_whole = text(headers, "x-amz-checksum-type") == Some("FULL_OBJECT");
    count.parse().ok().filter(|count| is_composite && !is_whole && (1..=MOST_PARTS).contains(count))
}

/// The bounds in `Content-Range: bytes first-last/length`: where it begins, where it ends (exclusive), and the
/// object's length where it is told.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let (bounds, length) = text(headers, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    let length = if length == "*" { None } else { Some(length.parse().ok()?) };
    Some((first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?, length))
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
    /// Of an object that is archived.
    pub storage_class: String,
    /// Of what the document is made.
    pub body: Vec<u8>,
}

impl Document {
    pub async fn read(response: reqwest::Response) -> Self {
        // An answer without a readable document still has its status, which tells enough.
        let body = read_body(response, MAX_DOCUMENT).await.map(|body| body.to_vec()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let [code, message, region, storage_class] =
            ["Code", "Message", "Region", "StorageClass"].map(|name| element(&text, name));
        Self { code, message, region, storage_class, body }
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

/// The answer of something else, where it is no service's for objects. Those have an ETag for each object, which may
/// well be a page.
pub(super) fn foreign(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Foreign> {
    Foreign::of(status, headers, body).filter(|_| !headers.contains_key("etag"))
}

/// Why an answer is a refusal.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, document: &Document, now: Timestamp) -> Refusal {
    let shown = document.shown();
    let says_kms = document.code.starts_with("KMS.") || document.message.to_ascii_lowercase().contains("kms");
    if let Some(foreign) = foreign(status, headers, &document.body).filter(|_| document.code.is_empty()) {
        return Refusal::Foreign(foreign);
    }
    match (document.code.as_str(), status.as_u16()) {
        ("InvalidObjectState", _) => {
            let class = &document.storage_class;
            Refusal::Archived(if class.is_empty() { "GLACIER".to_owned() } else { class.clone() })
        }
        ("NoSuchBucket", _) => Refusal::NoBucket,
        ("NoSuchVersion", _) => Refusal::NoVersion,
        ("NoSuchKey", _) | (_, 404) => Refusal::NoKey,
        ("RequestTimeTooSkewed" | "RequestExpired", _) => {
            Refusal::Clock { ahead: clock_ahead(headers, now).map(|ahead| -ahead.as_secs()) }
        }
        ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired", _) => Refusal::Expired(shown),
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidClientTokenId", _) | (_, 401) => {
            Refusal::Credentials(shown)
        }
        (_, 301) => Refusal::Elsewhere { region: None },
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
            let claims = claims(&source(), &headers(&answer));
            let found: Vec<_> = claims.whole.iter().map(|expectation| expectation.digest.algorithm).collect();
            assert_eq!(found, algorithms, "{answer:?}");
        }
    }

    #[test]
    fn a_checksum_over_parts_is_told_from_one_over_the_whole() {
        let of = |value| claims(&source(), &headers(&[("x-amz-checksum-crc32", value)]));
        assert_eq!(of("y/Q5Jg==").parts, []);
        let [claim] = &of("y/Q5Jg==-12").parts[..] else { panic!("one claim is expected") };
        assert_eq!((claim.count, claim.algorithm), (12, Algorithm::Crc32));
        for bad in ["y/Q5Jg==-0", "y/Q5Jg==-10001", "y/Q5Jg==-x", "short-2", "-2"] {
            assert_eq!((of(bad).parts.len(), of(bad).whole.len()), (0, 0), "{bad}");
        }
        let sha256 = format!("{}=-3", "A".repeat(43));
        let claims = claims(&source(), &headers(&[("x-amz-checksum-sha256", &sha256)]));
        assert_eq!((claims.parts[0].algorithm, claims.whole.len()), (Algorithm::Sha256, 0));
    }

    #[test]
    fn a_checksum_without_a_number_may_be_over_the_parts_that_the_etag_tells_of() {
        let etag = ("etag", "\"25f9e794323b453885f5181f1b624d0b-3\"");
        let crc = ("x-amz-checksum-crc32", "y/Q5Jg==");
        for (answer, whole, parts) in [
            (vec![etag, crc], 0, 1),
            (vec![etag, crc, ("x-amz-checksum-type", "COMPOSITE")], 0, 1),
            (vec![etag, crc, ("x-amz-checksum-type", "FULL_OBJECT")], 1, 0),
            (vec![("etag", "\"some-3\""), crc], 1, 0),
            (vec![crc, ("x-amz-checksum-type", "COMPOSITE")], 1, 0),
        ] {
            let claims = claims(&source(), &headers(&answer));
            assert_eq!((claims.whole.len(), claims.parts.len()), (whole, parts), "{answer:?}");
            for claim in claims.parts {
                assert_eq!((claim.count, claim.form, claim.over_the_whole().is_some()), (3, Form::Bare, true));
            }
        }
    }

    #[test]
    fn a_content_range_is_read_to_its_end() {
        let of = |value| content_range(&headers(&[("content-range", value)]));
        assert_eq!(of("bytes 0-4/9"), Some((0, 5, Some(9))));
        assert_eq!(of("bytes 5-8/*"), Some((5, 9, None)));
        for bad in ["bytes */9", "bytes 5-/9", "bytes 5-8", "5-8/9", "bytes 5-18446744073709551615/9", "bytes a-b/c"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let now: Timestamp = "2026-11-20T10:00:10Z".parse().unwrap();
        let date = headers(&[("date", "Fri, 20 Nov 2026 10:00:00 GMT")]);
        let judge = |status, code: &str, message: &str| {
            let document = Document { code: code.to_owned(), message: message.to_owned(), ..Document::default() };
            refusal(StatusCode::from_u16(status).unwrap(), &date, &document, now)
        };
        assert_eq!(judge(404, "NoSuchBucket", ""), Refusal::NoBucket);
        assert_eq!(judge(404, "NoSuchVersion", ""), Refusal::NoVersion);
        assert_eq!(judge(404, "", ""), Refusal::NoKey);
        assert_eq!(judge(403, "RequestTimeTooSkewed", ""), Refusal::Clock { ahead: Some(10) });
        assert!(matches!(judge(403, "AccessDenied", "Access Denied"), Refusal::Reading(_)));
        assert!(matches!(judge(403, "AccessDenied", "not authorized to perform: kms:Decrypt"), Refusal::Decryption(_)));
        assert!(matches!(judge(403, "InvalidAccessKeyId", ""), Refusal::Credentials(_)));
        assert!(matches!(judge(400, "ExpiredToken", ""), Refusal::Expired(_)));
        assert_eq!(judge(301, "PermanentRedirect", ""), Refusal::Elsewhere { region: None });
        assert!(matches!(judge(418, "", "teapot"), Refusal::Other { status: 418, .. }));
    }

    #[test]
    fn an_archived_object_is_to_be_restored() {
        let document = Document {
            code: "InvalidObjectState".to_owned(),
            storage_class: "DEEP_ARCHIVE".to_owned(),
            ..Document::default()
        };
        let told = refusal(StatusCode::FORBIDDEN, &HeaderMap::new(), &document, Timestamp::now()).to_string();
        assert!(told.contains("DEEP_ARCHIVE") && told.contains("restore-object"), "{told}");
    }

    #[test]
    fn a_page_in_the_services_place_is_no_refusal_of_its_own() {
        let page = Document { body: b"<html><title>Log in</title>".to_vec(), ..Document::default() };
        let told = |status, headers: &HeaderMap| refusal(status, headers, &page, Timestamp::now()).to_string();
        for status in [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED] {
            let told = told(status, &HeaderMap::new());
            assert!(told.contains("Log in") && told.contains("captive portal"), "{told}");
        }
        let portal = headers(&[("location", "http://portal.example/")]);
        assert!(told(StatusCode::FOUND, &portal).contains("a redirect to http://portal.example/"));
        // A website's own page of a bucket.
        assert!(!told(StatusCode::FORBIDDEN, &headers(&[("x-amz-request-id", "1")])).contains("captive portal"));
    }

    #[test]
    fn error_documents_are_read_without_what_could_disturb_a_log() {
        assert_eq!(element("<Error><Code>A\u{1b}[31mB</Code></Error>", "Code"), "A[31mB");
        assert_eq!(element("<Error><Code>A", "Code"), "");
        assert_eq!(element(&format!("<Message>{}</Message>", "x".repeat(999)), "Message").len(), 300);
    }
}
