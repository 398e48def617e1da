//! The store through its HTTP service, with requests that an independent implementation signs.
#![allow(clippy::disallowed_methods, reason = "tests look at the files that the store wrote")]

mod listing;
mod objects;
mod uploads;

use std::path::PathBuf;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, StatusCode};
use s3s::Body;
use s3s::service::S3Service;
use sqlx::SqlitePool;

use super::*;
use crate::db;
use crate::keys::{self, AccountId, NewKey, Owner, UserName};

/// A store in a directory of its own, with a bucket `bundles` and two keys.
struct Fixture {
    directory: tempfile::TempDir,
    pool: SqlitePool,
    service: S3Service,
    administrator: NewKey,
    host: NewKey,
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pool = db::open(directory.path()).await.unwrap();
        let account = AccountId::parse("000000000000").unwrap();
        let administrator = Owner::Administrator(UserName::parse("root").unwrap());
        let administrator = keys::create(&pool, &administrator, &account).await.unwrap();
        let host = Owner::Host(UserName::parse_host("web-1").unwrap());
        let host = keys::create(&pool, &host, &account).await.unwrap();
        assert!(create_bucket(&pool, "bundles").await.unwrap());
        let service = open(&pool, &directory).await;
        Self { directory, pool, service, administrator, host }
    }

    /// As a restart does.
    async fn reopen(&mut self) {
        self.service = open(&self.pool, &self.directory).await;
    }

    async fn put(&self, key: &str, content: &str) -> Answered {
        let answered = self.send(("PUT", &format!("/bundles/{key}")), &[], content.to_owned()).await;
        assert_eq!(answered.status, StatusCode::OK, "{}", answered.text());
        answered
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answered {
        self.send(("GET", path), headers, String::new()).await
    }

    /// A request of the administrator.
    async fn send(&self, target: (&str, &str), headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answered {
        self.send_as(&self.administrator, target, headers, body.into()).await
    }

    async fn send_as(&self, key: &NewKey, target: (&str, &str), headers: &[(&str, &str)], body: Bytes) -> Answered {
        let mut request = signed(key, target, headers, SignableBody::Bytes(&body));
        request.headers_mut().insert("content-length", body.len().into());
        *request.body_mut() = Body::from(body.to_vec());
        self.call(request).await
    }

    async fn call(&self, request: Request<Body>) -> Answered {
        let (parts, mut body) = self.service.call(request).await.unwrap().into_parts();
        let mut all = Vec::new();
        while let Some(piece) = body.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        Answered { status: parts.status, headers: parts.headers, body: all.into() }
    }

    /// All files under `objects/`.
    fn files(&self) -> Vec<PathBuf> {
        let list = |path: PathBuf| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        list(self.directory.path().join("objects")).flat_map(list).collect()
    }
}

async fn open(pool: &SqlitePool, directory: &tempfile::TempDir) -> S3Service {
    let store = ObjectStore::open(pool.clone(), &directory.path().join("objects"), "us-east-1").await.unwrap();
    store.service(&[])
}

/// Signs as S3 clients do: paths are encoded once, and the payload's digest is a header.
fn signed(
    key: &NewKey,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: SignableBody<'_>,
) -> Request<Body> {
    let identity = Credentials::from_keys(&key.id, key.secret.expose(), None).into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(jiff::Timestamp::now().into())
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("https://127.0.0.1:8443{path}");
    let signable = SignableRequest::new(method, &uri, headers.iter().copied(), body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8443");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    request
}

impl Answered {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The texts of all elements of a name.
    fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let open = format!("<{name}>");
        text.split(&open).skip(1).map(|rest| rest.split("</").next().unwrap().to_owned()).collect()
    }

    /// The error's code, which must come with the status.
    fn code(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.elements("Code").pop().unwrap_or_default()
    }
}
