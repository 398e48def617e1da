//! Fetching from GitHub, which packs a commit on demand: nobody knows its length or a digest beforehand, and what
//! broke off begins anew.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use tokio::runtime::Handle;
use url::Url;

use super::arrival::{Arrival, Destination};
use super::digest::{Algorithm, Wanted};
use super::patience::{GivenUp, Patience};
use super::stopped::unless_stopped;
use super::{BundleError, Fetched, Request, Requirement};
use crate::deployment::BundleType;
use crate::deployment::revision::GitHubSource;
use crate::http::{Backoff, Client, Foreign, Retry, ThrottleGate, innermost, read_body};

/// Where GitHub's API is.
const API: &str = "https://api.github.com";
/// Redirects of one request that are followed: GitHub has one, renamed repositories another.
const REDIRECTS: u32 = 5;
/// Longest error document that is read.
const MAX_DOCUMENT: usize = 64 * 1024;

/// A way to GitHub.
#[derive(Clone, Debug)]
pub struct GitHub {
    /// Over what.
    pub client: Client,
    /// Where the client's connections are driven.
    pub runtime: Handle,
    /// Its API: [`GitHub::api`], or the setting `github_endpoint_override`.
    pub endpoint: Url,
    /// Closed while it asks for fewer requests; no other service's.
    pub gate: Arc<ThrottleGate>,
    /// Pauses between tries.
    pub backoff: Backoff,
}

/// A try that brought no bundle.
enum Failure {
    /// Another one may.
    Passing(String),
    /// No other one will.
    Lasting(BundleError),
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        Self::Lasting(error)
    }
}

impl GitHub {
    /// The address of the API of github.com.
    pub fn api() -> Result<Url, url::ParseError> {
        Url::parse(API)
    }

    /// The pauses of every fetch, from half a second to 20 s.
    pub fn pauses() -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(20))
    }

    pub(super) fn fetch(&self, source: &GitHubSource, request: &Request<'_>) -> Result<Fetched, BundleError> {
        let fetch = Fetch { github: self, source, request, what: shown(source) };
        if request.requirement == Requirement::Sha256 {
            return Err(BundleError::NoSha256 { what: fetch.what });
        }
        let place = Destination::open(request.destination, fetch.what.clone(), request.stop)?;
        let fetched = self.runtime.block_on(unless_stopped(request.stop, fetch.run(&place)));
        if fetched.is_err() {
            // The first error is the one that tells.
            let _ = place.remove();
        }
        fetched
    }
}

/// As people write it.
fn shown(source: &GitHubSource) -> String {
    let GitHubSource { account, repository, commit, .. } = source;
    format!("{account}/{repository} at {commit} on GitHub")
}

struct Fetch<'a> {
    github: &'a GitHub,
    source: &'a GitHubSource,
    request: &'a Request<'a>,
    what: String,
}

impl Fetch<'_> {
    async fn run(&self, place: &Destination<'_>) -> Result<Fetched, BundleError> {
        let mut patience = Patience::new(self.github.backoff.clone());
        loop {
            let last = match self.once(place).await {
                Ok(fetched) => return Ok(fetched),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(last)) => last,
            };
            match patience.failed() {
                Ok(pause) => {
                    tracing::warn!(bundle = self.what, "fetching will be tried again: {last}");
                    tokio::time::sleep(pause).await;
                }
                Err(GivenUp { tries }) => {
                    return Err(BundleError::Unreachable { object: self.what.clone(), tries, last });
                }
            }
        }
    }

    async fn once(&self, place: &Destination<'_>) -> Result<Fetched, Failure> {
        let mut response = self.open().await?;
        let (length, limit) = (response.content_length(), self.request.limit);
        let too_long = || BundleError::TooLong { object: self.what.clone(), limit };
        if length.is_some_and(|length| length > limit) {
            return Err(too_long().into());
        }
        let mut arrival = Arrival::begin(place, length, vec![Wanted::whole(Algorithm::Sha256)])?;
        let mut size = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| Failure::Passing(innermost(&error)))? {
            if size + chunk.len() as u64 > limit {
                return Err(too_long().into());
            }
            arrival.write(size, &chunk)?;
            size += chunk.len() as u64;
        }
        let sha256 = arrival.finish()?.sha256();
        let bundle_type = self.source.bundle_type;
        Ok(Fetched { path: self.request.destination.to_owned(), bundle_type, size, sha256, verified_by: Vec::new() })
    }

    /// The answer that has the content.
    async fn open(&self) -> Result<reqwest::Response, Failure> {
        let mut url = self.address()?;
        for _ in 0..=REDIRECTS {
            let request = self.get(url.clone())?;
            self.github.gate.pass().await;
            let sent = self.github.client.send(request).await;
            let response = sent.map_err(|error| Failure::Passing(error.to_string()))?;
            match response.status() {
                StatusCode::OK if Foreign::of(StatusCode::OK, response.headers(), &[]).is_some() => {
                    return Err(self.page(response).await.into());
                }
                StatusCode::OK => {
                    self.github.gate.succeeded();
                    return Ok(response);
                }
                status if status.is_redirection() => url = self.next(&url, &response)?,
                _ => return Err(self.refused(response).await),
            }
        }
        Err(Failure::Passing(format!("it was redirected more than {REDIRECTS} times, at last to {}", url.path())))
    }

    fn address(&self) -> Result<Url, BundleError> {
        let GitHubSource { account, repository, commit, bundle_type } = self.source;
        let kind = match bundle_type {
            BundleType::Zip => "zipball",
            BundleType::Tar | BundleType::Tgz => "tarball",
        };
        let endpoint = self.github.endpoint.as_str().trim_end_matches('/');
        let address = format!("{endpoint}/repos/{account}/{repository}/{kind}/{commit}");
        Url::parse(&address).map_err(|error| self.no_address(format!("{address} is not an address: {error}")))
    }

    /// The token is for the API alone: where that sends on, the address itself is what opens the door.
    fn get(&self, url: Url) -> Result<reqwest::Request, BundleError> {
        let is_api = url.origin() == self.github.endpoint.origin();
        let mut request = reqwest::Request::new(Method::GET, url);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        if let Some(token) = self.request.github_token.filter(|_| is_api) {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| self.no_address("its token cannot be sent; give another one".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Where a redirect leads: never to a connection that is less safe.
    fn next(&self, from: &Url, response: &reqwest::Response) -> Result<Url, BundleError> {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let next = location.and_then(|location| from.join(location).ok());
        let next = next.ok_or_else(|| self.no_address(format!("{} redirects nowhere", from.path())))?;
        if next.scheme() == "https" || next.scheme() == from.scheme() {
            Ok(next)
        } else {
            Err(self.no_address(format!("{} redirects to {}, which is not safe", from.path(), next.scheme())))
        }
    }

    /// A page in the place of an archive.
    async fn page(&self, response: reqwest::Response) -> BundleError {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(response, MAX_DOCUMENT).await.unwrap_or_default();
        let foreign = Foreign::of(status, &headers, &body);
        BundleError::GitHub {
            what: self.what.clone(),
            caller: self.caller(),
            status: status.as_u16(),
            answer: foreign.as_ref().map_or_else(|| "an HTML page".to_owned(), Foreign::found),
            remedy: foreign.map_or("check what is on the way to GitHub", |foreign| foreign.remedy()),
        }
    }

    fn caller(&self) -> &'static str {
        match self.request.github_token {
            Some(_) => "the deployment's token",
            None => "whoever has no token",
        }
    }

    async fn refused(&self, response: reqwest::Response) -> Failure {
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let exhausted = header("x-ratelimit-remaining") == Some("0");
        let wait = header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        // An answer without a readable document still has its status, which tells enough.
        let body = read_body(response, MAX_DOCUMENT).await.unwrap_or_default();
        let message = message(&body);
        // Its second limit, on how fast requests come, is a refusal by its status.
        let too_fast = status == StatusCode::FORBIDDEN && (wait.is_some() || message.contains("secondary rate limit"));
        let judged = if too_fast { Retry::Throttled } else { Retry::judge(status, "", &message) };
        match judged {
            Retry::Throttled => {
                self.github.gate.throttled_for(wait.unwrap_or_default());
                Failure::Passing(format!("throttled, HTTP status {status} {message}"))
            }
            Retry::Later => Failure::Passing(format!("HTTP status {status} {message}")),
            Retry::Never => Failure::Lasting(BundleError::GitHub {
                what: self.what.clone(),
                caller: self.caller(),
                status: status.as_u16(),
                answer: message,
                remedy: match status {
                    _ if exhausted => {
                        "GitHub's limit of requests is reached, which is low without a token: give the deployment one, \
                         or deploy from S3"
                    }
                    StatusCode::PARTIAL_CONTENT => {
                        "a part of the archive came, and the whole was asked for: check the proxies and caches on the way"
                    }
                    StatusCode::UNAUTHORIZED => "the token is not accepted: give the deployment another one",
                    StatusCode::NOT_FOUND => {
                        "check account, repository and commit, and that the token may read them: without it a private \
                         repository looks as if it were not there"
                    }
                    _ => "check what the token may read",
                },
            }),
        }
    }

    fn no_address(&self, reason: String) -> BundleError {
        BundleError::Address { object: self.what.clone(), reason }
    }
}

/// What GitHub's error document says, without what could disturb a log.
fn message(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = document.get("message").and_then(|message| message.as_str()).unwrap_or("no further word");
    message.chars().filter(|c| !c.is_control()).take(300).collect()
}
