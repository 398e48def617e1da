//! Acquiring: the bundle of a revision is fetched and verified, or found on this host.
//!
//! What arrives goes to its place in the file at once and is never held; its digests follow behind it.

mod arrival;
mod digest;
mod error;
mod follow;
mod github;
mod local;
mod location;
mod patience;
mod received;
pub mod s3;
pub mod signature;
mod stopped;
mod verify;

use std::path::{Path, PathBuf};

pub use error::{BundleError, Refusal};
pub use github::GitHub;
pub use location::{LocationError, is_web_address, parse_github_location, parse_s3_location};
pub use s3::{Endpoint, Kind, S3, Stack};
pub use signature::TrustedKeys;

use crate::deployment::{BundleType, RevisionSource, Secret};
use crate::process::StopSignal;

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
    /// What opens a repository on GitHub, where the deployment has it.
    pub github_token: Option<&'a Secret>,
    /// Ends it, whatever it waits for.
    pub stop: &'a StopSignal,
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

/// Acquires what `request` names. Credentials are asked for only where they are needed: neither a local deploy nor
/// GitHub has need of them. Blocks; must not be called on a thread that drives the runtime. After an error nothing is
/// left at the destination.
pub fn acquire(request: &Request<'_>, s3: &S3, github: &GitHub) -> Result<Acquired, BundleError> {
    match request.source {
        RevisionSource::S3(source) => s3.fetch(source, request).map(Acquired::Fetched),
        RevisionSource::LocalFile { path, bundle_type } => local::file(path, *bundle_type, request.requirement),
        RevisionSource::LocalDirectory { path } => local::directory(path, request.requirement),
        RevisionSource::GitHub(source) => github.fetch(source, request).map(Acquired::Fetched),
        RevisionSource::Retained(deployment) => Err(BundleError::Retained(deployment.clone())),
    }
}

#[cfg(test)]
mod tests;
