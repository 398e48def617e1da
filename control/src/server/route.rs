//! Which part of the service a request is for.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use serde_json::json;

use super::calls::{self, unknown};
use super::doorway::Place;
use super::{App, objects};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const S3_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const TARGET: &str = "x-amz-target";
/// A call by RPC v2 says so, and an object of that path does not.
const SMITHY_PROTOCOL: &str = "smithy-protocol";

/// All of the service behind one address. An S3 bucket can be in the host's name, so that every path,
/// the root too, can be an object's or a bucket's; what tells the others apart is in their headers.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", any(root))
        .route("/health", get(health).fallback(objects_or_misdirected))
        .route("/service/{service}/operation/{operation}", post(rpc_v2).fallback(objects::answer))
        .fallback(objects_or_misdirected)
        .layer(middleware::from_fn(identify))
        .with_state(app)
}

async fn root(State(app): State<App>, request: Request) -> Response {
    let has_query = request.uri().query().is_some();
    let has_target = request.headers().contains_key(TARGET);
    match *request.method() {
        Method::POST if has_target && !has_query => calls::answer(app, request).await,
        Method::POST if !has_target && !has_query => {
            unknown("The request has no X-Amz-Target header to say which operation it calls.").into_response()
        }
        // As AWS's agent does at its start, to see whether TLS works.
        Method::GET | Method::HEAD if !has_query && !request.headers().contains_key(AUTHORIZATION) => {
            "slipway-control\n".into_response()
        }
        _ => objects_or_misdirected(State(app), request).await,
    }
}

/// Whether the service can do its work, for balancers and monitoring: 200, or 503 with what is wrong. A signed request is for
/// a bucket of that name.
async fn health(State(app): State<App>, request: Request) -> Response {
    if request.headers().contains_key(AUTHORIZATION) || request.uri().query().is_some() {
        return objects_or_misdirected(State(app), request).await;
    }
    let disk = Arc::clone(&app.disk);
    // The disk may be slow.
    let problem = match tokio::task::spawn_blocking(move || disk.problem()).await {
        Ok(problem) => problem,
        Err(error) => Some(error.to_string()),
    };
    let (status, told) = match problem {
        None => (StatusCode::OK, json!({ "status": "ok" })),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "failing", "problems": [problem] })),
    };
    (status, [(CONTENT_TYPE, "application/json")], format!("{told}\n")).into_response()
}

async fn rpc_v2(State(app): State<App>, request: Request) -> Response {
    if request.headers().contains_key(SMITHY_PROTOCOL) {
        return unknown("The RPC v2 protocol is not there yet; use a client that speaks AWS JSON 1.1.").into_response();
    }
    objects::answer(State(app), request).await
}

async fn objects_or_misdirected(State(app): State<App>, request: Request) -> Response {
    if request.headers().contains_key(TARGET) {
        return unknown("A call with an X-Amz-Target header is a POST to / without a query.").into_response();
    }
    objects::answer(State(app), request).await
}

/// Gives every answer an id, by which it is found in the log.
async fn identify(request: Request<Body>, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if let Some(place) = request.extensions().get::<Arc<Place>>() {
        place.note_request();
    }
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id.clone());
        response.headers_mut().insert(S3_REQUEST_ID, id);
    }
    match response.status().as_u16() {
        status @ (403 | 500..) => tracing::info!(%method, path, status, id, "answered"),
        status => tracing::debug!(%method, path, status, id, "answered"),
    }
    response
}
