//! Fetching from S3, or from what answers like it.

mod address;
mod answer;
mod download;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use url::Url;

use super::{BundleError, Fetched, Request};
use crate::deployment::revision::S3Source;
use crate::http::{Backoff, Client, ThrottleGate};
use crate::identity::{Provider, Region, Scope, sign};

pub(super) use address::address;

/// Tries in a row that bring nothing before it is given up.
const TRIES: u32 = 6;

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
    Aws,
    /// AWS's FIPS endpoints: the setting `use_fips_mode`.
    Fips,
    /// Another one, addressed in path style: the setting `s3_endpoint_override`.
    Override(Url),
}

impl S3 {
    /// The pauses of every fetch, from half a second to 20 s.
    pub fn pauses() -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(20))
    }

    pub(super) fn fetch(&self, source: &S3Source, request: &Request<'_>) -> Result<Fetched, BundleError> {
        self.runtime.block_on(async {
            let object = Object { source, region: self.provider.access().await?.region.clone() };
            download::run(self, object, request).await
        })
    }

    /// A signed GET; from a byte on, and of a certain ETag, where the caller goes on with a broken fetch.
    async fn request(
        &self,
        object: &Object<'_>,
        resume: Option<&download::Resume>,
    ) -> Result<reqwest::Request, BundleError> {
        let url = address(&self.endpoint, &object.region, object.source)
            .map_err(|reason| BundleError::Address { object: object.shown(), reason })?;
        let mut request = reqwest::Request::new(reqwest::Method::GET, url);
        let headers = request.headers_mut();
        headers.insert("x-amz-checksum-mode", http::HeaderValue::from_static("ENABLED"));
        let mut insert = |name: http::HeaderName, value: String| match value.parse() {
            Ok(value) => {
                headers.insert(name, value);
                Ok(())
            }
            Err(_) => {
                let reason = format!("{value:?} cannot be sent as {name}");
                Err(BundleError::Address { object: object.shown(), reason })
            }
        };
        if let Some(etag) = &object.source.etag {
            insert(http::header::IF_MATCH, format!("\"{etag}\""))?;
        }
        if let Some(resume) = resume {
            insert(http::header::RANGE, format!("bytes={}-", resume.from))?;
            insert(http::header::IF_RANGE, resume.etag.clone())?;
        }
        let scope = Scope { service: "s3", region: &object.region };
        let access = self.provider.access().await?;
        sign(&mut request, &access.credentials, scope, Timestamp::now())?;
        Ok(request)
    }

    async fn caller(&self) -> String {
        match self.provider.access().await {
            Ok(access) => format!("access key {} of {}", access.credentials.access_key_id, access.source),
            Err(error) => error.to_string(),
        }
    }
}

/// The object that is fetched, and where its bucket is thought to be.
#[derive(Clone, Debug)]
struct Object<'a> {
    source: &'a S3Source,
    region: Region,
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
