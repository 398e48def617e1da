//! Acquiring: the bundle of a revision is fetched and verified, or found on this host.
//!
//! Everything is a stream: what arrives is hashed on its way to the disk and never held.

mod error;
mod local;
mod location;
pub mod s3;
pub mod signature;
mod verify;

use std::path::{Path, PathBuf};

pub use error::{BundleError, Refusal};
pub use location::{LocationError, parse_s3_location};
pub use s3::{Endpoint, S3};
pub use signature::TrustedKeys;

use crate::deployment::{BundleType, RevisionSource};

/// What is to be acquired.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where it is.
    pub source: &'a RevisionSource,
    /// The file that a fetched bundle is written to; what is there is replaced.
    pub destination: &'a Path,
    /// Most bytes that are fetched.
    pub limit: u64,
    /// What must be known of the content beforehand.
    pub requirement: Requirement,
}

/// What must be known of the content before it is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing; whatever is known is verified.
    None,
    /// A SHA-256: the setting `require_sha256`.
    Sha256,
}

/// What was acquired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// A fetched and verified bundle, which belongs to the caller.
    Fetched(Fetched),
    /// A bundle of this host, to be read where it is.
    InPlace {
        /// The file.
        path: PathBuf,
        /// Its type.
        bundle_type: BundleType,
    },
    /// A directory of this host, to be copied from where it is.
    Directory(PathBuf),
}

/// A fetched and verified bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The file.
    pub path: PathBuf,
    /// Its type, as the specification gives it.
    pub bundle_type: BundleType,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// By what it was verified, for the log: `ETag`, `x-amz-checksum-sha256`…
    pub verified_by: Vec<&'static str>,
}

/// Acquires what `request` names. `s3` is asked for only where it is needed, since a local deploy has
/// no need of credentials. Blocks; must not be called on a thread that drives the runtime. After an
/// error nothing is left at the destination.
pub fn acquire<'s>(
    request: &Request<'_>,
    s3: impl FnOnce() -> Result<&'s S3, BundleError>,
) -> Result<Acquired, BundleError> {
    match request.source {
        RevisionSource::S3(source) => s3()?.fetch(source, request).map(Acquired::Fetched),
        RevisionSource::LocalFile { path, bundle_type } => local::file(path, *bundle_type, request.requirement),
        RevisionSource::LocalDirectory { path } => local::directory(path, request.requirement),
        RevisionSource::GitHub(source) => Err(BundleError::GitHub {
            account: source.account.clone(),
            repository: source.repository.clone(),
            commit: source.commit.clone(),
        }),
        RevisionSource::Retained(deployment) => Err(BundleError::Retained(deployment.clone())),
    }
}

#[cfg(test)]
mod tests;
