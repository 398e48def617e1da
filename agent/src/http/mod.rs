//! HTTP to the services: whose certificates are trusted, through which proxy, how long is waited,
//! and when it is tried again.

mod body;
mod error;
mod foreign;
mod named;
mod proxy;
mod retry;
mod tls;
mod tls_error;

use std::time::Duration;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

pub use body::{BodyError, read_body};
pub(crate) use error::innermost;
pub use error::{Phase, SendError};
pub use foreign::Foreign;
pub use proxy::{Proxy, ProxyAddress};
pub use retry::{Backoff, Retry, ThrottleGate};
pub use tls::{Roots, Trust};

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// Between two arrivals of bytes, and for the first one.
    pub silence: Duration,
}

/// Everything that makes one client differ from another.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Whose certificates are trusted.
    pub trust: Trust,
    /// The way out.
    pub proxy: Proxy,
    /// How long is waited.
    pub timeouts: Timeouts,
}

/// A client with its own pool of connections. Building one reads the trusted roots; keep it.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
    proxy: Proxy,
    anchors: Anchors,
}

/// Whether there is anyone to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anchors {
    Some,
    None,
}

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of certificates could not be read.
    #[error("the trusted certificates of {setting} could not be read: {source}")]
    Read {
        /// The setting that names the file.
        setting: &'static str,
        /// What the system says.
        source: crate::disk::Error,
    },
    /// A file of certificates is not usable.
    #[error(
        "the trusted certificates of {setting} ({path}) are not usable: {reason}; a PEM file with at least one CA certificate is needed"
    )]
    Certificates {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS stack refuses the whole.
    #[error("no HTTPS client could be made: {0}; check the certificates of SSL_CERT_FILE and ca_bundle")]
    Build(String),
}

impl Client {
    /// Builds a client. Redirects are never followed: a signed request is meant for one address.
    ///
    /// A system without any CA certificates is no error yet: local deploys and plain HTTP do without.
    /// The first HTTPS request tells.
    pub fn new(profile: &Profile) -> Result<Self, ClientError> {
        let with = |trust: reqwest::ClientBuilder| profile.proxy.apply(trust).build();
        let proxy = profile.proxy.clone();
        match with(profile.trust.apply(Self::builder(profile))?) {
            Ok(inner) => Ok(Self { inner, proxy, anchors: Anchors::Some }),
            Err(error) if profile.trust == Trust::default() => {
                let inner = with(Self::builder(profile).tls_certs_only([]))
                    .map_err(|_| ClientError::Build(innermost(&error)))?;
                Ok(Self { inner, proxy, anchors: Anchors::None })
            }
            Err(error) => Err(ClientError::Build(innermost(&error))),
        }
    }

    /// A client for plain HTTP on the host's own link, never through a proxy: for the metadata service. It trusts
    /// nobody's certificate, so it reads none.
    pub fn plain(timeouts: Timeouts) -> Result<Self, ClientError> {
        let profile = Profile { trust: Trust::default(), proxy: Proxy::Direct, timeouts };
        let inner = profile.proxy.apply(Self::builder(&profile).tls_certs_only([])).build();
        let inner = inner.map_err(|error| ClientError::Build(innermost(&error)))?;
        Ok(Self { inner, proxy: profile.proxy, anchors: Anchors::None })
    }

    fn builder(profile: &Profile) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .user_agent(concat!("slipway-agent/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(profile.timeouts.connect)
            .read_timeout(profile.timeouts.silence)
            .referer(false)
    }

    /// Sends a request and waits for the head of the answer, whatever its status.
    pub async fn send(&self, request: reqwest::Request) -> Result<reqwest::Response, SendError> {
        let url = request.url().clone();
        self.inner.execute(request).await.map_err(|error| SendError::new(error, &url, self))
    }
}

/// By how much the sender's clock was ahead of `now` when it answered, from its `Date` header; it
/// counts whole seconds. `None` if the header is missing or not a date.
pub fn clock_ahead(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    let there = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(there.duration_since(now))
}

#[cfg(test)]
mod tests;
