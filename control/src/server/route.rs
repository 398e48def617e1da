//! Which part of the service a request is for, and the form of the answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;
use s3s::{Body, S3Error, S3Result, s3_error};
use serde_json::{Value, json};

use super::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::{api, commands, sigv4};

/// Bytes in a call's body.
const MAX_BODY: usize = 1024 * 1024;
/// From this size on a body counts as large.
const LARGE_BODY: u64 = 32 * 1024;
/// Large bodies that are held at a time; further ones wait.
pub const LARGE_BODIES: usize = 64;
/// For all of a call's body.
const BODY_TIME: Duration = Duration::from_secs(30);

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const S3_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// Answers one request.
pub async fn respond(app: &App, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let id = uuid::Uuid::new_v4().to_string();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let route = Route::of(&parts);
    let mut response = match &route {
        Route::Greeting => greeting(),
        Route::Call(call) => match answer_call(app, call, &parts, body).await {
            Ok(value) => json_response(StatusCode::OK, &value),
            Err(error) => error_response(&error, call.operation()),
        },
        Route::Unknown(error) => error_response(error, "?"),
        Route::S3 => s3_response(app, Request::from_parts(parts, body)).await,
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        let name = if matches!(route, Route::S3) { S3_REQUEST_ID } else { REQUEST_ID };
        response.headers_mut().insert(name, id);
    }
    let (operation, status) = (route.operation(), response.status().as_u16());
    match (&route, status) {
        (Route::S3, 403 | 500..) => tracing::info!(%method, path, operation, status, id, "answered"),
        _ => tracing::debug!(%method, path, operation, status, id, "answered"),
    }
    response
}

/// What a request is for.
enum Route {
    /// A look at whether anything answers here, as AWS's agent takes at its start.
    Greeting,
    Call(Call),
    Unknown(ApiError),
    S3,
}

/// A call of an operation, by its `X-Amz-Target`.
enum Call {
    Api(String),
    /// With the name of the service that its signature is scoped to.
    Commands(String, &'static str),
}

impl Route {
    fn of(request: &Parts) -> Self {
        let at_root = request.uri.path() == "/";
        let target = request.headers.get("x-amz-target").map(HeaderValue::to_str);
        match (&request.method, target) {
            (&Method::POST, Some(Ok(target))) if at_root && request.uri.query().is_none() => Self::of_target(target),
            (_, Some(_)) => {
                Self::Unknown(unknown("A call with an X-Amz-Target header is a POST to / without a query."))
            }
            (&Method::POST, None) if request.uri.path().starts_with("/service/") => Self::Unknown(unknown(
                "The RPC v2 CBOR protocol is not there yet; use a client that speaks AWS JSON 1.1.",
            )),
            (&Method::POST, None) if at_root => {
                Self::Unknown(unknown("The request has no X-Amz-Target header to say which operation it calls."))
            }
            (&Method::GET | &Method::HEAD, None)
                if at_root && request.uri.query().is_none() && !request.headers.contains_key(AUTHORIZATION) =>
            {
                Self::Greeting
            }
            _ => Self::S3,
        }
    }

    /// Targets and scopes: each prefix has its own name in signatures.
    fn of_target(target: &str) -> Self {
        match target.split_once('.') {
            Some(("CodeDeploy_20141006", operation)) => Self::Call(Call::Api(operation.to_owned())),
            Some(("CodeDeployCommandService_v20141006", operation)) => {
                Self::Call(Call::Commands(operation.to_owned(), "codedeploy-commands"))
            }
            Some(("CodeDeployCommandService", operation)) => {
                Self::Call(Call::Commands(operation.to_owned(), "codedeploy-commands-secure"))
            }
            _ => Self::Unknown(unknown("The X-Amz-Target header names no service that answers here.")),
        }
    }

    fn operation(&self) -> &str {
        match self {
            Self::Greeting => "greeting",
            Self::Call(call) => call.operation(),
            Self::Unknown(_) => "unknown",
            Self::S3 => "s3",
        }
    }
}

impl Call {
    fn operation(&self) -> &str {
        match self {
            Self::Api(operation) | Self::Commands(operation, _) => operation,
        }
    }

    fn signing_name(&self) -> &'static str {
        match self {
            Self::Api(_) => "codedeploy",
            Self::Commands(_, name) => name,
        }
    }
}

async fn answer_call(app: &App, call: &Call, parts: &Parts, body: Body) -> Result<Value, ApiError> {
    let claim = sigv4::examine(app.service.pool(), parts, call.signing_name()).await?;
    let large = content_length(&parts.headers).is_none_or(|length| length >= LARGE_BODY);
    let permit = if large { app.bodies.acquire().await.ok() } else { None };
    let body = tokio::time::timeout(BODY_TIME, read_body(body)).await.map_err(|_| too_slow())??;
    let caller = claim.verify(&body)?;
    // A poll is held long and its body is small: what waits must not count as a body in memory.
    drop(permit);
    let (Caller::Administrator { access_key_id, .. } | Caller::Host { access_key_id, .. }) = &caller;
    tracing::debug!(operation = call.operation(), access_key_id, "called");
    match call {
        Call::Api(operation) => {
            if let Caller::Host { host_arn, .. } = &caller {
                return Err(ApiError {
                    status: 403,
                    name: "AccessDeniedException".to_owned(),
                    message: format!("{host_arn} is a host; {operation} takes an administrator's key."),
                });
            }
            api::handle(&app.service, &caller, operation, &body).await
        }
        Call::Commands(operation, _) => {
            let agent = parts.headers.get("x-amz-codedeploy-agent-version").and_then(|value| value.to_str().ok());
            commands::handle(&app.service, &caller, agent, operation, &body).await
        }
    }
}

async fn read_body(mut body: Body) -> Result<Bytes, ApiError> {
    let mut all = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            ApiError::client("SerializationException", format!("The request's body could not be read: {error}."))
        })?;
        if all.len() + piece.len() > MAX_BODY {
            return Err(ApiError {
                status: 413,
                name: "RequestEntityTooLargeException".to_owned(),
                message: format!("The request's body is larger than {MAX_BODY} bytes."),
            });
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

async fn s3_response(app: &App, request: Request<Body>) -> Response<Body> {
    if let Err(error) = screen_s3(&request, Timestamp::now()) {
        return error.to_http_response().unwrap_or_else(|error| s3_failed(&error));
    }
    match app.s3.call(request).await {
        Ok(response) => response,
        Err(error) => s3_failed(&error),
    }
}

fn s3_failed(error: &dyn std::fmt::Debug) -> Response<Body> {
    tracing::error!(?error, "the S3 endpoint could not answer");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// What the protocol library would take and we do not: forms (it would hold a whole file in memory), the
/// old signatures, and signatures that leave out what decides.
fn screen_s3(request: &Request<Body>, now: Timestamp) -> S3Result<()> {
    let headers = request.headers();
    let is_form =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"multipart/"));
    if is_form {
        return Err(s3_error!(NotImplemented, "uploads by an HTML form are not supported; use PutObject"));
    }
    let query = request.uri().query().unwrap_or_default();
    let has_query = |name: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == name);
    let old_header = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
    if old_header || has_query("Signature") || has_query("AWSAccessKeyId") {
        return Err(s3_error!(InvalidRequest, "signatures of version 2 are not accepted; sign with AWS4-HMAC-SHA256"));
    }
    let signed = signed_headers(headers, query);
    if let Some(name) = signed.and_then(|signed| sigv4::unsigned_header(headers, &signed)) {
        return Err(s3_error!(AccessDenied, "the header {name:?} has to be signed and is not"));
    }
    let signed_at = headers.get("x-amz-date").and_then(|date| sigv4::parse_amz_date(date.to_str().ok()?));
    match signed_at {
        Some(signed_at) if now.duration_since(signed_at).abs() > sigv4::MAX_SKEW => Err(clock_skew(signed_at, now)),
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

fn clock_skew(signed_at: Timestamp, now: Timestamp) -> S3Error {
    s3_error!(RequestTimeTooSkewed, "{}", sigv4::skew_message(signed_at, now))
}

fn greeting() -> Response<Body> {
    let mut response = Response::new(Body::from("slipway-control\n".to_owned()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn error_response(error: &ApiError, operation: &str) -> Response<Body> {
    tracing::info!(operation, status = error.status, name = error.name, reason = error.message, "refused");
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(status, &json!({ "__type": error.name, "message": error.message }));
    if let Ok(name) = HeaderValue::from_str(&error.name) {
        response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), name);
    }
    response
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn unknown(message: &str) -> ApiError {
    ApiError { status: 404, name: "UnknownOperationException".to_owned(), message: message.to_owned() }
}

fn too_slow() -> ApiError {
    ApiError {
        status: 408,
        name: "RequestTimeoutException".to_owned(),
        message: format!("The request's body did not come within {} seconds.", BODY_TIME.as_secs()),
    }
}
