//! Where the parts of an object begin that was uploaded in parts: what a checksum over parts is worth nothing
//! without.

use http::{Method, StatusCode, header};

use super::answer::{PartsClaim, text};
use super::download::REPLACED;
use super::exchange::Exchange;
use super::insert;
use crate::bundle::patience::Patience;
use crate::bundle::{BundleError, Refusal};
use crate::http::SendError;
use crate::identity::Access;

/// The lengths of an object's parts, and how sure they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// As S3 tells them, one by one.
    Told(Vec<u64>),
    /// All as long as the first one but the last, as every common client uploads them; the number fits.
    Assumed(Vec<u64>),
    /// Nobody tells.
    Unknown,
}

impl Exchange<'_> {
    /// The parts of an object of `length` bytes.
    pub async fn parts(&self, claim: &PartsClaim, length: u64) -> Result<Parts, BundleError> {
        if claim.count == 1 {
            return Ok(Parts::Told(vec![length]));
        }
        match self.part(1, claim).await? {
            Some(first) => match equal(first, claim.count, length) {
                Some(lengths) => Ok(Parts::Assumed(lengths)),
                None => self.each_part(claim, length).await,
            },
            None => Ok(Parts::Unknown),
        }
    }

    /// The same, by asking for each.
    pub async fn each_part(&self, claim: &PartsClaim, length: u64) -> Result<Parts, BundleError> {
        let mut lengths = Vec::new();
        for number in 1..=claim.count {
            match self.part(number, claim).await? {
                Some(length) => lengths.push(length),
                None => return Ok(Parts::Unknown),
            }
        }
        let all = lengths.iter().try_fold(0u64, |sum, length| sum.checked_add(*length));
        Ok(if all == Some(length) { Parts::Told(lengths) } else { Parts::Unknown })
    }

    /// The length of one part; nothing where the service knows no numbers of parts. Whatever else keeps it from
    /// telling is an error: without the lengths the object would not be held to its checksum.
    async fn part(&self, number: u64, claim: &PartsClaim) -> Result<Option<u64>, BundleError> {
        let mut patience = Patience::new(self.s3.backoff.clone());
        let mut etag = claim.etag.as_deref();
        loop {
            let access = self.s3.provider.access().await?;
            let last = match self.head(&access, Some(number), etag).await? {
                Ok(response) if matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) => {
                    let number = |name| text(response.headers(), name).and_then(|text| text.parse::<u64>().ok());
                    return Ok(number("content-length").filter(|_| number("x-amz-mp-parts-count") == Some(claim.count)));
                }
                Ok(response) if is_passing(response.status()) => format!("HTTP status {}", response.status()),
                Ok(response) => match response.status() {
                    StatusCode::PRECONDITION_FAILED => match self.head(&access, None, etag).await? {
                        // What was compared is the part's own ETag: not every service does as S3.
                        Ok(response) if response.status() == StatusCode::OK && etag.take().is_some() => continue,
                        _ => REPLACED.to_owned(),
                    },
                    status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) => {
                        // There is no document to tell which: expired credentials are a bad request too.
                        match (self.are_renewed(&access).await?, status) {
                            (true, _) => format!("HTTP status {status} (there are new credentials)"),
                            (false, StatusCode::BAD_REQUEST) => return Ok(None),
                            (false, _) => {
                                let answer = format!("HTTP status {status} to a HEAD for the length of a part");
                                return Err(self.not_given(Refusal::Reading(answer), &access));
                            }
                        }
                    }
                    _ => return Ok(None),
                },
                Err(error) => error.to_string(),
            };
            match patience.failed() {
                Ok(pause) => tokio::time::sleep(pause).await,
                Err(given_up) => {
                    return Err(BundleError::Unreachable { object: self.object.shown(), tries: given_up.tries, last });
                }
            }
        }
    }

    /// Asks for what the service has to say of the object, or of one of its parts, while it has that ETag.
    async fn head(
        &self,
        access: &Access,
        part: Option<u64>,
        etag: Option<&str>,
    ) -> Result<Result<reqwest::Response, SendError>, BundleError> {
        let request = self.s3.signed(Method::HEAD, &self.object, access, |request| {
            if let Some(number) = part {
                request.url_mut().query_pairs_mut().append_pair("partNumber", &number.to_string());
            }
            match etag {
                Some(etag) => insert(request, &self.object, header::IF_MATCH, etag.to_owned()),
                None => Ok(()),
            }
        })?;
        self.s3.gate.pass().await;
        Ok(self.s3.client.send(request).await)
    }
}

/// Whether another try may be answered. Not every S3 knows numbers of parts.
fn is_passing(status: StatusCode) -> bool {
    let passing = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::TEMPORARY_REDIRECT];
    (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED) || passing.contains(&status)
}

/// `count` parts of `first` bytes each, the last with what is left of `length`, if that is so.
fn equal(first: u64, count: u64, length: u64) -> Option<Vec<u64>> {
    let before = first.checked_mul(count.checked_sub(1)?)?;
    let last = length.checked_sub(before).filter(|last| (1..=first).contains(last))?;
    let mut lengths = vec![first; usize::try_from(count - 1).ok()?];
    lengths.push(last);
    Some(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_where_their_number_fits() {
        assert_eq!(equal(5, 3, 12), Some(vec![5, 5, 2]));
        assert_eq!(equal(5, 3, 15), Some(vec![5, 5, 5]));
        for (first, count, length) in [(5, 3, 10), (5, 3, 16), (0, 3, 1), (u64::MAX, 3, 9)] {
            assert_eq!(equal(first, count, length), None, "{first} {count} {length}");
        }
    }
}
