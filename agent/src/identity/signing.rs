use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
};
use aws_sigv4::sign::v4;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::{Credentials, Region};

/// What a signature is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Signing name of the service, such as `codedeploy-commands` or `s3`.
    pub service: &'a str,
    /// Its region.
    pub region: &'a Region,
}

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the request to {host} could not be signed: {reason}")]
pub struct SignError {
    host: String,
    reason: String,
}

/// Signs a request (Signature Version 4) and adds what that needs: `x-amz-date`,
/// `x-amz-content-sha256`, `x-amz-security-token` with temporary credentials, and `authorization`.
///
/// Signed are the host, the content type and every `x-amz-` header; a proxy may change the others.
/// A request whose body is a stream cannot be signed; one without a body can.
pub fn sign(
    request: &mut reqwest::Request,
    credentials: &Credentials,
    scope: Scope<'_>,
    now: Timestamp,
) -> Result<(), SignError> {
    let instructions = instructions(request, credentials, scope, now)
        .map_err(|reason| SignError { host: request.url().host_str().unwrap_or("(no host)").to_owned(), reason })?;
    for (name, value) in instructions {
        request.headers_mut().insert(name, value);
    }
    Ok(())
}

fn instructions(
    request: &reqwest::Request,
    credentials: &Credentials,
    scope: Scope<'_>,
    now: Timestamp,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let identity = aws_credential_types::Credentials::new(
        credentials.access_key_id.clone(),
        credentials.secret_access_key.expose(),
        credentials.session_token.as_ref().map(|token| token.expose().to_owned()),
        None,
        "slipway",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region.as_str())
        .name(scope.service)
        .time(SystemTime::from(now))
        .settings(settings(scope.service))
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let body = match request.body() {
        None => &[][..],
        Some(body) => body.as_bytes().ok_or("its body is a stream")?,
    };
    let mut headers = Vec::new();
    for (name, value) in request.headers() {
        if *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
            headers.push((name.as_str(), value.to_str().map_err(|error| format!("header {name}: {error}"))?));
        }
    }
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.url().as_str(),
        headers.into_iter(),
        SignableBody::Bytes(body),
    )
    .map_err(|error| error.to_string())?;
    let (instructions, _) =
        aws_sigv4::http_request::sign(signable, &params).map_err(|error| error.to_string())?.into_parts();
    instructions
        .into_parts()
        .0
        .into_iter()
        .map(|header| {
            let mut value = HeaderValue::from_str(header.value()).map_err(|error| error.to_string())?;
            value.set_sensitive(header.sensitive());
            Ok((HeaderName::from_static(header.name()), value))
        })
        .collect()
}

/// S3 takes paths as they are; every other service encodes and normalises them once more.
fn settings(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    settings
}
