//! A commands service that has nothing to do, and remembers who asked.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The access key that signed it.
    pub key: String,
    /// The session's token that came with it.
    pub token: String,
    /// What it asks of which variant of the service: `X-Amz-Target`.
    pub target: String,
    /// What the agent says that it is: `x-amz-codedeploy-agent-version`.
    pub version: String,
    /// Its body.
    pub body: String,
}

#[derive(Debug, Default)]
struct Seen {
    polls: Vec<Poll>,
    refused: Option<String>,
}

type Shared = Arc<Mutex<Seen>>;

/// A running service on plain HTTP; it ends when this is dropped.
pub struct Polled {
    endpoint: String,
    seen: Shared,
    _runtime: Runtime,
}

impl Polled {
    /// Starts it on a free loopback port.
    pub fn start() -> Result<Self> {
        let seen = Shared::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let endpoint = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let service = axum::Router::new().fallback(answer).with_state(Arc::clone(&seen));
        runtime.spawn(async move { axum::serve(listener, service).await });
        Ok(Self { endpoint, seen, _runtime: runtime })
    }

    /// Its URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// From now on it does not accept what is signed by that key.
    pub fn refuses(&self, key: &str) {
        lock(&self.seen).refused = Some(key.to_owned());
    }

    /// All requests so far.
    pub fn polls(&self) -> Vec<Poll> {
        lock(&self.seen).polls.clone()
    }

    /// The key of the last request; empty before there was one.
    pub fn last_key(&self) -> String {
        lock(&self.seen).polls.last().map(|poll| poll.key.clone()).unwrap_or_default()
    }
}

fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(seen): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let authorization = header("authorization");
    let key = authorization.split_once("Credential=").and_then(|(_, rest)| rest.split_once('/'));
    let key = key.map_or_else(String::new, |(key, _)| key.to_owned());
    let mut seen = lock(&seen);
    let refused = seen.refused.as_ref() == Some(&key);
    let token = header("x-amz-security-token");
    let (target, version) = (header("x-amz-target"), header("x-amz-codedeploy-agent-version"));
    seen.polls.push(Poll { key, token, target, version, body: String::from_utf8_lossy(&body).into_owned() });
    if refused {
        let body = r#"{"__type":"ExpiredTokenException","message":"The security token is expired"}"#;
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    (StatusCode::OK, "{}").into_response()
}
