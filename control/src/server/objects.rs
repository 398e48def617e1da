//! Requests for the embedded S3, and what they are screened for before its protocol library sees them.

use std::fmt::Debug;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use s3s::{S3Result, s3_error};

use super::App;
use super::doorway::Place;
use crate::sigv4;

/// Answers an S3 request.
pub async fn answer(State(app): State<App>, request: Request) -> Response {
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let answered = match screen(&request, Timestamp::now()) {
        Ok(()) => app.s3.call(request.map(s3s::Body::http_body_unsync)).await.map_err(failed),
        Err(refused) => refused.to_http_response().map_err(failed),
    };
    let response = answered.map_or_else(IntoResponse::into_response, |response| response.map(Body::new));
    // Whoever is not known is refused, whatever is asked for.
    if let Some(place) = place.filter(|_| response.status().is_success()) {
        place.recognize();
    }
    response
}

fn failed(error: impl Debug) -> StatusCode {
    tracing::error!(?error, "the S3 endpoint could not answer");
    StatusCode::INTERNAL_SERVER_ERROR
}

/// What the protocol library would take and we do not: forms (it would hold a whole file in memory), the
/// old signatures, and signatures that leave out what decides. And clocks, with a message that names both.
fn screen(request: &Request, now: Timestamp) -> S3Result<()> {
    let headers = request.headers();
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().to_ascii_lowercase());
    if kind.is_some_and(|kind| kind.starts_with(b"multipart/")) {
        return Err(s3_error!(NotImplemented, "uploads by an HTML form are not supported; use PutObject"));
    }
    let query = request.uri().query().unwrap_or_default();
    let has_parameter = |name: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == name);
    let old_header = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
    if old_header || has_parameter("Signature") || has_parameter("AWSAccessKeyId") {
        return Err(s3_error!(InvalidRequest, "signatures of version 2 are not accepted; sign with AWS4-HMAC-SHA256"));
    }
    let signed = signed_headers(headers, query);
    if let Some(name) = signed.and_then(|signed| sigv4::unsigned_header(headers, &signed)) {
        return Err(s3_error!(AccessDenied, "the header {name:?} has to be signed and is not"));
    }
    let signed_at = headers.get("x-amz-date").and_then(|date| sigv4::parse_amz_date(date.to_str().ok()?));
    match signed_at {
        Some(signed_at) if now.duration_since(signed_at).abs() > sigv4::MAX_SKEW => {
            Err(s3_error!(RequestTimeTooSkewed, "{}", sigv4::skew_message(signed_at, now)))
        }
        _ => Ok(()),
    }
}

/// The names that a signature in the header or the query says it covers; `None` for an unsigned request.
fn signed_headers(headers: &HeaderMap, query: &str) -> Option<String> {
    if let Some(authorization) = headers.get(AUTHORIZATION) {
        let fields = authorization.to_str().unwrap_or_default().split([',', ' ']);
        return Some(fields.filter_map(|field| field.strip_prefix("SignedHeaders=")).collect());
    }
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let signed = parameters.find(|(name, _)| name == "X-Amz-SignedHeaders")?.1;
    // In a query the digest of the content cannot be known beforehand; where it comes, it is verified.
    Some(format!("{signed};x-amz-content-sha256"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(headers: &[(&str, &str)], query: &str) -> String {
        let mut request = Request::get(format!("/b/k{query}")).header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        screen(&request.body(Body::empty()).unwrap(), now)
            .map_or_else(|error| error.code().as_str().to_owned(), |()| String::new())
    }

    #[test]
    fn requests_are_screened() {
        let signed = |names: &str| format!("AWS4-HMAC-SHA256 Credential=a/b,SignedHeaders={names}, Signature=x");
        let (host, with_date) = (signed("host"), signed("host;x-amz-date"));
        assert_eq!(code(&[], ""), "", "unsigned ones are refused later");
        assert_eq!(code(&[("authorization", &host)], ""), "");
        assert_eq!(code(&[("authorization", &signed("accept"))], ""), "AccessDenied");
        assert_eq!(code(&[("authorization", &host), ("x-amz-acl", "private")], ""), "AccessDenied");
        for (date, expected) in [
            ("20260131T120000Z", ""),
            ("20260131T114501Z", ""),
            ("20260131T114459Z", "RequestTimeTooSkewed"),
            ("20260131T121501Z", "RequestTimeTooSkewed"),
        ] {
            assert_eq!(code(&[("authorization", &with_date), ("x-amz-date", date)], ""), expected, "{date}");
        }
        assert_eq!(code(&[], "?X-Amz-SignedHeaders=host&X-Amz-Signature=x"), "");
        assert_eq!(code(&[], "?X-Amz-SignedHeaders=accept"), "AccessDenied");
        assert_eq!(code(&[("x-amz-copy-source", "b/x")], "?X-Amz-SignedHeaders=host"), "AccessDenied");
        assert_eq!(code(&[("x-amz-content-sha256", "0")], "?X-Amz-SignedHeaders=host"), "");
        assert_eq!(code(&[("authorization", "AWS a:b")], ""), "InvalidRequest");
        assert_eq!(code(&[], "?%53ignature=x"), "InvalidRequest");
        assert_eq!(code(&[("content-type", "Multipart/Form-Data; boundary=x")], ""), "NotImplemented");
    }
}
