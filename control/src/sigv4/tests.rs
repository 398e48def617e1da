use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use super::*;
use crate::db;
use crate::keys::{AccountId, NewKey, Owner, UserName};

struct Signing<'a> {
    key: &'a str,
    secret: &'a str,
    service: &'a str,
    time: SystemTime,
}

async fn authenticate(pool: &SqlitePool, request: &Parts, body: &[u8], service: &str) -> Result<Caller, ApiError> {
    examine(pool, request, service).await?.verify(body)
}

/// A request as an independent implementation signs it.
fn signed(signing: &Signing<'_>, body: &[u8]) -> Parts {
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "CodeDeploy_20141006.ListApplications"),
        ("x-amz-odd", "  two   words "),
    ];
    let identity = Credentials::from_keys(signing.key, signing.secret, None).into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name(signing.service)
        .time(signing.time)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = "https://deploy.example.org:8443/";
    let signable = SignableRequest::new("POST", uri, headers.iter().copied(), SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut request = http::Request::post("/").header("host", "deploy.example.org:8443");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    request.headers_mut().insert("user-agent", "test".parse().unwrap());
    request.into_parts().0
}

async fn setup() -> (tempfile::TempDir, SqlitePool, NewKey) {
    let directory = tempfile::tempdir().unwrap();
    let pool = db::open(directory.path()).await.unwrap();
    let owner = Owner::Administrator(UserName::parse("root").unwrap());
    let key = keys::create(&pool, &owner, &AccountId::parse("000000000000").unwrap()).await.unwrap();
    (directory, pool, key)
}

fn now() -> SystemTime {
    Timestamp::now().into()
}

fn good(key: &NewKey) -> Signing<'_> {
    Signing { key: &key.id, secret: key.secret.expose(), service: "codedeploy", time: now() }
}

#[tokio::test]
async fn a_good_signature_names_its_caller_and_any_change_ends_it() {
    let (_directory, pool, key) = setup().await;
    let request = signed(&good(&key), b"{}");
    let caller = authenticate(&pool, &request, b"{}", "codedeploy").await.unwrap();
    assert_eq!(caller, Caller::Administrator { access_key_id: key.id.clone(), arn: key.arn.clone() });

    let refused = authenticate(&pool, &request, b"{ }", "codedeploy").await.unwrap_err();
    assert_eq!((refused.status, refused.name.as_str()), (403, "InvalidSignatureException"));
    for header in ["x-amz-target", "content-type", "host", "x-amz-odd"] {
        let mut changed = signed(&good(&key), b"{}");
        changed.headers.insert(header, "other".parse().unwrap());
        let refused = authenticate(&pool, &changed, b"{}", "codedeploy").await.unwrap_err();
        assert_eq!(refused.name, "InvalidSignatureException", "{header}");
    }
    let mut added = signed(&good(&key), b"{}");
    added.headers.insert("x-amz-codedeploy-agent-version", "x".parse().unwrap());
    let refused = authenticate(&pool, &added, b"{}", "codedeploy").await.unwrap_err();
    assert_eq!(refused.name, "IncompleteSignatureException");
}

#[tokio::test]
async fn the_host_of_http2_is_in_the_target() {
    let (_directory, pool, key) = setup().await;
    let mut request = signed(&good(&key), b"");
    request.headers.remove("host");
    request.uri = "https://deploy.example.org:8443/".parse().unwrap();
    authenticate(&pool, &request, b"", "codedeploy").await.unwrap();
}

#[tokio::test]
async fn each_refusal_has_the_name_that_clients_know() {
    let (_directory, pool, key) = setup().await;
    let names = async |signing: Signing<'_>| {
        let request = signed(&signing, b"{}");
        let error = authenticate(&pool, &request, b"{}", "codedeploy").await.unwrap_err();
        assert_eq!(error.status, 403);
        (error.name, error.message)
    };
    assert_eq!(names(Signing { secret: "wrong", ..good(&key) }).await.0, "InvalidSignatureException");
    assert_eq!(names(Signing { key: "AKIAUNKNOWN", ..good(&key) }).await.0, "UnrecognizedClientException");
    let (name, message) = names(Signing { service: "s3", ..good(&key) }).await;
    assert_eq!(name, "InvalidSignatureException");
    assert!(message.contains("\"s3\"") && message.contains("\"codedeploy\""), "{message}");

    for offset in [-890, 890] {
        let moment = Timestamp::now() + SignedDuration::from_secs(offset);
        let request = signed(&Signing { time: moment.into(), ..good(&key) }, b"{}");
        authenticate(&pool, &request, b"{}", "codedeploy").await.unwrap();
    }
    for offset in [-910, 910] {
        let moment = Timestamp::now() + SignedDuration::from_secs(offset);
        let (name, message) = names(Signing { time: moment.into(), ..good(&key) }).await;
        assert_eq!(name, "InvalidSignatureException");
        assert!(message.contains("client's clock") && message.contains("service's"), "{message}");
        assert!(message.contains(&whole_seconds(moment).to_string()), "{message}");
    }
    let near = Timestamp::now() - SignedDuration::from_secs(280);
    let request = signed(&Signing { time: near.into(), ..good(&key) }, b"{}");
    authenticate(&pool, &request, b"{}", "codedeploy").await.unwrap();

    keys::revoke(&pool, &key.id).await.unwrap();
    assert_eq!(names(good(&key)).await.0, "UnrecognizedClientException");
}

#[tokio::test]
async fn headers_that_are_no_signature_are_refused() {
    let (_directory, pool, _key) = setup().await;
    let cases = [
        (None, "MissingAuthenticationTokenException"),
        (Some("Bearer abc"), "IncompleteSignatureException"),
        (Some("AWS4-HMAC-SHA256"), "IncompleteSignatureException"),
        (Some("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=x"), "IncompleteSignatureException"),
        (Some("AWS4-HMAC-SHA256 Credential=a/20260101/r/s/aws4_request, Signature=x"), "IncompleteSignatureException"),
        (
            Some("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=x, Evil=1"),
            "IncompleteSignatureException",
        ),
    ];
    for (header, name) in cases {
        let mut request = http::Request::post("/").header("host", "h").header("x-amz-date", "20260101T000000Z");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let request = request.body(()).unwrap().into_parts().0;
        let error = authenticate(&pool, &request, b"", "codedeploy").await.unwrap_err();
        assert_eq!((error.status, error.name.as_str()), (403, name), "{header:?}");
    }
}

#[test]
fn dates_have_one_form() {
    assert_eq!(parse_amz_date("20260131T235959Z").unwrap().to_string(), "2026-01-31T23:59:59Z");
    for bad in ["", "20260131T235959", "2026-01-31T235959Z", "20261331T235959Z", "20260131 235959Z", "äääääääT"]
    {
        assert_eq!(parse_amz_date(bad), None, "{bad}");
    }
}
