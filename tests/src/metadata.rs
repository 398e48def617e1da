//! A metadata service as EC2's version 2 is, on loopback, with switches for what goes wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The instance's region.
pub const REGION: &str = "eu-west-1";
/// The instance's account.
pub const ACCOUNT: &str = "111122223333";
/// The role that is attached to it.
pub const ROLE: &str = "web";

/// What the service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    Serves,
    /// It gives no tokens: it is turned off for the instance.
    RefusesTokens,
    /// It takes connections and says nothing, as where the hop limit keeps the answer from coming.
    Silent,
    /// No role is attached.
    HasNoRole,
    /// The role cannot be assumed.
    CannotAssume,
    /// It fails.
    Fails,
}

/// The credentials that it gives.
#[derive(Clone, Debug)]
pub struct Given {
    /// The key's public half.
    pub id: String,
    /// The other half.
    pub secret: String,
    /// The session's token.
    pub token: String,
    /// Until when.
    pub expires: Timestamp,
}

impl Given {
    /// Credentials with that key, which expire so many seconds from now.
    pub fn expiring(id: &str, seconds: i64) -> Self {
        let expires = Timestamp::now() + SignedDuration::from_secs(seconds);
        Self { id: id.to_owned(), secret: format!("secret-of-{id}"), token: format!("token-of-{id}"), expires }
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Method and path.
    pub what: String,
    /// The answer's status.
    pub status: u16,
}

#[derive(Debug)]
struct World {
    mood: Mood,
    instance: String,
    given: Given,
    asked: Vec<Asked>,
    tokens: Vec<String>,
}

type Shared = Arc<Mutex<World>>;

/// A running service; it ends when this is dropped.
pub struct Metadata {
    port: u16,
    world: Shared,
    _runtime: Runtime,
}

impl Metadata {
    /// Starts it for the instance `i-…` on a free port.
    pub fn start(instance: &str, given: Given) -> Result<Self> {
        Self::start_at(0, instance, given)
    }

    /// Starts it on a port that somebody knows already.
    pub fn start_at(port: u16, instance: &str, given: Given) -> Result<Self> {
        let world =
            World { mood: Mood::Serves, instance: instance.to_owned(), given, asked: Vec::new(), tokens: Vec::new() };
        let world = Arc::new(Mutex::new(world));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))?;
        let port = listener.local_addr()?.port();
        let service = axum::Router::new().fallback(answer).with_state(Arc::clone(&world));
        runtime.spawn(async move { axum::serve(listener, service).await });
        Ok(Self { port, world, _runtime: runtime })
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Has a program ask it.
    pub fn tells(&self, command: &mut Command) {
        ask_at(command, &self.endpoint());
    }

    /// Changes what it does.
    pub fn turns(&self, mood: Mood) {
        lock(&self.world).mood = mood;
    }

    /// Changes the credentials that it gives.
    pub fn gives(&self, given: Given) {
        lock(&self.world).given = given;
    }

    /// No token counts any more.
    pub fn forgets_tokens(&self) {
        lock(&self.world).tokens.clear();
    }

    /// All that was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.world).asked.clone()
    }
}

/// Has a program ask a metadata service at that address, whether or not there is one.
pub fn ask_at(command: &mut Command, endpoint: &str) {
    command.env_remove("AWS_EC2_METADATA_DISABLED").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
}

fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(world): State<Shared>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if lock(&world).mood == Mood::Silent {
        return std::future::pending().await;
    }
    let mut world = lock(&world);
    let (status, body) = match world.mood {
        Mood::Fails => (StatusCode::INTERNAL_SERVER_ERROR, "out of order".to_owned()),
        _ => world.judge(&method, uri.path(), &headers),
    };
    world.asked.push(Asked { what: format!("{method} {}", uri.path()), status: status.as_u16() });
    (status, body).into_response()
}

impl World {
    fn judge(&mut self, method: &Method, path: &str, headers: &HeaderMap) -> (StatusCode, String) {
        let none = |status| (status, String::new());
        if path == "/latest/api/token" {
            let ttl =
                headers.get("x-aws-ec2-metadata-token-ttl-seconds").and_then(|ttl| ttl.to_str().ok()?.parse().ok());
            return match ttl {
                _ if method != Method::PUT => none(StatusCode::METHOD_NOT_ALLOWED),
                _ if self.mood == Mood::RefusesTokens || headers.contains_key("x-forwarded-for") => {
                    none(StatusCode::FORBIDDEN)
                }
                Some(1..=21_600_u32) => {
                    let token = format!("token-{}", self.tokens.len());
                    self.tokens.push(token.clone());
                    (StatusCode::OK, token)
                }
                _ => none(StatusCode::BAD_REQUEST),
            };
        }
        let token = headers.get("x-aws-ec2-metadata-token").and_then(|token| token.to_str().ok());
        if !self.tokens.iter().any(|known| Some(known.as_str()) == token) {
            return none(StatusCode::UNAUTHORIZED);
        }
        let found = match path.strip_prefix("/latest/").unwrap_or_default() {
            "dynamic/instance-identity/document" => Some(self.document()),
            "meta-data/placement/region" => Some(REGION.to_owned()),
            "meta-data/services/partition" => Some("aws".to_owned()),
            "meta-data/services/domain" => Some("amazonaws.com".to_owned()),
            "meta-data/iam/security-credentials/" if self.mood != Mood::HasNoRole => Some(ROLE.to_owned()),
            "meta-data/iam/security-credentials/web" if self.mood != Mood::HasNoRole => Some(self.credentials()),
            _ => None,
        };
        found.map_or_else(|| none(StatusCode::NOT_FOUND), |text| (StatusCode::OK, text))
    }

    fn document(&self) -> String {
        let document = json!({
            "accountId": ACCOUNT, "architecture": "x86_64", "availabilityZone": format!("{REGION}a"),
            "instanceId": self.instance, "region": REGION, "version": "2017-09-30",
        });
        document.to_string()
    }

    fn credentials(&self) -> String {
        let Given { id, secret, token, expires } = &self.given;
        let answer = match self.mood {
            Mood::CannotAssume => json!({
                "Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role web.",
            }),
            _ => json!({
                "Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC",
                "AccessKeyId": id, "SecretAccessKey": secret, "Token": token,
                "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }),
        };
        answer.to_string()
    }
}
