#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

mod github;
mod origin;
mod parts;
mod pieces;

use super::*;
use crate::deployment::Secret;
use crate::deployment::revision::S3Source;
use crate::http::{Backoff, Client, Profile, Proxy, Roots, ThrottleGate, Timeouts, Trust};
use crate::identity::{Access, Caller, Credentials, Environment, Provider, Region, Source, Sources};
use crate::ids::DeploymentId;
use crate::process::StopSignal;

const CONTENT: &[u8] = b"0123456789abcdefghij";
const MD5: &str = "a1b7a4d1dbe8f4a7ce8ae2ad2d1a1e0d";

/// A small HTTP server that gives its answers in order, one a connection, and a runtime to drive it and
/// the client.
struct Service {
    url: url::Url,
    seen: Arc<Mutex<Vec<String>>>,
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    dir: tempfile::TempDir,
}

impl Service {
    fn answering(answers: Vec<Vec<u8>>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, answers, heads) => {}
                    _ = stopped => {}
                }
            });
        });
        let dir = tempfile::tempdir().unwrap();
        Self { url, seen, handle, stop: Some(stop), thread: Some(thread), dir }
    }

    fn s3(&self) -> S3 {
        s3(client(self.dir.path(), Duration::from_secs(5)), &self.handle, &self.url)
    }

    fn destination(&self) -> std::path::PathBuf {
        self.dir.path().join("group/d-1/bundle.tar")
    }

    fn fetch(&self, source: S3Source) -> Result<Fetched, BundleError> {
        self.fetch_with(source, Requirement::None, 1 << 20)
    }

    fn fetch_with(&self, source: S3Source, requirement: Requirement, limit: u64) -> Result<Fetched, BundleError> {
        let destination = self.destination();
        let source = RevisionSource::S3(source);
        let request = Request {
            source: &source,
            destination: &destination,
            limit,
            requirement,
            github_token: None,
            stop: &StopSignal::default(),
        };
        let s3 = self.s3();
        fetched(acquire(&request, &s3, &github(s3.client.clone(), &self.handle, &self.url)))
    }

    /// Fetches, expects an error, and that nothing is left.
    fn refused(&self, source: S3Source) -> BundleError {
        let error = self.fetch(source).unwrap_err();
        assert!(!self.destination().exists(), "{error}");
        error
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn client(dir: &Path, silence: Duration) -> Client {
    let pem = dir.join("roots.pem");
    std::fs::write(&pem, include_bytes!("unused-root.pem")).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(5), silence };
    let trust = Trust { roots: Roots::File(pem), additional: None };
    Client::new(&Profile { trust, proxy: Proxy::Direct, timeouts }).unwrap()
}

fn s3(client: Client, runtime: &tokio::runtime::Handle, url: &url::Url) -> S3 {
    S3 {
        client,
        runtime: runtime.clone(),
        provider: Provider::fixed(Access {
            region: Region::parse("eu-west-1").unwrap(),
            domain: "amazonaws.com".to_owned(),
            credentials: Credentials {
                access_key_id: "AKIATEST".into(),
                secret_access_key: Secret::new("secret".into()),
                session_token: None,
            },
            source: Source::Environment,
            expires: None,
        }),
        endpoint: Endpoint::Override(url.clone()),
        gate: Arc::new(ThrottleGate::new()),
        backoff: pauses(),
    }
}

/// Fails whoever asks for credentials.
fn nobody(dir: &Path) -> Provider {
    let on_premises_file = dir.join("onpremises.yml");
    std::fs::write(&on_premises_file, "neither form").unwrap();
    Provider::new(Sources { on_premises_file, environment: Environment::default(), caller: Caller::Host })
}

fn github(client: Client, runtime: &tokio::runtime::Handle, url: &url::Url) -> GitHub {
    let gate = Arc::new(ThrottleGate::new());
    GitHub { client, runtime: runtime.clone(), endpoint: url.clone(), gate, backoff: pauses() }
}

fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(1), Duration::from_millis(5))
}

fn fetched(acquired: Result<Acquired, BundleError>) -> Result<Fetched, BundleError> {
    match acquired? {
        Acquired::Fetched(fetched) => Ok(fetched),
        other => panic!("{other:?}"),
    }
}

async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>, heads: Arc<Mutex<Vec<String>>>) {
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        heads.lock().unwrap().push(String::from_utf8(head).unwrap().to_ascii_lowercase());
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
    // A request more than expected waits here until the test says what it thinks of that.
    std::future::pending().await
}

/// An answer; `body` can be shorter than the announced `length`.
fn answer(status: &str, headers: &[(&str, &str)], length: usize, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

fn whole(headers: &[(&str, &str)]) -> Vec<u8> {
    answer("200 OK", headers, CONTENT.len(), CONTENT)
}

fn failure(status: &str, code: &str, message: &str) -> Vec<u8> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    answer(status, &[("date", "Fri, 20 Nov 2026 10:00:00 GMT")], body.len(), body.as_bytes())
}

fn source() -> S3Source {
    S3Source {
        bucket: "bucket".into(),
        key: "deep/my app.tgz".into(),
        bundle_type: BundleType::Tgz,
        version: None,
        etag: None,
        sha256: None,
    }
}

fn md5_of(content: &[u8]) -> String {
    hex::encode(md5::Md5::digest(content))
}

fn sha256_of(content: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(content))
}

#[test]
fn a_bundle_is_fetched_by_a_signed_request_and_verified() {
    let etag = format!("\"{}\"", md5_of(CONTENT));
    let checksum = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, sha2::Sha256::digest(CONTENT));
    let service = Service::answering(vec![whole(&[
        ("etag", &etag),
        ("x-amz-checksum-sha256", &checksum),
        ("x-amz-meta-sha256", &sha256_of(CONTENT)),
    ])]);
    let source = S3Source {
        version: Some("v/1".into()),
        etag: Some(md5_of(CONTENT)),
        sha256: Some(sha256_of(CONTENT)),
        ..source()
    };
    let fetched = service.fetch(source).unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), CONTENT);
    assert_eq!((fetched.size, fetched.sha256, fetched.bundle_type), (20, sha256_of(CONTENT), BundleType::Tgz));
    let expected = ["the deployment specification", "x-amz-checksum-sha256", "x-amz-meta-sha256", "ETag"];
    assert_eq!(fetched.verified_by, expected);
    let head = &service.seen()[0];
    assert!(head.starts_with("get /bucket/deep/my%20app.tgz?versionid=v%2f1 http/1.1"), "{head}");
    for expected in [
        "x-amz-checksum-mode: enabled".to_owned(),
        format!("if-match: {etag}"),
        "credential=akiatest/".to_owned(),
        "/eu-west-1/s3/aws4_request".to_owned(),
        "signedheaders=host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date,".to_owned(),
    ] {
        assert!(head.contains(&expected), "{expected} in {head}");
    }
}

#[test]
fn content_that_differs_is_removed_and_both_digests_are_named() {
    let wrong = sha256_of(b"something else");
    let specified = S3Source { sha256: Some(wrong.clone()), ..source() };
    for (source, headers, algorithm, expected) in [
        (specified, vec![], "SHA-256", wrong.as_str()),
        (source(), vec![("x-amz-meta-sha256", wrong.as_str())], "SHA-256", wrong.as_str()),
        (source(), vec![("etag", "\"00000000000000000000000000000000\"")], "MD5", "00000000000000000000000000000000"),
        (source(), vec![("x-amz-checksum-crc32", "AAAAAA==")], "CRC-32", "AAAAAA=="),
        (source(), vec![("x-amz-checksum-crc32c", "AAAAAA==")], "CRC-32C", "AAAAAA=="),
        (source(), vec![("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")], "CRC-64/NVME", "AAAAAAAAAAA="),
        (
            source(),
            vec![("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")],
            "SHA-1",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
    ] {
        let error = Service::answering(vec![whole(&headers)]).refused(source);
        let BundleError::Mismatch { algorithm: found, expected: said, computed, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((*found, said.as_str()), (algorithm, expected));
        assert_ne!(computed, said);
        assert!(error.to_string().contains(computed.as_str()), "{error}");
    }
}

#[test]
fn another_object_than_the_deployments_is_refused() {
    let source = S3Source { etag: Some("expected".into()), ..source() };
    let error = Service::answering(vec![whole(&[("etag", "\"other\"")])]).refused(source.clone());
    assert!(matches!(&error, BundleError::Changed { found, .. } if found == "other"), "{error}");
    let untold = answer("200 OK", &[], CONTENT.len(), CONTENT);
    let error = Service::answering(vec![untold]).refused(source.clone());
    assert!(matches!(&error, BundleError::Changed { found, .. } if found == "not told"), "{error}");
    let error = Service::answering(vec![failure("412 Precondition Failed", "PreconditionFailed", "")]).refused(source);
    assert!(matches!(error, BundleError::Changed { .. }), "{error}");
}

#[test]
fn an_encrypted_objects_etag_is_an_identity_and_no_digest() {
    let headers = [("etag", format!("\"{MD5}\"")), ("x-amz-server-side-encryption", "aws:kms".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let service = Service::answering(vec![whole(&headers)]);
    service.fetch(S3Source { etag: Some(MD5.into()), ..source() }).unwrap();
}

#[test]
fn failures_of_the_service_are_tried_again() {
    let service = Service::answering(vec![
        failure("500 Internal Server Error", "InternalError", ""),
        Vec::new(),
        failure("503 Service Unavailable", "ServiceUnavailable", ""),
        whole(&[]),
    ]);
    let fetched = service.fetch(source()).unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), CONTENT);
    assert_eq!(service.seen().len(), 4);
    let error =
        Service::answering(vec![failure("500 Internal Server Error", "InternalError", ""); 6]).refused(source());
    assert!(matches!(error, BundleError::Unreachable { tries: 6, .. }), "{error}");
    assert!(error.to_string().contains("InternalError"), "{error}");
}

#[test]
fn a_part_in_answer_to_a_question_for_the_whole_is_refused_in_plain_words() {
    let headers = [("content-range", "bytes 0-9/20")];
    let service = Service::answering(vec![answer("206 Partial Content", &headers, 10, &CONTENT[..10])]);
    let text = service.refused(source()).to_string();
    for part in ["is a part of the object (HTTP status 206)", "the whole was asked for", "caches on the way"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(service.seen().len(), 1, "it was asked again");
}

#[test]
fn a_throttled_fetch_closes_the_gate_and_goes_on() {
    let service = Service::answering(vec![failure("503 Slow Down", "SlowDown", ""), whole(&[])]);
    let started = std::time::Instant::now();
    service.fetch(source()).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_broken_fetch_goes_on_where_it_broke_off() {
    let etag = format!("\"{}\"", md5_of(CONTENT));
    let part = |from: usize, to: usize| {
        let range = format!("bytes {from}-19/20");
        answer("206 Partial Content", &[("etag", &etag), ("content-range", &range)], 20 - from, &CONTENT[from..to])
    };
    let service = Service::answering(vec![
        answer("200 OK", &[("etag", &etag)], 20, &CONTENT[..7]),
        part(7, 12),
        failure("500 Internal Server Error", "InternalError", ""),
        part(12, 20),
    ]);
    let fetched = service.fetch(source()).unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), CONTENT);
    assert_eq!(fetched.sha256, sha256_of(CONTENT));
    let seen = service.seen();
    assert!(!seen[0].contains("range:"), "{}", seen[0]);
    for (head, range) in [(&seen[1], "range: bytes=7-"), (&seen[2], "range: bytes=12-"), (&seen[3], "range: bytes=12-")]
    {
        assert!(head.contains(range) && head.contains(&format!("if-range: {etag}")), "{head}");
    }
}

#[test]
fn a_fetch_begins_anew_where_it_cannot_go_on() {
    let half = |etag| answer("200 OK", &[("etag", etag)], 20, &CONTENT[..10]);
    let other = b"another object, longer than the first";
    let replaced = answer("200 OK", &[("etag", "\"two\"")], other.len(), other);
    let service = Service::answering(vec![half("\"one\""), replaced]);
    assert_eq!(std::fs::read(service.fetch(source()).unwrap().path).unwrap(), other);

    let misplaced = answer("206 Partial Content", &[("content-range", "bytes 3-19/20")], 17, &CONTENT[3..]);
    let service = Service::answering(vec![half("\"one\""), misplaced, whole(&[])]);
    assert_eq!(std::fs::read(service.fetch(source()).unwrap().path).unwrap(), CONTENT);
    assert!(!service.seen()[2].contains("range:"));
}

#[test]
fn a_bundle_that_never_comes_whole_is_truncated() {
    let mut answers = vec![answer("200 OK", &[("etag", "\"x\"")], 20, &CONTENT[..9])];
    answers.extend(vec![answer("206 Partial Content", &[("content-range", "bytes 9-19/20")], 11, b""); 6]);
    let error = Service::answering(answers).refused(source());
    let BundleError::Truncated { expected: 20, received: 9, .. } = error else { panic!("{error}") };
}

#[test]
fn the_buckets_region_is_followed() {
    let moved = answer("301 Moved Permanently", &[("x-amz-bucket-region", "us-west-2")], 0, b"");
    let service = Service::answering(vec![moved.clone(), whole(&[])]);
    service.fetch(source()).unwrap();
    assert!(service.seen()[0].contains("/eu-west-1/s3/"));
    assert!(service.seen()[1].contains("/us-west-2/s3/"));
    let wrong = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>";
    let service = Service::answering(vec![answer("400 Bad Request", &[], wrong.len(), wrong.as_bytes()), whole(&[])]);
    service.fetch(source()).unwrap();
    let back = answer("301 Moved Permanently", &[("x-amz-bucket-region", "eu-west-1")], 0, b"");
    let error = Service::answering(vec![moved.clone(), back, moved]).refused(source());
    assert!(matches!(&error, BundleError::Refused { refusal: Refusal::Elsewhere { .. }, .. }), "{error}");
}

#[test]
fn a_page_or_a_redirect_in_the_place_of_an_object_is_told_and_nothing_is_kept() {
    let page = b"<!DOCTYPE html><title>Guest network</title>";
    let html = ("content-type", "text/html");
    for (response, told) in [
        (answer("200 OK", &[html], page.len(), page), "Guest network"),
        (answer("403 Forbidden", &[html], page.len(), page), "Guest network"),
        (answer("302 Found", &[("location", "http://portal.example/?secret")], 0, b""), "http://portal.example/)"),
        (
            answer("307 Temporary Redirect", &[("location", "http://portal.example/")], 0, b""),
            "http://portal.example/)",
        ),
    ] {
        let error = Service::answering(vec![response]).refused(source());
        assert!(matches!(&error, BundleError::Refused { refusal: Refusal::Foreign(_), .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(told) && error.contains("captive portal") && !error.contains("secret)"), "{error}");
    }
    // An object may be a page.
    let object = answer("200 OK", &[html, ("etag", "\"x\"")], CONTENT.len(), CONTENT);
    Service::answering(vec![object]).fetch(source()).unwrap();
}

#[test]
fn an_object_that_is_archived_is_to_be_restored() {
    let body = "<Error><Code>InvalidObjectState</Code><Message>The operation is not valid for the object's storage \
                class</Message><StorageClass>DEEP_ARCHIVE</StorageClass></Error>";
    let response = answer("403 Forbidden", &[], body.len(), body.as_bytes());
    let error = Service::answering(vec![response]).refused(source()).to_string();
    assert!(error.contains("DEEP_ARCHIVE") && error.contains("restore-object"), "{error}");
}

#[test]
fn refusals_say_who_asked_for_what_and_what_to_do() {
    for (response, parts) in [
        (failure("404 Not Found", "NoSuchKey", ""), ["s3://bucket/deep/my app.tgz", "AKIATEST", "no such object"]),
        (failure("404 Not Found", "NoSuchBucket", ""), ["s3://bucket/", "the environment", "no such bucket"]),
        (failure("403 Forbidden", "AccessDenied", "Access Denied"), ["s3:GetObject", "AKIATEST", "Access Denied"]),
        (failure("403 Forbidden", "AccessDenied", "no kms:Decrypt"), ["kms:Decrypt", "AKIATEST", "encrypted"]),
        (failure("403 Forbidden", "RequestTimeTooSkewed", ""), ["clock", "ahead of the service's", "synchronise"]),
        (failure("403 Forbidden", "SignatureDoesNotMatch", ""), ["credentials", "SignatureDoesNotMatch", "renew"]),
    ] {
        let message = Service::answering(vec![response]).refused(source()).to_string();
        // The clock may be on either side of the answer's fixed date.
        let message = message.replace("behind the service's", "ahead of the service's");
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message}");
        }
    }
}

#[test]
fn what_is_too_long_or_without_a_digest_is_not_fetched() {
    let service = Service::answering(vec![whole(&[])]);
    let error = service.fetch_with(source(), Requirement::None, 19).unwrap_err();
    assert!(matches!(error, BundleError::TooLong { limit: 19, .. }), "{error}");
    let service = Service::answering(vec![whole(&[("etag", &format!("\"{}\"", md5_of(CONTENT)))])]);
    let error = service.fetch_with(source(), Requirement::Sha256, 100).unwrap_err();
    assert!(matches!(error, BundleError::NoSha256 { .. }), "{error}");
    let service = Service::answering(vec![whole(&[("x-amz-meta-sha256", &sha256_of(CONTENT))])]);
    service.fetch_with(source(), Requirement::Sha256, 100).unwrap();
    let endless = answer("200 OK\r\ntransfer-encoding: chunked", &[], 0, b"ff\r\n").into_iter();
    let endless: Vec<u8> = endless.chain(vec![b'x'; 255]).collect();
    let endless = String::from_utf8(endless).unwrap().replace("content-length: 0\r\n", "").into_bytes();
    let service = Service::answering(vec![endless]);
    let error = service.fetch_with(source(), Requirement::None, 100).unwrap_err();
    assert!(matches!(error, BundleError::TooLong { limit: 100, .. }), "{error}");
    assert!(!service.destination().exists());
}

#[test]
fn more_than_there_is_room_for_is_not_fetched() {
    let huge = answer("200 OK", &[], 1 << 60, b"");
    let service = Service::answering(vec![huge]);
    let error = service.fetch_with(source(), Requirement::None, u64::MAX).unwrap_err();
    let BundleError::NoSpace { needed, available, .. } = error else { panic!("{error}") };
    assert!(needed == 1 << 60 && available < needed);
    assert!(!service.destination().exists());
}

fn acquire_locally(source: &RevisionSource, requirement: Requirement) -> Result<Acquired, BundleError> {
    let destination = Path::new("/nowhere/bundle");
    let request =
        Request { source, destination, limit: 1, requirement, github_token: None, stop: &StopSignal::default() };
    let service = Service::answering(Vec::new());
    let s3 = S3 { provider: nobody(service.dir.path()), ..service.s3() };
    acquire(&request, &s3, &github(s3.client.clone(), &service.handle, &service.url))
}

#[test]
fn what_is_on_this_host_is_used_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.tgz");
    std::fs::write(&file, b"x").unwrap();
    let as_file = |path: &Path| RevisionSource::LocalFile { path: path.to_owned(), bundle_type: BundleType::Tgz };
    let as_directory = |path: &Path| RevisionSource::LocalDirectory { path: path.to_owned() };
    let none = Requirement::None;
    let found = acquire_locally(&as_file(&file), none).unwrap();
    assert_eq!(found, Acquired::InPlace { path: file.clone(), bundle_type: BundleType::Tgz });
    let found = acquire_locally(&as_directory(dir.path()), none).unwrap();
    assert_eq!(found, Acquired::Directory(dir.path().to_owned()));
    for wrong in [as_file(dir.path()), as_directory(&file), as_file(&dir.path().join("missing"))] {
        let error = acquire_locally(&wrong, none).unwrap_err();
        assert!(matches!(error, BundleError::Local(_)), "{error}");
    }
    assert!(acquire_locally(&as_file(&file), Requirement::Sha256).is_err());
}

#[test]
fn a_retained_revision_is_not_fetched() {
    let retained = RevisionSource::Retained(DeploymentId::parse("d-1").unwrap());
    acquire_locally(&retained, Requirement::None).unwrap_err();
}
