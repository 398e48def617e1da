//! The EC2 metadata service, version 2 alone (IMDSv2): a token first, which then opens everything else.
//!
//! Every instance answers version 2, and only it cannot be reached through a mistake of another program that fetches
//! addresses for strangers; so version 1 is not asked at all. Nor is the service ever asked through a proxy.

mod answers;
mod error;

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use url::Url;
use zeroize::Zeroize as _;

pub use error::MetadataError;

use super::{Credentials, Environment, Host};
use crate::deployment::Secret;
use crate::http::{Backoff, Client, ClientError, Retry, Timeouts, read_body};
use answers::{Document, RoleCredentials};

/// How long is waited for a connection and for an answer, each. The service is on the host's own link.
const WAIT: Duration = Duration::from_secs(2);
/// Tries where the service is there and cannot answer just now.
const TRIES: u32 = 3;
/// For how long a token is asked for, in seconds: the longest that there is.
const TOKEN_SECONDS: u32 = 21_600;
/// A token is not used in its last minute.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

const IPV4: &str = "http://169.254.169.254";
const IPV6: &str = "http://[fd00:ec2::254]";

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

const TOKEN_PATH: &str = "api/token";
const DOCUMENT: &str = "dynamic/instance-identity/document";
const PARTITION: &str = "meta-data/services/partition";
const DOMAIN: &str = "meta-data/services/domain";
const ROLES: &str = "meta-data/iam/security-credentials/";

/// Where the metadata service is, by the environment.
pub(super) fn address(environment: &Environment) -> Result<Url, MetadataError> {
    if environment.metadata_disabled.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(MetadataError::Disabled);
    }
    let wrong =
        |variable, found: &str, expected| MetadataError::Address { variable, found: found.to_owned(), expected };
    let (variable, text) = match (&environment.metadata_endpoint, environment.metadata_endpoint_mode.as_deref()) {
        (Some(endpoint), _) => ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str()),
        (None, None) => ("", IPV4),
        (None, Some(mode)) if mode.eq_ignore_ascii_case("ipv4") => ("", IPV4),
        (None, Some(mode)) if mode.eq_ignore_ascii_case("ipv6") => ("", IPV6),
        (None, Some(mode)) => return Err(wrong("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", mode, "IPv4 or IPv6")),
    };
    Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "http" && url.host().is_some() && url.query().is_none())
        .ok_or_else(|| wrong(variable, text, "an address such as http://169.254.169.254"))
}

/// A client of the metadata service.
#[derive(Debug)]
pub(super) struct Metadata {
    client: Client,
    /// Without a slash at its end.
    endpoint: String,
    token: Option<Token>,
}

#[derive(Debug)]
struct Token {
    text: Secret,
    until: Instant,
}

/// Credentials of the instance's role.
#[derive(Debug)]
pub(super) struct OfRole {
    pub role: String,
    pub credentials: Credentials,
    pub expires: Timestamp,
}

impl Metadata {
    pub fn new(endpoint: &Url) -> Result<Self, ClientError> {
        let client = Client::plain(Timeouts { connect: WAIT, silence: WAIT })?;
        Ok(Self { client, endpoint: endpoint.as_str().trim_end_matches('/').to_owned(), token: None })
    }

    /// Which instance this is.
    pub async fn host(&mut self) -> Result<Host, MetadataError> {
        let document = self.require(DOCUMENT).await?;
        let document = Document::parse(&document).map_err(|reason| self.unusable(DOCUMENT, reason))?;
        // What imitates the service may not have these; they follow from the region then.
        let partition = self.line(PARTITION).await?;
        let domain = self.line(DOMAIN).await?;
        document.host(partition, domain).map_err(|reason| self.unusable(DOCUMENT, reason))
    }

    /// Fresh credentials of the role that is attached to the instance.
    pub async fn credentials(&mut self) -> Result<OfRole, MetadataError> {
        let role = self.line(ROLES).await?.ok_or(MetadataError::NoRole)?;
        if role.contains(|c: char| !(c.is_ascii_alphanumeric() || "+=,.@_-".contains(c))) || role.starts_with('.') {
            return Err(self.unusable(ROLES, "it names no role".to_owned()));
        }
        let path = format!("{ROLES}{role}");
        // A role that was detached between the two questions.
        let answer = self.get(&path).await?.ok_or(MetadataError::NoRole)?;
        match RoleCredentials::parse(&answer).map_err(|reason| self.unusable(&path, reason))? {
            RoleCredentials::Given(credentials, expires) => Ok(OfRole { role, credentials, expires }),
            RoleCredentials::Failed { code, message } => Err(MetadataError::RoleFailed { role, code, message }),
        }
    }

    /// The first line of an answer; nothing where there is none.
    async fn line(&mut self, path: &str) -> Result<Option<String>, MetadataError> {
        let Some(answer) = self.get(path).await? else { return Ok(None) };
        let text = std::str::from_utf8(&answer).map_err(|_| self.unusable(path, "it is not text".to_owned()))?;
        Ok(text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned))
    }

    async fn require(&mut self, path: &str) -> Result<Answer, MetadataError> {
        let refused = MetadataError::Refused { endpoint: self.endpoint.clone(), path: path.to_owned(), status: 404 };
        self.get(path).await?.ok_or(refused)
    }

    /// An answer's body, or nothing where there is no such thing.
    async fn get(&mut self, path: &str) -> Result<Option<Answer>, MetadataError> {
        let mut answer = self.get_with_token(path).await?;
        if answer.0 == StatusCode::UNAUTHORIZED {
            // A token can be valid for less than it was given for: the service may have been moved.
            self.token = None;
            answer = self.get_with_token(path).await?;
        }
        match answer {
            (StatusCode::OK, body) => Ok(Some(body)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => Err(MetadataError::Refused {
                endpoint: self.endpoint.clone(),
                path: path.to_owned(),
                status: status.as_u16(),
            }),
        }
    }

    async fn get_with_token(&mut self, path: &str) -> Result<(StatusCode, Answer), MetadataError> {
        let token = self.token().await?;
        self.ask(Method::GET, path, (TOKEN, token)).await
    }

    /// The header that opens everything else.
    async fn token(&mut self) -> Result<HeaderValue, MetadataError> {
        let now = Instant::now();
        if self.token.as_ref().is_none_or(|token| token.until <= now) {
            let asked = (TOKEN_TTL, HeaderValue::from(TOKEN_SECONDS));
            let (status, body) = self.ask(Method::PUT, TOKEN_PATH, asked).await?;
            if status != StatusCode::OK {
                return Err(MetadataError::TokenRefused { endpoint: self.endpoint.clone(), status: status.as_u16() });
            }
            let text = String::from_utf8_lossy(&body).trim().to_owned();
            let until = now + Duration::from_secs(TOKEN_SECONDS.into()) - TOKEN_MARGIN;
            self.token = Some(Token { text: Secret::new(text), until });
        }
        let text = self.token.as_ref().map_or("", |token| token.text.expose());
        let mut value =
            HeaderValue::from_str(text).map_err(|_| self.unusable(TOKEN_PATH, "it is no token".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Asks until there is an answer that is no passing failure, a few times.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        header: (HeaderName, HeaderValue),
    ) -> Result<(StatusCode, Answer), MetadataError> {
        let address = format!("{}/latest/{path}", self.endpoint);
        let url = Url::parse(&address).map_err(|error| self.unusable(path, error.to_string()))?;
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
        let mut tries = 1;
        loop {
            let mut request = reqwest::Request::new(method.clone(), url.clone());
            request.headers_mut().insert(header.0.clone(), header.1.clone());
            let answered = self.answered(request).await;
            let is_passing = match &answered {
                Ok((status, _)) => Retry::judge(*status, "", "") != Retry::Never,
                // One that has answered before will most likely do so again.
                Err(MetadataError::Silent { .. }) => self.token.is_some(),
                Err(error) => matches!(error, MetadataError::Broken { .. }),
            };
            if tries == TRIES || !is_passing {
                return answered;
            }
            tries += 1;
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    async fn answered(&self, request: reqwest::Request) -> Result<(StatusCode, Answer), MetadataError> {
        let response = self.client.send(request).await.map_err(|error| MetadataError::of(&error, &self.endpoint))?;
        let status = response.status();
        match read_body(response, MAX_ANSWER).await {
            Ok(body) => Ok((status, Answer(body))),
            Err(error) => Err(MetadataError::Broken { endpoint: self.endpoint.clone(), reason: error.to_string() }),
        }
    }

    fn unusable(&self, path: &str, reason: String) -> MetadataError {
        MetadataError::Unusable { endpoint: self.endpoint.clone(), path: path.to_owned(), reason }
    }
}

/// A body that can be secret: wiped when dropped, where nobody else holds its memory.
struct Answer(bytes::Bytes);

impl std::ops::Deref for Answer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Ok(mut bytes) = std::mem::take(&mut self.0).try_into_mut() {
            bytes.as_mut().zeroize();
        }
    }
}
