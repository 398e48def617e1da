//! Signed bundles: where the host trusts keys, what no such key has signed is not unpacked.
//!
//! Signatures are minisign's, in a file beside the bundle with `.minisig` after its name. One of the signatures
//! in it is of the content (of its BLAKE2b-512, or in the legacy form of the content itself), the other of the
//! first one and the trusted comment.

mod claims;
mod error;
mod keys;

use std::io::Read;
use std::path::{Path, PathBuf};

use minisign_verify::{Error as Invalid, Signature};

pub use claims::Claims;
pub use error::SignatureError;
pub use keys::{KeyError, KeyId, TrustedKeys};

use claims::Unclear;

use super::stopped::look;
use super::{Acquired, BundleError, Request, Requirement};
use crate::deployment::RevisionSource;
use crate::deployment::revision::S3Source;
use crate::disk::{self, Dir};
use crate::process::StopSignal;

/// What comes after a bundle's name in that of its signature.
const ENDING: &str = ".minisig";
/// Longest signature file, in bytes: two signatures, and two comments that minisign keeps to 8 KiB and 1 KiB.
const MAX_SIGNATURE: u64 = 16 << 10;
/// Longest bundle with a signature of the legacy form, which takes all of it in memory.
const MAX_LEGACY: u64 = 64 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 128 << 10;

/// What acquires a bundle, or its signature.
pub trait Acquire: Fn(&Request<'_>) -> Result<Acquired, BundleError> {}

impl<F: Fn(&Request<'_>) -> Result<Acquired, BundleError>> Acquire for F {}

/// What decides by a signer's words whether a bundle may be deployed now.
pub trait Admit: FnOnce(&Verified) -> Result<(), SignatureError> {}

impl<F: FnOnce(&Verified) -> Result<(), SignatureError>> Admit for F {}

impl TrustedKeys {
    /// Acquires by `acquire`, which is [`super::acquire`]; where there are keys, only what one of them has signed, and
    /// `admit` lets pass.
    /// A file of this host is then copied to the destination: what is verified must be what is unpacked, whoever
    /// may write to the original meanwhile.
    pub fn acquire(
        &self,
        request: &Request<'_>,
        acquire: impl Acquire,
        admit: impl Admit,
    ) -> Result<Acquired, BundleError> {
        if self.is_empty() {
            return acquire(request);
        }
        let acquired = self.acquire_signed(request, acquire, admit);
        if acquired.is_err() {
            // The first error is the one that tells.
            let _ = disk::remove_if_exists(request.destination);
        }
        acquired
    }

    fn acquire_signed(
        &self,
        request: &Request<'_>,
        acquire: impl Acquire,
        admit: impl Admit,
    ) -> Result<Acquired, BundleError> {
        let place = Place::of(request.source)?;
        // It is small, and without it there is no need of the bundle.
        let signature = match (&place, request.source) {
            (Place::Beside(path), _) => read_beside(path, &place)?,
            (Place::Object(object), _) => fetch(object, &place, request, &acquire)?,
        };
        let acquired = match acquire(request)? {
            Acquired::InPlace { path, bundle_type } => {
                copy(&path, request.destination)?;
                Acquired::InPlace { path: request.destination.to_owned(), bundle_type }
            }
            other => other,
        };
        let verified = self.verify(&place, &signature, request);
        look(request.stop)?;
        let verified = verified?;
        tracing::info!(key = %verified.key, comment = verified.comment, "the bundle's signature is valid");
        admit(&verified)?;
        Ok(acquired)
    }

    /// Holds the content of `file` to a signature.
    fn verify(&self, place: &Place, text: &[u8], request: &Request<'_>) -> Result<Verified, SignatureError> {
        let file = request.destination;
        let malformed = |reason| SignatureError::Malformed { bundle: place.bundle(), signature: place.shown(), reason };
        let text = std::str::from_utf8(text).map_err(|_| malformed("it is no text"))?;
        let signature = Signature::decode(text).map_err(|error| {
            malformed(match error {
                Invalid::UnsupportedAlgorithm => "its algorithm is not one of minisign's",
                _ => "it does not have minisign's four lines",
            })
        })?;
        let key = KeyId::in_line(text.lines().nth(1).unwrap_or_default())
            .ok_or_else(|| malformed("it does not have minisign's four lines"))?;
        let mut known = self.of(key).peekable();
        if known.peek().is_none() {
            return Err(SignatureError::UnknownKey { bundle: place.bundle(), key, trusted: self.shown() });
        }
        // Keys with one id are a deliberate act, but which of them signed can only be tried.
        for trusted in known {
            let valid = match trusted.key.verify_stream(&signature) {
                Ok(mut stream) => {
                    feed(file, request.stop, |bytes| stream.update(bytes))?;
                    stream.finalize()
                }
                Err(Invalid::UnsupportedLegacyMode) => {
                    let content = legacy_content(place, file)?;
                    trusted.key.verify(&content, &signature, true)
                }
                Err(error) => Err(error),
            };
            if valid.is_ok() {
                let comment = signature.trusted_comment().chars().filter(|c| !c.is_control()).collect();
                let claims = Claims::parse(signature.trusted_comment());
                let claims = claims.map_err(|Unclear { word, expected }| SignatureError::Unclear {
                    bundle: place.bundle(),
                    key,
                    word,
                    expected,
                })?;
                return Ok(Verified { bundle: place.bundle(), key, comment, claims });
            }
        }
        Err(SignatureError::Invalid { bundle: place.bundle(), signature: place.shown(), key })
    }
}

/// What a valid signature says.
#[derive(Debug)]
pub struct Verified {
    /// The bundle's path or object.
    pub bundle: String,
    /// Whose signature it is.
    pub key: KeyId,
    /// What the signer says of the bundle.
    pub claims: Claims,
    comment: String,
}

/// Where a signature is.
#[derive(Debug)]
enum Place {
    /// A file of this host.
    Beside(PathBuf),
    /// An object in the bundle's bucket, always its newest version.
    Object(S3Source),
}

impl Place {
    fn of(source: &RevisionSource) -> Result<Self, SignatureError> {
        let cannot = |what, instead| Err(SignatureError::CannotBeSigned { what, instead });
        match source {
            RevisionSource::S3(bundle) => Ok(Self::Object(S3Source {
                key: format!("{}{ENDING}", bundle.key),
                version: None,
                etag: None,
                sha256: None,
                ..bundle.clone()
            })),
            RevisionSource::LocalFile { path, .. } => {
                let mut path = path.clone().into_os_string();
                path.push(ENDING);
                Ok(Self::Beside(path.into()))
            }
            RevisionSource::LocalDirectory { path } => {
                cannot(format!("the directory {}", path.display()), "pack it and sign the bundle")
            }
            RevisionSource::GitHub(github) => cannot(
                format!("{}/{} at {} on GitHub", github.account, github.repository, github.commit),
                "GitHub packs its archives anew each time; put a bundle and its signature in S3",
            ),
            RevisionSource::Retained(deployment) => cannot(
                format!("the revision of deployment {deployment}"),
                "it was held to the keys when it was fetched, and is not fetched again",
            ),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Beside(path) => path.display().to_string(),
            Self::Object(S3Source { bucket, key, .. }) => format!("s3://{bucket}/{key}"),
        }
    }

    /// What is signed.
    fn bundle(&self) -> String {
        let shown = self.shown();
        shown.strip_suffix(ENDING).unwrap_or(&shown).to_owned()
    }
}

fn read_beside(path: &Path, place: &Place) -> Result<Vec<u8>, SignatureError> {
    match disk::read_if_exists(path, MAX_SIGNATURE) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(SignatureError::Missing { bundle: place.bundle(), signature: place.shown() }),
        Err(error) => Err(SignatureError::Unreadable { bundle: place.bundle(), source: error }),
    }
}

fn fetch(
    object: &S3Source,
    place: &Place,
    request: &Request<'_>,
    acquire: &impl Acquire,
) -> Result<Vec<u8>, BundleError> {
    let mut destination = request.destination.to_owned().into_os_string();
    destination.push(ENDING);
    let destination = PathBuf::from(destination);
    let source = RevisionSource::S3(object.clone());
    let mut request = *request;
    (request.source, request.destination) = (&source, &destination);
    (request.limit, request.requirement) = (MAX_SIGNATURE, Requirement::None);
    let fetched = acquire(&request);
    let text =
        fetched.map_err(|error| SignatureError::unfetched(place.bundle(), place.shown(), error)).and_then(|_| {
            disk::read_bounded(&destination, MAX_SIGNATURE)
                .map_err(|error| SignatureError::Unreadable { bundle: place.bundle(), source: error })
        });
    let removed = disk::remove_if_exists(&destination);
    let text = text?;
    removed.map_err(BundleError::Disk)?;
    Ok(text)
}

fn copy(from: &Path, to: &Path) -> Result<(), BundleError> {
    let (Some(directory), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(BundleError::Disk(disk::Error::new("write", to, std::io::ErrorKind::InvalidInput)));
    };
    let original = disk::open_named(from).map_err(BundleError::Local)?;
    let directory = Dir::open_or_create(directory, 0o755).map_err(BundleError::Disk)?;
    directory.remove_tree(name).map_err(BundleError::Disk)?;
    let copy = directory.create_file(name, 0o600).map_err(BundleError::Disk)?;
    disk::copy(&original, &copy, to).map_err(BundleError::Disk)?;
    Ok(())
}

/// Ends early where that is asked for: then nobody wants the verdict.
fn feed(file: &Path, stop: &StopSignal, mut take: impl FnMut(&[u8])) -> Result<(), SignatureError> {
    let mut content = disk::open_named(file).map_err(SignatureError::Content)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match content.read(&mut chunk) {
            _ if stop.is_given() => return Ok(()),
            Ok(0) => return Ok(()),
            Ok(length) => take(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SignatureError::Content(disk::Error::new("read", file, error))),
        }
    }
}

fn legacy_content(place: &Place, file: &Path) -> Result<Vec<u8>, SignatureError> {
    disk::read_bounded(file, MAX_LEGACY).map_err(|error| match error.source.kind() {
        std::io::ErrorKind::FileTooLarge => SignatureError::LegacyTooLong { bundle: place.bundle(), limit: MAX_LEGACY },
        _ => SignatureError::Content(error),
    })
}

#[cfg(test)]
mod tests;
