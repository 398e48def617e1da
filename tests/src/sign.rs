//! Signs requests as the AWS clients do.

use std::time::SystemTime;

use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use sha2::{Digest, Sha256};

/// Region of everything in these tests.
pub const REGION: &str = "us-east-1";

/// An access key.
#[derive(Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    /// Its public half.
    pub access_key_id: String,
    /// Its secret half.
    pub secret_access_key: String,
}

/// What a signature is made for.
#[derive(Clone, Copy, Debug)]
pub enum SignedService {
    /// The public API.
    CodeDeploy,
    /// The agents' API.
    Commands,
    /// Bundles.
    S3,
}

impl AccessKey {
    /// Adds the signature's headers to a request whose URI is absolute.
    pub fn sign(&self, service: SignedService, request: &mut http::Request<Vec<u8>>) -> Result<()> {
        let digest = hex::encode(Sha256::digest(request.body()));
        self.sign_digest(service, request, digest)
    }

    /// [`Self::sign`] for a body that is known by its SHA-256 in hexadecimal.
    pub fn sign_digest<B>(&self, service: SignedService, request: &mut http::Request<B>, digest: String) -> Result<()> {
        let credentials = Credentials::new(&self.access_key_id, &self.secret_access_key, None, None, "tests");
        let identity: Identity = credentials.into();
        let mut settings = SigningSettings::default();
        let name = match service {
            SignedService::CodeDeploy => "codedeploy",
            SignedService::Commands => "codedeploy-commands",
            SignedService::S3 => "s3",
        };
        if matches!(service, SignedService::S3) {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let params = SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name(name)
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let uri = request.uri().to_string();
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())))
            .collect::<Result<_>>()?;
        let signable = SignableRequest::new(
            request.method().as_str(),
            uri,
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Precomputed(digest),
        )
        .context("a request that can be signed")?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}
