use std::error::Error;
use std::fmt;

use url::Url;

use super::tls_error::{self, Explained};
use super::{Anchors, Client};

/// How a proxy's address holds what it wants to know.
const WITH_CREDENTIALS: &str = "http://user:password@proxy:3128 with special characters as %XX";

/// A request that got no answer.
#[derive(Debug)]
pub struct SendError {
    /// How far it came.
    pub phase: Phase,
    target: String,
    proxy: Option<String>,
    anchors: Anchors,
    cause: String,
    /// What is wrong with the connection, where that has a remedy of its own.
    explained: Option<Explained>,
}

/// How far a request came that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The name was not found.
    Resolve,
    /// No connection came about, or not in time.
    Connect,
    /// The proxy did not let it through.
    Proxy,
    /// TLS failed; most often a certificate is not trusted.
    Tls,
    /// There is a connection, and nothing came over it in time.
    Timeout,
    /// The connection broke later.
    Exchange,
}

impl SendError {
    pub(super) fn new(error: reqwest::Error, url: &Url, client: &Client) -> Self {
        let host = url.host_str().unwrap_or("(no host)");
        let target = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let cause = innermost(&error);
        let Client { proxy, anchors, .. } = client;
        let tls = tls_error::of(&error);
        let phase = if tls.is_some() { Phase::Tls } else { phase(&error, &cause) };
        let explained = match tls {
            Some(tls) => tls_error::explain(tls, &target),
            None if phase == Phase::Exchange && url.scheme() == "http" => Some(Explained {
                what: format!("the connection broke ({cause})"),
                remedy: "if the port speaks TLS, write https in the address",
            }),
            None => None,
        };
        Self { phase, target, proxy: proxy.shown(), anchors: *anchors, cause, explained }
    }

    /// The system's own words for it.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.phase {
            Phase::Resolve => "the name could not be resolved",
            Phase::Connect => "no connection was made",
            Phase::Proxy => "the proxy refused it",
            Phase::Tls => "TLS failed",
            Phase::Timeout => "no answer came in time",
            Phase::Exchange => "the connection broke",
        };
        write!(out, "{} could not be reached", self.target)?;
        if let Some(proxy) = &self.proxy {
            write!(out, " through the proxy {proxy}")?;
        }
        if let Some(Explained { what, remedy }) = &self.explained {
            return write!(out, ": {what}; {remedy}");
        }
        write!(out, ": {what} ({})", self.cause)?;
        match self.phase {
            Phase::Resolve if self.proxy.is_some() => out.write_str("; check the proxy's name and the name servers"),
            Phase::Resolve => out.write_str("; check the name servers, or set proxy_uri if names resolve only there"),
            Phase::Tls if self.anchors == Anchors::None => out.write_str(
                "; this system has no CA certificates: install the package ca-certificates, or set ca_bundle",
            ),
            Phase::Tls => out.write_str("; if the service or a proxy on the way has its own CA, name it in ca_bundle"),
            Phase::Proxy if self.cause.contains("authorization") => {
                write!(out, "; it wants a user and a password: write them into its address, {WITH_CREDENTIALS}")
            }
            // Some proxies answer so where the password is a wrong one.
            Phase::Proxy => write!(
                out,
                "; check that the proxy allows this address, and user and password in its own, {WITH_CREDENTIALS}"
            ),
            Phase::Connect | Phase::Timeout => out.write_str("; check routes, firewalls and the proxy settings"),
            Phase::Exchange => Ok(()),
        }
    }
}

impl Error for SendError {}

fn phase(error: &reqwest::Error, cause: &str) -> Phase {
    if error.is_dns() {
        Phase::Resolve
    } else if cause.contains("tunnel") || cause.contains("proxy auth") {
        Phase::Proxy
    } else if error.is_connect() {
        Phase::Connect
    } else if error.is_timeout() {
        Phase::Timeout
    } else {
        Phase::Exchange
    }
}

/// The last link of the chain of causes: the one that tells. The outer ones repeat the URL.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
