//! Fetching from S3, or from what answers like it.

mod address;
mod answer;
mod download;
mod exchange;
mod parts;
mod pieces;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use tokio::runtime::Handle;
use url::Url;

use super::arrival::Destination;
use super::stopped::unless_stopped;
use super::{BundleError, Fetched, Request};
use crate::deployment::revision::S3Source;
use crate::http::{Backoff, Client, ThrottleGate};
use crate::identity::{Access, Provider, Region, Scope, sign};

pub(super) use address::address;
use exchange::{Exchange, Stretch};

/// A way to S3.
#[derive(Clone, Debug)]
pub struct S3 {
    /// Over what.
    pub client: Client,
    /// Where the client's connections are driven.
    pub runtime: Handle,
    /// With which credentials; their region is the first guess for a bucket's.
    pub provider: Provider,
    /// Where it is.
    pub endpoint: Endpoint,
    /// The one of the process.
    pub gate: Arc<ThrottleGate>,
    /// Pauses between tries; see [`S3::pauses`].
    pub backoff: Backoff,
}

/// Where S3 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// AWS's, in the bucket's region.
    Aws {
        /// Which of them.
        kind: Kind,
        /// Which addresses their names have.
        stack: Stack,
    },
    /// Another one, addressed in path style: the setting `s3_endpoint_override`.
    Override(Url),
}

/// Which endpoints of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The ordinary ones.
    Ordinary,
    /// Those with validated cryptography: the setting `use_fips_mode`.
    Fips,
}

/// Which addresses the names of AWS's endpoints have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// IPv4 alone.
    Single,
    /// IPv6 too: the environment variable `AWS_USE_DUALSTACK_ENDPOINT`.
    Dual,
}

impl S3 {
    /// The pauses of every fetch, from half a second to 20 s.
    pub fn pauses() -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(20))
    }

    pub(super) fn fetch(&self, source: &S3Source, request: &Request<'_>) -> Result<Fetched, BundleError> {
        self.runtime.block_on(async {
            let exchange = unless_stopped(request.stop, self.exchange(source)).await?;
            let place = Destination::open(request.destination, exchange.object.shown(), request.stop)?;
            let fetched = unless_stopped(request.stop, download::run(exchange, request, &place)).await;
            if fetched.is_err() {
                // The first error is the one that tells.
                let _ = place.remove();
            }
            fetched
        })
    }

    /// Whether an object can be read: asks for it, and leaves the answer at its head. Says in which region it is.
    pub async fn look(&self, source: &S3Source) -> Result<Region, BundleError> {
        let mut exchange = self.exchange(source).await?;
        download::open(&mut exchange).await?;
        Ok(exchange.object.region)
    }

    async fn exchange<'a>(&'a self, source: &'a S3Source) -> Result<Exchange<'a>, BundleError> {
        let access = self.provider.access().await?;
        let object = Object { source, region: access.region.clone(), domain: access.domain.clone() };
        Ok(Exchange { s3: self, object })
    }

    /// A signed GET of the whole object, or of a stretch of it.
    fn request(
        &self,
        object: &Object<'_>,
        stretch: Option<&Stretch<'_>>,
        access: &Access,
    ) -> Result<reqwest::Request, BundleError> {
        self.signed(Method::GET, object, access, |request| {
            request.headers_mut().insert("x-amz-checksum-mode", HeaderValue::from_static("ENABLED"));
            let Some(stretch) = stretch else { return Ok(()) };
            let range = match stretch.until {
                Some(until) => format!("bytes={}-{}", stretch.from, until.saturating_sub(1)),
                None => format!("bytes={}-", stretch.from),
            };
            insert(request, object, header::RANGE, range)?;
            insert(request, object, header::IF_RANGE, stretch.etag.to_owned())?;
            insert(request, object, header::IF_MATCH, stretch.etag.to_owned())
        })
    }

    /// A request for an object, signed once `prepare` has added what it has to.
    fn signed(
        &self,
        method: Method,
        object: &Object<'_>,
        access: &Access,
        prepare: impl FnOnce(&mut reqwest::Request) -> Result<(), BundleError>,
    ) -> Result<reqwest::Request, BundleError> {
        let url = address(&self.endpoint, &object.region, &object.domain, object.source)
            .map_err(|reason| BundleError::Address { object: object.shown(), reason })?;
        let mut request = reqwest::Request::new(method, url);
        if let Some(etag) = &object.source.etag {
            insert(&mut request, object, header::IF_MATCH, format!("\"{etag}\""))?;
        }
        prepare(&mut request)?;
        let scope = Scope { service: "s3", region: &object.region };
        sign(&mut request, &access.credentials, scope, Timestamp::now())?;
        Ok(request)
    }
}

fn insert(
    request: &mut reqwest::Request,
    object: &Object<'_>,
    name: HeaderName,
    value: String,
) -> Result<(), BundleError> {
    match value.parse() {
        Ok(parsed) => {
            request.headers_mut().insert(name, parsed);
            Ok(())
        }
        Err(_) => {
            let reason = format!("{value:?} cannot be sent as {name}");
            Err(BundleError::Address { object: object.shown(), reason })
        }
    }
}

/// The object that is fetched, and where its bucket is thought to be.
#[derive(Clone, Debug)]
struct Object<'a> {
    source: &'a S3Source,
    region: Region,
    /// Under which the services of that region and of those beside it are.
    domain: String,
}

impl Object<'_> {
    fn shown(&self) -> String {
        let S3Source { bucket, key, version, .. } = self.source;
        match version {
            None => format!("s3://{bucket}/{key}"),
            Some(version) => format!("s3://{bucket}/{key} (version {version})"),
        }
    }
}
