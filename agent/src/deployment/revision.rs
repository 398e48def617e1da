//! Where a revision's bundle comes from.

use std::fmt;
use std::path::PathBuf;

use slipway_protocol::specification as wire;

use super::{SpecError, required, value};
use crate::ids::DeploymentId;

/// Where the revision is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevisionSource {
    /// An object in S3.
    S3(S3Source),
    /// A commit on GitHub.
    GitHub(GitHubSource),
    /// A bundle on this host.
    LocalFile {
        /// Absolute path.
        path: PathBuf,
        /// Its type.
        bundle_type: BundleType,
    },
    /// A directory on this host.
    LocalDirectory {
        /// Absolute path.
        path: PathBuf,
    },
    /// The unpacked revision of an earlier deployment of the same group on this host.
    Retained(DeploymentId),
}

/// An object in S3 and what is known of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Source {
    /// Bucket name.
    pub bucket: String,
    /// Object key.
    pub key: String,
    /// The object's type; what the bundle's magic says can refine `tar`.
    pub bundle_type: BundleType,
    /// The version to fetch, the newest if absent.
    pub version: Option<String>,
    /// Expected ETag, without quotes.
    pub etag: Option<String>,
    /// Expected SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
}

/// A commit on GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHubSource {
    /// Owner.
    pub account: String,
    /// Repository.
    pub repository: String,
    /// Commit id.
    pub commit: String,
    /// `tar` or `zip`.
    pub bundle_type: BundleType,
}

impl GitHubSource {
    /// A commit whose parts are names that mean nothing else in an address; nothing if one of them is not.
    pub fn new(account: &str, repository: &str, commit: &str, bundle_type: BundleType) -> Option<Self> {
        let [account, repository, commit] =
            [account, repository, commit].map(|text| Some(text.to_owned()).filter(|text| is_url_name(text)));
        Some(Self { account: account?, repository: repository?, commit: commit?, bundle_type })
    }
}

/// How a bundle is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleType {
    /// A tar archive; gzip and zstd are found out by their magic.
    Tar,
    /// A tar archive in gzip.
    Tgz,
    /// A zip archive.
    Zip,
}

impl BundleType {
    /// Parses the protocol's name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "tar" => Some(Self::Tar),
            "tgz" => Some(Self::Tgz),
            "zip" => Some(Self::Zip),
            _ => None,
        }
    }
}

impl fmt::Display for BundleType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tar => "tar",
            Self::Tgz => "tgz",
            Self::Zip => "zip",
        })
    }
}

impl RevisionSource {
    /// A service can name S3 and GitHub; what is on the host already is not its to read.
    pub(super) fn from_wire(revision: wire::Revision) -> Result<Self, SpecError> {
        let kind = required(revision.revision_type, "Revision.RevisionType")?;
        match kind.as_str() {
            "S3" => s3(revision.s3_revision.unwrap_or_default()).map(Self::S3),
            "GitHub" => github(revision.github_revision.unwrap_or_default()).map(Self::GitHub),
            other => Err(value("Revision.RevisionType", other, "S3 or GitHub")),
        }
    }
}

fn s3(revision: wire::S3Revision) -> Result<S3Source, SpecError> {
    let sha256 = revision.checksum_sha256.filter(|text| !text.is_empty()).map(|text| text.to_ascii_lowercase());
    if let Some(text) = &sha256
        && (text.len() != 64 || !text.chars().all(|c| c.is_ascii_hexdigit()))
    {
        return Err(value("S3Revision.ChecksumSHA256", text, "64 hexadecimal digits"));
    }
    Ok(S3Source {
        bucket: required(revision.bucket, "S3Revision.Bucket")?,
        key: required(revision.key, "S3Revision.Key")?,
        bundle_type: bundle_type(revision.bundle_type)?,
        version: revision.version.filter(|text| !text.is_empty()),
        etag: revision.etag.map(|text| text.trim_matches('"').to_owned()).filter(|text| !text.is_empty()),
        sha256,
    })
}

fn github(revision: wire::GitHubRevision) -> Result<GitHubSource, SpecError> {
    Ok(GitHubSource {
        account: url_name(required(revision.account, "GitHubRevision.Account")?, "GitHubRevision.Account")?,
        repository: url_name(required(revision.repository, "GitHubRevision.Repository")?, "GitHubRevision.Repository")?,
        commit: url_name(required(revision.commit_id, "GitHubRevision.CommitId")?, "GitHubRevision.CommitId")?,
        bundle_type: match revision.bundle_type {
            None => BundleType::Tar,
            some => bundle_type(some)?,
        },
    })
}

/// These become parts of a URL's path, so nothing in them may mean anything there.
fn url_name(text: String, member: &'static str) -> Result<String, SpecError> {
    if is_url_name(&text) {
        Ok(text)
    } else {
        Err(value(member, &text, "letters, digits, dots, underscores and hyphens"))
    }
}

fn is_url_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.chars().all(allowed) && text != "." && text != ".."
}

fn bundle_type(name: Option<String>) -> Result<BundleType, SpecError> {
    let name = required(name, "BundleType")?;
    BundleType::parse(&name).ok_or_else(|| value("BundleType", &name, "tar, tgz or zip"))
}
