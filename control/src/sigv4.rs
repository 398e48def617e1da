//! Verifies AWS Signature Version 4 in request headers, for every call but those to the embedded S3
//! (whose library does it, since there the body may be signed piece by piece).
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

#[cfg(test)]
mod tests;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use http::HeaderMap;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use sqlx::SqlitePool;

use crate::caller::Caller;
use crate::error::ApiError;
use crate::keys::{self, Secret};

/// How far the client's clock may be off, either way; as long as AWS's services allow.
pub const MAX_SKEW: SignedDuration = SignedDuration::from_mins(15);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request whose headers claim a valid key; whether the claim is true shows once the body is there.
pub struct Claim<'a> {
    authorization: Authorization<'a>,
    request: &'a Parts,
    caller: Caller,
    secret: Secret,
}

/// Examines the headers of a POST to `/`, so that nothing is read for a request that is refused anyhow.
///
/// `service` is the name that the signature's scope must have; any region is accepted.
///
/// # Errors
/// Status 403 with a name that the SDKs know, or what the database failed with.
pub async fn examine<'a>(pool: &SqlitePool, request: &'a Parts, service: &str) -> Result<Claim<'a>, ApiError> {
    let authorization = Authorization::parse(request)?;
    authorization.check_scope(service)?;
    authorization.check_clock(Timestamp::now())?;
    match keys::find(pool, authorization.access_key_id).await? {
        Some((caller, secret)) => Ok(Claim { authorization, request, caller, secret }),
        None => Err(denied(
            "UnrecognizedClientException",
            format!(
                "The access key {} is not known here, or was revoked. `slipway-control keys list` shows the valid ones.",
                authorization.access_key_id
            ),
        )),
    }
}

impl Claim<'_> {
    /// Who signed the request, if the signature holds over it and all of its body.
    ///
    /// # Errors
    /// Status 403 with a name that the SDKs know.
    pub fn verify(self, body: &[u8]) -> Result<Caller, ApiError> {
        let canonical = self.authorization.canonical_request(self.request, body)?;
        if self.authorization.holds(&canonical, &self.secret) {
            return Ok(self.caller);
        }
        Err(denied(
            "InvalidSignatureException",
            "The signature does not match this request. Check that the secret access key is the one that belongs to the \
             access key id, and that nothing on the way (a proxy) changes the request.",
        ))
    }
}

/// A header that decides about the request and is not among the signed ones (`a;b;c`). With it a
/// signature could be used for another request than the one it was made for.
pub fn unsigned_header<'a>(headers: &'a HeaderMap, signed: &str) -> Option<&'a str> {
    std::iter::once("host")
        .chain(headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-")))
        .find(|name| !signed.split(';').any(|signed| signed == *name))
}

/// The `Authorization` and `X-Amz-Date` headers of one request, taken apart.
struct Authorization<'a> {
    access_key_id: &'a str,
    /// `date/region/service/aws4_request`, as it was sent.
    scope: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    amz_date: &'a str,
    signed_at: Timestamp,
}

impl<'a> Authorization<'a> {
    fn parse(request: &'a Parts) -> Result<Self, ApiError> {
        let Some(header) = text(&request.headers, "authorization")? else {
            return Err(denied(
                "MissingAuthenticationTokenException",
                "The request is not signed. Configure an access key (`slipway-control keys create` makes one).",
            ));
        };
        let fields = header
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with(' '))
            .ok_or_else(|| incomplete(format!("it does not begin with {ALGORITHM}, the one algorithm taken here")))?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            match field.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed_headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => return Err(incomplete("it has a field that does not belong there")),
            }
        }
        let credential = credential.ok_or_else(|| incomplete("Credential is missing"))?;
        let (access_key_id, scope) = credential.split_once('/').ok_or_else(|| incomplete("Credential has no scope"))?;
        let parts: Vec<&str> = scope.split('/').collect();
        let [date, region, service, "aws4_request"] = parts[..] else {
            return Err(incomplete("the scope is not <date>/<region>/<service>/aws4_request"));
        };
        let amz_date = text(&request.headers, "x-amz-date")?
            .ok_or_else(|| incomplete("the request has no X-Amz-Date header beside it"))?;
        Ok(Self {
            access_key_id,
            scope,
            date,
            region,
            service,
            signed_headers: signed_headers.ok_or_else(|| incomplete("SignedHeaders is missing"))?,
            signature: signature.ok_or_else(|| incomplete("Signature is missing"))?,
            amz_date,
            signed_at: parse_amz_date(amz_date)
                .ok_or_else(|| incomplete("X-Amz-Date is not of the form 20260131T235959Z"))?,
        })
    }

    fn check_scope(&self, service: &str) -> Result<(), ApiError> {
        if self.service != service {
            return Err(denied(
                "InvalidSignatureException",
                format!("The signature is scoped to the service {:?}; this operation takes {service:?}.", self.service),
            ));
        }
        if !self.amz_date.starts_with(self.date) || self.date.len() != 8 {
            return Err(denied(
                "InvalidSignatureException",
                format!("The scope's date {} is not the day of X-Amz-Date {}.", self.date, self.amz_date),
            ));
        }
        Ok(())
    }

    fn check_clock(&self, now: Timestamp) -> Result<(), ApiError> {
        if now.duration_since(self.signed_at).abs() <= MAX_SKEW {
            return Ok(());
        }
        Err(denied("InvalidSignatureException", skew_message(self.signed_at, now)))
    }

    /// The text over which the signature goes. Only POST to `/` without a query is signed here, so that
    /// the rules for paths and queries are not needed.
    fn canonical_request(&self, request: &Parts, body: &[u8]) -> Result<String, ApiError> {
        let payload = hex::encode(Sha256::digest(body));
        if let Some(claimed) = text(&request.headers, "x-amz-content-sha256")?
            && claimed != payload
        {
            return Err(denied(
                "InvalidSignatureException",
                format!("X-Amz-Content-Sha256 is {claimed}, but the body that arrived has {payload}."),
            ));
        }
        let mut canonical = format!("{}\n/\n\n", request.method);
        for name in self.signed_headers.split(';') {
            let value = header_value(request, name)
                .ok_or_else(|| incomplete(format!("the signed header {name:?} is not in the request")))?;
            canonical.push_str(name);
            canonical.push(':');
            canonical.push_str(&value);
            canonical.push('\n');
        }
        if let Some(name) = unsigned_header(&request.headers, self.signed_headers) {
            return Err(incomplete(format!("the header {name:?} has to be signed and is not")));
        }
        canonical.push('\n');
        canonical.push_str(self.signed_headers);
        canonical.push('\n');
        canonical.push_str(&payload);
        Ok(canonical)
    }

    fn holds(&self, canonical: &str, secret: &Secret) -> bool {
        let string_to_sign =
            format!("{ALGORITHM}\n{}\n{}\n{}", self.amz_date, self.scope, hex::encode(Sha256::digest(canonical)));
        let first = zeroize::Zeroizing::new(format!("AWS4{}", secret.expose()));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [self.date, self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        let expected = hex::encode(hmac::sign(&key, string_to_sign.as_bytes()));
        verify_slices_are_equal(expected.as_bytes(), self.signature.as_bytes()).is_ok()
    }
}

/// Names both clocks, since that is what tells the operator which one to set.
pub fn skew_message(signed_at: Timestamp, now: Timestamp) -> String {
    let (signed_at, now) = (whole_seconds(signed_at), whole_seconds(now));
    format!(
        "The request was signed at {signed_at} by the client's clock, and it is {now} by the service's; they may differ by \
         {} minutes. Set the clock that is wrong (`timedatectl` shows it).",
        MAX_SKEW.as_mins()
    )
}

/// `YYYYMMDDTHHMMSSZ`.
pub fn parse_amz_date(text: &str) -> Option<Timestamp> {
    let shape = text.len() == 16 && text.is_ascii() && text.as_bytes()[8] == b'T' && text.ends_with('Z');
    shape.then(|| text.parse().ok()).flatten()
}

fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// All values of a header, trimmed and with single spaces, in canonical form.
fn header_value(request: &Parts, name: &str) -> Option<String> {
    let text = |value: &http::HeaderValue| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some(value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    };
    let values = request.headers.get_all(name).iter().map(text).collect::<Option<Vec<String>>>()?;
    if values.is_empty() {
        // HTTP/2 has the host in the request's target.
        return (name == "host").then(|| request.uri.authority().map(ToString::to_string)).flatten();
    }
    Some(values.join(","))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(incomplete(format!("the request has {name} more than once")));
    }
    value.to_str().map(Some).map_err(|_| incomplete(format!("the header {name} is not plain text")))
}

fn incomplete(problem: impl std::fmt::Display) -> ApiError {
    denied("IncompleteSignatureException", format!("The Authorization header cannot be used: {problem}."))
}

fn denied(name: &str, message: impl Into<String>) -> ApiError {
    ApiError { status: 403, name: name.to_owned(), message: message.into() }
}
