//! Calls of the public API and of the commands service: AWS JSON 1.1.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::App;
use super::call_log::CallLog;
use super::doorway::Place;
use crate::caller::{Caller, Peer};
use crate::error::ApiError;
use crate::{api, commands, sigv4};

/// Bytes in a call's body.
const MAX_BODY: usize = 1024 * 1024;
/// Bytes of a body over that which are read for its sender to come to the answer.
const MOST_READ_AWAY: usize = 16 * MAX_BODY;
/// From this size on a body counts as large.
const LARGE_BODY: u64 = 32 * 1024;
/// Large bodies that are held at a time; further ones wait.
pub const LARGE_BODIES: usize = 64;
/// For all of a call's body.
const BODY_TIME: Duration = Duration::from_secs(30);

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// An operation, as the `X-Amz-Target` header names it.
enum Call {
    Api(String),
    /// With the name of the service that its signature is scoped to.
    Commands(String, &'static str),
}

/// Answers a call: authenticates it, and hands it on.
pub async fn answer(app: App, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let call = match Call::of(&parts.headers) {
        Ok(call) => call,
        Err(error) => return error.into_response(),
    };
    let mut log = CallLog::new(call.operation(), parts.extensions.get::<Peer>().copied());
    let answered = call.answer(&app, &parts, body, &mut log).await;
    log.write(&answered);
    match answered {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(error) => error_response(&error),
    }
}

/// A call of what is not there.
pub fn unknown(message: &str) -> ApiError {
    ApiError { status: 404, name: "UnknownOperationException".to_owned(), message: message.to_owned() }
}

impl Call {
    /// Each prefix has its own name in signatures.
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        match target.split_once('.') {
            Some(("CodeDeploy_20141006", operation)) => Ok(Self::Api(operation.to_owned())),
            Some(("CodeDeployCommandService_v20141006", operation)) => {
                Ok(Self::Commands(operation.to_owned(), "codedeploy-commands"))
            }
            Some(("CodeDeployCommandService", operation)) => {
                Ok(Self::Commands(operation.to_owned(), "codedeploy-commands-secure"))
            }
            _ => Err(unknown("The X-Amz-Target header names no service that answers here.")),
        }
    }

    fn operation(&self) -> &str {
        let (Self::Api(operation) | Self::Commands(operation, _)) = self;
        operation
    }

    async fn answer(&self, app: &App, parts: &Parts, body: Body, log: &mut CallLog) -> Result<Value, ApiError> {
        let (operation, signing_name) = match self {
            Self::Api(operation) => (operation, "codedeploy"),
            Self::Commands(operation, name) => (operation, *name),
        };
        let claim = sigv4::examine(app.service.pool(), parts, signing_name).await?;
        let body = receive(app, &parts.headers, body).await?;
        let caller = claim.verify(&body)?;
        if let Some(place) = parts.extensions.get::<Arc<Place>>() {
            place.recognize();
        }
        tracing::debug!(operation, key = caller.access_key_id(), "called");
        log.caller = Some(caller.clone());
        match self {
            Self::Api(_) => {
                log.note_subject(&body);
                if let Caller::Host { host_arn, .. } = &caller {
                    return Err(not_for_hosts(host_arn, operation));
                }
                api::handle(&app.service, &caller, operation, &body).await
            }
            Self::Commands(..) => {
                let agent = parts.headers.get("x-amz-codedeploy-agent-version").and_then(|value| value.to_str().ok());
                commands::handle(&app.service, &caller, agent, operation, &body).await
            }
        }
    }
}

/// A call's body. Of the large ones only some are in memory at a time; a held poll's is none of them.
async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let large = length.is_none_or(|length| length >= LARGE_BODY);
    let _permit = if large { app.bodies.acquire().await.ok() } else { None };
    tokio::time::timeout(BODY_TIME, read(body)).await.map_err(|_| too_slow())?
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let mut pieces = body.into_data_stream();
    let mut all = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            ApiError::client("SerializationException", format!("The request's body could not be read: {error}."))
        })?;
        if all.len() + piece.len() > MAX_BODY {
            drop(all);
            read_away(pieces).await;
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

/// Reads what a client still sends: one that is cut off while it sends never looks at the answer.
async fn read_away(mut pieces: BodyDataStream) {
    let mut rest = MOST_READ_AWAY;
    while let Some(Ok(piece)) = pieces.next().await {
        rest = rest.saturating_sub(piece.len());
        if rest == 0 {
            return;
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        tracing::info!(status = self.status, name = self.name, reason = self.message, "refused");
        error_response(&self)
    }
}

fn error_response(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(status, &json!({ "__type": error.name, "message": error.message }));
    if let Ok(name) = HeaderValue::from_str(&error.name) {
        response.headers_mut().insert(ERROR_TYPE, name);
    }
    response
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, JSON)], value.to_string()).into_response()
}

fn not_for_hosts(host_arn: &str, operation: &str) -> ApiError {
    ApiError {
        status: 403,
        name: "AccessDeniedException".to_owned(),
        message: format!("{host_arn} is a host; {operation:.100} takes an administrator's key."),
    }
}

fn too_slow() -> ApiError {
    ApiError {
        status: 408,
        name: "RequestTimeoutException".to_owned(),
        message: format!("The request's body did not come within {} seconds.", BODY_TIME.as_secs()),
    }
}
