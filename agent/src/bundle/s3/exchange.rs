//! One request for an object, and what the answer to it means.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::answer::{Document, content_range, etag, foreign, refusal, text};
use super::{Object, S3};
use crate::bundle::{BundleError, Refusal};
use crate::http::Retry;
use crate::identity::{Access, Region};

/// A stretch of an object, which must still be the same one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch<'a> {
    pub from: u64,
    /// Where it ends (exclusive); at the object's end, if that is not known.
    pub until: Option<u64>,
    /// The whole object's length, if that is known.
    pub length: Option<u64>,
    /// Of the object, with quotes, as it came.
    pub etag: &'a str,
}

/// An answer that is no refusal.
#[derive(Debug)]
pub(super) enum Answered {
    /// The whole object comes.
    Whole(reqwest::Response),
    /// The stretch comes that was asked for.
    Stretch(reqwest::Response),
    /// The bucket is elsewhere.
    Elsewhere(Region),
    /// The object is not the one any more of which a stretch was asked for.
    Replaced,
    /// Nothing usable came, and it is worth another try.
    Failed(String),
}

/// Who asks for what.
pub(super) struct Exchange<'a> {
    pub s3: &'a S3,
    pub object: Object<'a>,
}

impl Exchange<'_> {
    /// Asks for the whole object, or for a stretch of it.
    pub async fn ask(&self, stretch: Option<Stretch<'_>>) -> Result<Answered, BundleError> {
        let access = self.s3.provider.access().await?;
        let request = self.s3.request(&self.object, stretch.as_ref(), &access)?;
        self.s3.gate.pass().await;
        let response = match self.s3.client.send(request).await {
            Ok(response) => response,
            Err(error) => return Ok(Answered::Failed(error.to_string())),
        };
        let answered = match (response.status(), stretch) {
            (StatusCode::OK, _) if foreign(StatusCode::OK, response.headers(), &[]).is_some() => {
                return self.page(response, &access).await;
            }
            (StatusCode::OK, _) => Answered::Whole(response),
            (StatusCode::PARTIAL_CONTENT, Some(stretch)) => match is_of(&stretch, response.headers()) {
                true => Answered::Stretch(response),
                false => Answered::Replaced,
            },
            (StatusCode::PARTIAL_CONTENT, None) => return Err(self.not_given(Refusal::Partial, &access)),
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => Answered::Replaced,
            (StatusCode::PRECONDITION_FAILED, Some(_)) if self.object.source.etag.is_none() => Answered::Replaced,
            _ => return self.no_content(response, &access).await,
        };
        self.s3.gate.succeeded();
        Ok(answered)
    }

    /// A page in the place of an object.
    async fn page(&self, response: reqwest::Response, access: &Access) -> Result<Answered, BundleError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let document = Document::read(response).await;
        self.refused(refusal(status, &headers, &document, Timestamp::now()), access).await
    }

    /// Any status but success.
    async fn no_content(&self, response: reqwest::Response, access: &Access) -> Result<Answered, BundleError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let document = Document::read(response).await;
        let named = text(&headers, "x-amz-bucket-region").unwrap_or(&document.region);
        match Region::parse(named) {
            Ok(region) if region != self.object.region => return Ok(Answered::Elsewhere(region)),
            Ok(region) if status == StatusCode::MOVED_PERMANENTLY => {
                return Err(self.not_given(Refusal::Elsewhere { region: Some(region.to_string()) }, access));
            }
            _ => {}
        }
        if status == StatusCode::PRECONDITION_FAILED {
            let expected = self.object.source.etag.clone().unwrap_or_default();
            return Err(self.changed(&expected, "another one".to_owned()));
        }
        let foreign = foreign(status, &headers, &document.body).filter(|_| document.code.is_empty());
        match Retry::judge(status, &document.code, &document.message) {
            // A new bucket whose region the service's names do not all know yet.
            Retry::Never if status == StatusCode::TEMPORARY_REDIRECT && foreign.is_none() => {
                Ok(Answered::Failed(format!("HTTP status {status} {}", document.code)))
            }
            Retry::Never => self.refused(refusal(status, &headers, &document, Timestamp::now()), access).await,
            Retry::Throttled => {
                self.s3.gate.throttled();
                Ok(Answered::Failed(format!("throttled, HTTP status {status} {}", document.code)))
            }
            Retry::Later => {
                Ok(Answered::Failed(format!("HTTP status {status} {} {}", document.code, document.message)))
            }
        }
    }

    /// A refusal of credentials is one only of those that there were: they may have been replaced meanwhile.
    async fn refused(&self, refusal: Refusal, access: &Access) -> Result<Answered, BundleError> {
        if refusal.is_of_credentials() && self.are_renewed(access).await? {
            return Ok(Answered::Failed(format!("{refusal} (there are new credentials)")));
        }
        Err(self.not_given(refusal, access))
    }

    /// Whether there are other credentials than those, which were refused.
    pub async fn are_renewed(&self, refused: &Access) -> Result<bool, BundleError> {
        self.s3.provider.refused().await;
        Ok(!self.s3.provider.access().await?.credentials.are(&refused.credentials))
    }

    /// The bucket is always somewhere else.
    pub async fn lost(&self, region: &Region) -> BundleError {
        match self.s3.provider.access().await {
            Ok(access) => self.not_given(Refusal::Elsewhere { region: Some(region.to_string()) }, &access),
            Err(error) => error.into(),
        }
    }

    pub fn not_given(&self, refusal: Refusal, access: &Access) -> BundleError {
        BundleError::Refused { object: self.object.shown(), caller: access.caller(), refusal }
    }

    /// The object is not the one that the deployment was made for.
    pub fn changed(&self, expected: &str, found: String) -> BundleError {
        BundleError::Changed { object: self.object.shown(), expected: expected.to_owned(), found }
    }
}

/// Whether a partial answer is what was asked for.
fn is_of(stretch: &Stretch<'_>, headers: &HeaderMap) -> bool {
    let Some((from, until, length)) = content_range(headers) else { return false };
    from == stretch.from
        && stretch.until.is_none_or(|wanted| until == wanted)
        && length.is_none_or(|length| stretch.length.is_none_or(|known| known == length))
        && etag(headers).is_none_or(|etag| etag == stretch.etag.trim_matches('"'))
}
