//! One fetch: the first answer tells what comes; a small object is read from it, a large one comes in pieces over
//! several connections.

use std::cell::RefCell;

use http::HeaderMap;

use super::answer::{Claims, claims, etag, strong_etag, text};
use super::exchange::{Answered, Exchange, Stretch};
use super::pieces;
use crate::bundle::arrival::{Arrival, Destination};
use crate::bundle::patience::{GivenUp, Patience};
use crate::bundle::{BundleError, Fetched, Request, Requirement};
use crate::http::innermost;

/// Times that a bucket's region is followed.
const REDIRECTS: u32 = 2;
/// Times that it is begun anew because the object was replaced meanwhile.
const RESTARTS: u32 = 5;
/// Bytes after which others are let go on.
const TURN: u64 = 1 << 20;

/// Why an attempt ended that brought no whole bundle.
#[derive(Debug)]
pub(super) enum End {
    /// What came cannot be gone on with.
    Anew {
        why: &'static str,
        /// The answer that said so, where it is the beginning of a new one.
        with: Option<reqwest::Response>,
    },
    /// The service gives no pieces of objects, but the whole from its beginning.
    NoRanges(reqwest::Response),
    /// There is no way.
    Failed(BundleError),
}

pub(super) const REPLACED: &str = "the object was replaced while it was fetched";

impl From<BundleError> for End {
    fn from(error: BundleError) -> Self {
        Self::Failed(error)
    }
}

/// What the head of the first answer says.
pub(super) struct Head {
    /// With quotes, as it came; not a weak one, which is no identity.
    pub etag: Option<String>,
    pub length: Option<u64>,
    pub claims: Claims,
}

/// Whether an object is fetched in pieces where that pays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ranges {
    Tried,
    Ignored,
}

pub(super) async fn run(
    mut exchange: Exchange<'_>,
    request: &Request<'_>,
    place: &Destination<'_>,
) -> Result<Fetched, BundleError> {
    let (mut restarts, mut ranges, mut begun) = (0, Ranges::Tried, None);
    loop {
        let response = match begun.take() {
            Some(response) => response,
            None => open(&mut exchange).await?,
        };
        let head = Head::read(&exchange, response.headers(), request)?;
        let pieces = head.pieces().filter(|_| ranges == Ranges::Tried);
        // Its body would come over one connection alone: not a byte more of that than is on its way.
        let response = if pieces.is_some() { None } else { Some(response) };
        let known = exchange.known(&head).await?;
        if request.requirement == Requirement::Sha256 && !known.has_sha256() {
            return Err(BundleError::NoSha256 { what: exchange.object.shown() });
        }
        let arrival = RefCell::new(Arrival::begin(place, head.length, known.wanted())?);
        let fetch = Fetch { exchange: &exchange, head: &head, arrival: &arrival, limit: request.limit };
        let ended = match pieces {
            Some((etag, length)) => pieces::fetch(&fetch, etag, length).await,
            None => fetch.stream(response).await,
        };
        match ended {
            Ok(()) => {
                let size = arrival.borrow().received().total();
                let computed = arrival.into_inner().finish()?;
                let verified_by = exchange.verify(&known, &computed, place, size).await?;
                return Ok(Fetched {
                    path: request.destination.to_owned(),
                    bundle_type: exchange.object.source.bundle_type,
                    size,
                    sha256: computed.sha256(),
                    verified_by,
                });
            }
            Err(End::Failed(error)) => return Err(error),
            Err(End::NoRanges(response)) => {
                ranges = Ranges::Ignored;
                begun = Some(response);
            }
            Err(End::Anew { why, with }) => {
                let object = exchange.object.shown();
                restarts += 1;
                if restarts > RESTARTS {
                    return Err(BundleError::Unreachable { object, tries: restarts, last: why.to_owned() });
                }
                tracing::warn!(bundle = object, "fetching begins anew: {why}");
                begun = with;
            }
        }
    }
}

/// The first answer that has content, or says so.
pub(super) async fn open(exchange: &mut Exchange<'_>) -> Result<reqwest::Response, BundleError> {
    let mut patience = Patience::new(exchange.s3.backoff.clone());
    let mut redirects = 0;
    loop {
        let last = match exchange.ask(None).await? {
            Answered::Whole(response) | Answered::Stretch(response) => return Ok(response),
            Answered::Elsewhere(region) if redirects < REDIRECTS => {
                redirects += 1;
                let (object, from) = (exchange.object.shown(), &exchange.object.region);
                tracing::info!(bundle = object, %from, to = %region, "following the bucket's region");
                exchange.object.region = region;
                continue;
            }
            Answered::Elsewhere(region) => return Err(exchange.lost(&region).await),
            Answered::Replaced => "the object was replaced".to_owned(),
            Answered::Failed(last) => last,
        };
        let object = exchange.object.shown();
        match patience.failed() {
            Ok(pause) => {
                tracing::warn!(bundle = object, "fetching will be tried again: {last}");
                tokio::time::sleep(pause).await;
            }
            Err(GivenUp { tries }) => return Err(BundleError::Unreachable { object, tries, last }),
        }
    }
}

impl Head {
    fn read(exchange: &Exchange<'_>, headers: &HeaderMap, request: &Request<'_>) -> Result<Self, BundleError> {
        let object = &exchange.object;
        if let Some(expected) = &object.source.etag
            && etag(headers) != Some(expected)
        {
            return Err(exchange.changed(expected, etag(headers).unwrap_or("not told").to_owned()));
        }
        let claims = claims(object.source, headers);
        let length = text(headers, "content-length").and_then(|length| length.parse().ok());
        if length.is_some_and(|length| length > request.limit) {
            return Err(BundleError::TooLong { object: object.shown(), limit: request.limit });
        }
        Ok(Self { etag: strong_etag(headers), length, claims })
    }

    /// ETag and length, if the object is to come in pieces.
    fn pieces(&self) -> Option<(&str, u64)> {
        Some((self.etag.as_deref()?, self.length.filter(|length| *length >= pieces::LARGE)?))
    }

    /// Whether another answer is about the same object, by its strong ETag.
    fn is_of(&self, headers: &HeaderMap) -> bool {
        self.etag.as_deref().is_some_and(|etag| text(headers, "etag") == Some(etag))
    }
}

/// An object on its way.
pub(super) struct Fetch<'a, 'p> {
    pub exchange: &'a Exchange<'a>,
    pub head: &'a Head,
    pub arrival: &'a RefCell<Arrival<'p>>,
    limit: u64,
}

impl Fetch<'_, '_> {
    /// Reads the object from one answer after the other, each where the one before it broke off.
    async fn stream(&self, mut response: Option<reqwest::Response>) -> Result<(), End> {
        let mut patience = self.patience();
        loop {
            let from = self.arrival.borrow().received().contiguous();
            let answered = match (response.take(), &self.head.etag) {
                (Some(response), _) => Answered::Stretch(response),
                (None, Some(etag)) if from > 0 => {
                    let stretch = Stretch { from, until: None, length: self.head.length, etag };
                    self.exchange.ask(Some(stretch)).await?
                }
                // Nothing is there to go on with, or nothing by which it could be known that it is the same.
                (None, _) => self.exchange.ask(None).await?,
            };
            let last = match answered {
                Answered::Whole(response) if from > 0 || !self.head.is_of(response.headers()) => {
                    let why = "what had come of it cannot be gone on with";
                    return Err(End::Anew { why, with: Some(response) });
                }
                Answered::Stretch(response) | Answered::Whole(response) => {
                    match self.receive(response, (from, self.head.length), &mut patience).await? {
                        (_, None) => return Ok(()),
                        (_, Some(last)) => last,
                    }
                }
                Answered::Replaced => return Err(End::Anew { why: REPLACED, with: None }),
                Answered::Elsewhere(region) => return Err(self.exchange.lost(&region).await.into()),
                Answered::Failed(last) => last,
            };
            self.pause(&mut patience, last).await?;
        }
    }

    /// Reads an answer's body from a place on, to its end where that is known. Tells how far it came, and what it
    /// broke off with.
    pub async fn receive(
        &self,
        mut response: reqwest::Response,
        (mut at, end): (u64, Option<u64>),
        patience: &mut Patience,
    ) -> Result<(u64, Option<String>), BundleError> {
        let mut turn = 0;
        while end.is_none_or(|end| at < end) {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if end.is_none() => break,
                Ok(None) => return Ok((at, Some("the connection was closed".to_owned()))),
                Err(error) => return Ok((at, Some(innermost(&error)))),
            };
            // What is beyond the end was not asked for.
            let room = usize::try_from(end.unwrap_or(u64::MAX) - at).unwrap_or(usize::MAX);
            let wanted = chunk.get(..room.min(chunk.len())).unwrap_or_default();
            let next = at + wanted.len() as u64;
            if next > self.limit {
                let object = self.exchange.object.shown();
                return Err(BundleError::TooLong { object, limit: self.limit });
            }
            self.arrival.borrow_mut().write(at, wanted)?;
            patience.progressed();
            turn += next - at;
            at = next;
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok((at, None))
    }

    pub fn patience(&self) -> Patience {
        Patience::new(self.exchange.s3.backoff.clone())
    }

    /// Waits for the next try, if there is to be one.
    pub async fn pause(&self, patience: &mut Patience, last: String) -> Result<(), BundleError> {
        let (object, received) = (self.exchange.object.shown(), self.arrival.borrow().received().total());
        match patience.failed() {
            Ok(pause) => {
                tracing::warn!(bundle = object, received, "fetching will be tried again: {last}");
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Err(GivenUp { tries }) => Err(match self.head.length {
                Some(expected) => BundleError::Truncated { object, expected, received, tries, last },
                None => BundleError::Unreachable { object, tries, last },
            }),
        }
    }
}
