//! A client of the control service, as an operator's script would be one.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Certificate;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use crate::sign::{AccessKey, SignedService};

/// Longest time for an upload.
const UPLOAD: Duration = Duration::from_secs(600);

/// Calls the public API and puts bundles, with one access key.
pub struct Api {
    endpoint: String,
    key: AccessKey,
    client: reqwest::Client,
    runtime: Runtime,
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The error's name.
    pub name: String,
    /// What the service says.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.status, self.name, self.message)
    }
}

impl std::error::Error for Refusal {}

impl Api {
    /// A client of `endpoint`, trusting the authority in `ca_file` alone.
    pub fn new(endpoint: &str, ca_file: &Path, key: AccessKey) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { endpoint: endpoint.to_owned(), key, client: client(ca_file)?, runtime })
    }

    /// The access key that signs.
    pub fn key(&self) -> &AccessKey {
        &self.key
    }

    /// Calls an operation of the public API; a refusal is an error that holds a [`Refusal`].
    pub fn call(&self, operation: &str, input: Value) -> Result<Value> {
        self.post(SignedService::CodeDeploy, &format!("CodeDeploy_20141006.{operation}"), input)
    }

    /// Calls an operation of the agents' API.
    pub fn command(&self, operation: &str, input: Value) -> Result<Value> {
        self.post(SignedService::Commands, &format!("CodeDeployCommandService_v20141006.{operation}"), input)
    }

    /// The refusal of a call that must not succeed.
    pub fn refusal(&self, operation: &str, input: Value) -> Result<Refusal> {
        match self.call(operation, input) {
            Ok(answer) => bail!("{operation} was to be refused, and answered {answer}"),
            Err(error) => error.downcast::<Refusal>(),
        }
    }

    /// Puts a bundle and gives its ETag, without quotes.
    pub fn put(&self, bucket: &str, key: &str, content: Vec<u8>) -> Result<String> {
        let request = http::Request::put(format!("{}/{bucket}/{key}", self.endpoint)).body(content)?;
        let (status, headers, body) = self.send(SignedService::S3, request)?;
        if status != 200 {
            bail!("putting {bucket}/{key} was answered {status}: {}", String::from_utf8_lossy(&body));
        }
        etag(&headers)
    }

    /// [`Self::put`] for a file of any size, as a stream.
    pub fn put_file(&self, bucket: &str, key: &str, file: &Path) -> Result<String> {
        let mut digest = Sha256::new();
        std::io::copy(&mut std::fs::File::open(file)?, &mut digest)?;
        let mut request = http::Request::put(format!("{}/{bucket}/{key}", self.endpoint)).body(())?;
        self.key.sign_digest(SignedService::S3, &mut request, hex::encode(digest.finalize()))?;
        self.runtime.block_on(async {
            let stream = tokio::fs::File::open(file).await?;
            let length = stream.metadata().await?.len();
            let put = self.client.put(request.uri().to_string()).headers(request.headers().clone());
            let answer = put.header("content-length", length).body(stream).timeout(UPLOAD).send().await?;
            if !answer.status().is_success() {
                bail!("putting {bucket}/{key} was answered {}: {}", answer.status(), answer.text().await?);
            }
            etag(answer.headers())
        })
    }

    /// The status and the body of a signed GET of an object.
    pub fn get(&self, bucket: &str, key: &str) -> Result<(u16, Vec<u8>)> {
        let request = http::Request::get(format!("{}/{bucket}/{key}", self.endpoint)).body(Vec::new())?;
        let (status, _, body) = self.send(SignedService::S3, request)?;
        Ok((status, body))
    }

    fn post(&self, service: SignedService, target: &str, input: Value) -> Result<Value> {
        let request = http::Request::post(format!("{}/", self.endpoint))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .body(serde_json::to_vec(&input)?)?;
        let (status, _, body) = self.send(service, request)?;
        let answer: Value = serde_json::from_slice(&body)
            .with_context(|| format!("{target} was answered {status}: {}", String::from_utf8_lossy(&body)))?;
        if status == 200 {
            return Ok(answer);
        }
        let text = |member: &str| answer[member].as_str().unwrap_or_default().to_owned();
        Err(Refusal { status, name: text("__type"), message: text("message") }.into())
    }

    fn send(
        &self,
        service: SignedService,
        mut request: http::Request<Vec<u8>>,
    ) -> Result<(u16, http::HeaderMap, Vec<u8>)> {
        self.key.sign(service, &mut request)?;
        let request: reqwest::Request = request.try_into()?;
        self.runtime.block_on(async {
            let answer = self.client.execute(request).await?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            Ok((status, headers, answer.bytes().await?.to_vec()))
        })
    }
}

fn etag(headers: &http::HeaderMap) -> Result<String> {
    let etag = headers.get("etag").context("the answer to a put has an ETag")?.to_str()?;
    Ok(etag.trim_matches('"').to_owned())
}

/// An HTTPS client that trusts one authority, and no proxy.
pub fn client(ca_file: &Path) -> Result<reqwest::Client> {
    install_provider();
    let pem = std::fs::read(ca_file).with_context(|| format!("read {}", ca_file.display()))?;
    Ok(reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(Certificate::from_pem_bundle(&pem)?)
        .timeout(Duration::from_secs(120))
        .build()?)
}

/// Makes aws-lc-rs the process's TLS provider; a second call changes nothing.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
