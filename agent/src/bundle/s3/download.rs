//! One fetch: tries, pauses, goes on where it broke off, verifies.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::answer::{Document, etag, expectations, refusal, text};
use super::{Object, S3, TRIES};
use crate::bundle::verify::{Algorithm, Digesting, Expectation};
use crate::bundle::{BundleError, Fetched, Request, Requirement};
use crate::disk::{self, Dir};
use crate::http::{Backoff, Retry, innermost};
use crate::identity::Region;

/// Times that a bucket's region is followed.
const REDIRECTS: u32 = 2;

/// Where to go on, and the object that it must still be.
#[derive(Debug)]
pub(super) struct Resume {
    pub from: u64,
    /// With quotes, as it came.
    pub etag: String,
}

/// How a try ended that brought no whole bundle, but is worth another one.
#[derive(Debug)]
enum Setback {
    /// Nothing usable came.
    Failed(String),
    /// The body broke off.
    Broken(String),
    /// The bucket is elsewhere.
    Elsewhere(Region),
    /// The object was replaced while it was fetched.
    Replaced,
}

pub(super) async fn run(s3: &S3, object: Object<'_>, request: &Request<'_>) -> Result<Fetched, BundleError> {
    let place = Destination::open(request.destination)?;
    let fetch = Fetch { s3, object, request, place: &place, backoff: s3.backoff.clone(), redirects: 0 };
    let fetched = fetch.run().await;
    if fetched.is_err() {
        // The first error is the one that tells.
        let _ = place.remove();
    }
    fetched
}

struct Fetch<'a> {
    s3: &'a S3,
    object: Object<'a>,
    request: &'a Request<'a>,
    place: &'a Destination<'a>,
    backoff: Backoff,
    redirects: u32,
}

/// A body that is on its way to the disk.
struct Partial {
    content: Digesting<File>,
    expectations: Vec<Expectation>,
    announced: Option<u64>,
    etag: Option<String>,
}

impl Fetch<'_> {
    async fn run(mut self) -> Result<Fetched, BundleError> {
        let mut partial = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let before = partial.as_ref().map_or(0, |partial: &Partial| partial.content.written());
            let setback = match self.once(&mut partial).await? {
                None => break,
                Some(setback) => setback,
            };
            let after = partial.as_ref().map_or(0, |partial| partial.content.written());
            if after > before {
                tries = 0;
                self.backoff.reset();
            }
            let last = match setback {
                Setback::Elsewhere(region) => {
                    self.object.region = region;
                    tries -= 1;
                    continue;
                }
                Setback::Replaced => {
                    partial = None;
                    "the object was replaced while it was fetched".to_owned()
                }
                Setback::Failed(last) | Setback::Broken(last) => last,
            };
            tracing::warn!(bundle = self.object.shown(), received = after, "fetching will be tried again: {last}");
            if tries >= TRIES {
                return Err(self.given_up(partial.as_ref(), tries, last));
            }
            tokio::time::sleep(self.backoff.pause()).await;
        }
        match partial {
            Some(partial) => self.verify(partial),
            None => Err(self.given_up(None, tries, "no content came".to_owned())),
        }
    }

    fn given_up(&self, partial: Option<&Partial>, tries: u32, last: String) -> BundleError {
        let object = self.object.shown();
        match partial.and_then(|partial| Some((partial.announced?, partial.content.written()))) {
            Some((expected, received)) => BundleError::Truncated { object, expected, received, tries, last },
            None => BundleError::Unreachable { object, tries, last },
        }
    }

    /// One request; nothing is returned when the body is whole.
    async fn once(&mut self, partial: &mut Option<Partial>) -> Result<Option<Setback>, BundleError> {
        let resume = partial.as_ref().and_then(|partial| {
            let etag = partial.etag.clone()?;
            Some(Resume { from: partial.content.written(), etag }).filter(|resume| resume.from > 0)
        });
        let request = self.s3.request(&self.object, resume.as_ref()).await?;
        self.s3.gate.pass().await;
        let response = match self.s3.client.send(request).await {
            Ok(response) => response,
            Err(error) => return Ok(Some(Setback::Failed(error.to_string()))),
        };
        match response.status() {
            StatusCode::OK => *partial = Some(self.begin(response.headers())?),
            StatusCode::PARTIAL_CONTENT
                if resume.as_ref().is_some_and(|resume| goes_on(resume, response.headers())) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if resume.is_some() => {
                return Ok(Some(Setback::Replaced));
            }
            _ => return self.no_content(response).await.map(Some),
        }
        self.s3.gate.succeeded();
        match partial {
            Some(partial) => self.receive(response, partial).await,
            None => Ok(Some(Setback::Replaced)),
        }
    }

    /// The first bytes are about to come: what is known is checked, and room is made.
    fn begin(&self, headers: &HeaderMap) -> Result<Partial, BundleError> {
        let Object { source, .. } = &self.object;
        if let (Some(expected), Some(found)) = (&source.etag, etag(headers))
            && expected != found
        {
            return Err(self.changed(expected, found.to_owned()));
        }
        let expectations = expectations(source, headers);
        let knows_sha256 = expectations.iter().any(|expectation| expectation.algorithm == Algorithm::Sha256);
        if self.request.requirement == Requirement::Sha256 && !knows_sha256 {
            return Err(BundleError::NoSha256 { what: self.object.shown() });
        }
        let announced = text(headers, "content-length").and_then(|length| length.parse().ok());
        let limit = self.request.limit;
        if announced.is_some_and(|length| length > limit) {
            return Err(BundleError::TooLong { object: self.object.shown(), limit });
        }
        let needed = announced.unwrap_or(0);
        self.place.remove().map_err(BundleError::Disk)?;
        let available = disk::available(&self.place.dir).map_err(BundleError::Disk)?;
        if needed > available {
            return Err(self.no_space(needed, available));
        }
        let file = self.place.create().map_err(|error| self.stored(error, needed))?;
        disk::reserve(&file, self.place.path, needed).map_err(|error| self.stored(error, needed))?;
        Ok(Partial {
            content: Digesting::new(file, &expectations),
            expectations,
            announced,
            etag: text(headers, "etag").map(str::to_owned).filter(|etag| !etag.starts_with("W/")),
        })
    }

    async fn receive(
        &self,
        mut response: reqwest::Response,
        partial: &mut Partial,
    ) -> Result<Option<Setback>, BundleError> {
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Ok(Some(Setback::Broken(innermost(&error)))),
            };
            let written = partial.content.written();
            if written.saturating_add(chunk.len() as u64) > partial.announced.unwrap_or(self.request.limit) {
                return Err(BundleError::TooLong { object: self.object.shown(), limit: self.request.limit });
            }
            partial.content.write_all(&chunk).map_err(|source| {
                let left = partial.announced.map_or(chunk.len() as u64, |announced| announced - written);
                self.stored(disk::Error::new("write", self.place.path, source), left)
            })?;
        }
        match partial.announced {
            Some(announced) if partial.content.written() < announced => {
                Ok(Some(Setback::Broken("the connection was closed".to_owned())))
            }
            _ => Ok(None),
        }
    }

    /// Any status but success.
    async fn no_content(&mut self, response: reqwest::Response) -> Result<Setback, BundleError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let object = self.object.shown();
        let document = Document::read(response).await;
        let named = text(&headers, "x-amz-bucket-region").unwrap_or(&document.region);
        if let Ok(region) = Region::parse(named)
            && region != self.object.region
            && self.redirects < REDIRECTS
        {
            self.redirects += 1;
            tracing::info!(bundle = object, from = %self.object.region, to = %region, "following the bucket's region");
            return Ok(Setback::Elsewhere(region));
        }
        if status == StatusCode::PRECONDITION_FAILED {
            let expected = self.object.source.etag.clone().unwrap_or_default();
            return Err(self.changed(&expected, "another one".to_owned()));
        }
        match Retry::judge(status, &document.code, &document.message) {
            Retry::Never => {
                let refusal = refusal(status, &headers, &document, Timestamp::now());
                Err(BundleError::Refused { object, caller: self.s3.caller().await, refusal })
            }
            Retry::Throttled => {
                self.s3.gate.throttled();
                Ok(Setback::Failed(format!("throttled, HTTP status {status} {}", document.code)))
            }
            Retry::Later => Ok(Setback::Failed(format!("HTTP status {status} {} {}", document.code, document.message))),
        }
    }

    fn verify(&self, partial: Partial) -> Result<Fetched, BundleError> {
        let size = partial.content.written();
        let computed = partial.content.finish();
        computed.compare(&partial.expectations).map_err(|difference| BundleError::Mismatch {
            object: self.object.shown(),
            algorithm: difference.algorithm,
            origin: difference.origin,
            expected: difference.expected,
            computed: difference.computed,
        })?;
        Ok(Fetched {
            path: self.request.destination.to_owned(),
            bundle_type: self.object.source.bundle_type,
            size,
            sha256: computed.sha256(),
            verified_by: partial.expectations.iter().map(|expectation| expectation.origin).collect(),
        })
    }

    fn changed(&self, expected: &str, found: String) -> BundleError {
        BundleError::Changed { object: self.object.shown(), expected: expected.to_owned(), found }
    }

    fn stored(&self, error: disk::Error, needed: u64) -> BundleError {
        if error.is_no_space() {
            self.no_space(needed, disk::available(&self.place.dir).unwrap_or(0))
        } else {
            BundleError::Disk(error)
        }
    }

    fn no_space(&self, needed: u64, available: u64) -> BundleError {
        let place = self.place.dir.path().to_owned();
        BundleError::NoSpace { object: self.object.shown(), needed, available, place }
    }
}

/// Whether a partial answer begins where it should.
fn goes_on(resume: &Resume, headers: &HeaderMap) -> bool {
    let start = text(headers, "content-range")
        .and_then(|range| range.strip_prefix("bytes "))
        .and_then(|range| range.split_once('-'))
        .and_then(|(start, _)| start.parse::<u64>().ok());
    let same = etag(headers).is_none_or(|etag| etag == resume.etag.trim_matches('"'));
    start == Some(resume.from) && same
}

/// The file that is written, by its directory's descriptor.
struct Destination<'a> {
    dir: Dir,
    name: &'a Path,
    path: &'a Path,
}

impl<'a> Destination<'a> {
    fn open(path: &'a Path) -> Result<Self, BundleError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(BundleError::Disk(disk::Error::new("write", path, std::io::ErrorKind::InvalidInput)));
        };
        let dir = Dir::open_or_create(parent, 0o755).map_err(BundleError::Disk)?;
        Ok(Self { dir, name: Path::new(name), path })
    }

    /// Not for others: a bundle can hold secrets that its files' modes protect.
    fn create(&self) -> disk::Result<File> {
        self.dir.create_file(self.name, 0o600)
    }

    fn remove(&self) -> disk::Result<()> {
        self.dir.remove_tree(self.name)
    }
}
