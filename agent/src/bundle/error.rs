use std::fmt;
use std::path::PathBuf;

use super::signature::SignatureError;
use crate::disk;
use crate::http::{ClientError, Foreign};
use crate::identity::{IdentityError, SignError};
use crate::ids::DeploymentId;

/// Why a bundle was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// There are no credentials to fetch it with.
    #[error("the bundle cannot be fetched: {0}")]
    Identity(#[from] IdentityError),
    /// There is no client to fetch it with.
    #[error("the bundle cannot be fetched: {0}")]
    Client(#[from] ClientError),
    /// The request could not be signed.
    #[error("the bundle cannot be fetched: {0}")]
    Sign(#[from] SignError),
    /// Bucket or key cannot be part of an address.
    #[error("the bundle {object} cannot be fetched: {reason}")]
    Address {
        /// Bucket and key.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// The service refuses.
    #[error("the bundle {object} was not given to {caller}: {refusal}")]
    Refused {
        /// Bucket, key and version.
        object: String,
        /// The access key that asked, and where it came from.
        caller: String,
        /// Why.
        refusal: Refusal,
    },
    /// The object is not what the deployment was made for.
    #[error(
        "the bundle {object} is not the one that the deployment was made for: \
         its ETag is {found}, expected {expected}; deploy the object as it is now, or restore that version of it"
    )]
    Changed {
        /// Bucket, key and version.
        object: String,
        /// The specification's ETag.
        expected: String,
        /// The answer's, or that the service found another one.
        found: String,
    },
    /// No way to the service, or it kept failing.
    #[error("the bundle {object} could not be fetched in {tries} tries: {last}")]
    Unreachable {
        /// Bucket, key and version.
        object: String,
        /// How often it was tried.
        tries: u32,
        /// What the last try met.
        last: String,
    },
    /// The answer kept breaking off.
    #[error("the bundle {object} is truncated: {received} of {expected} bytes came in {tries} tries ({last})")]
    Truncated {
        /// Bucket, key and version.
        object: String,
        /// Bytes that were announced.
        expected: u64,
        /// Bytes that came.
        received: u64,
        /// How often it was tried.
        tries: u32,
        /// What the last try met.
        last: String,
    },
    /// The content does not have a digest that it must have.
    #[error(
        "the bundle {object} is refused: its {algorithm} is {computed}, but {origin} says {expected}; \
         it was changed or damaged on the way and has been removed"
    )]
    Mismatch {
        /// Bucket, key and version.
        object: String,
        /// Of what algorithm.
        algorithm: &'static str,
        /// Who said so.
        origin: &'static str,
        /// As it must be.
        expected: String,
        /// As it is.
        computed: String,
    },
    /// No SHA-256 is known, but one is required.
    #[error(
        "the bundle {what} is refused: require_sha256 is set, and no SHA-256 of it is known beforehand; \
         upload it with a SHA-256 checksum (aws s3 cp --checksum-algorithm SHA256), \
         or give it the metadata sha256"
    )]
    NoSha256 {
        /// The object or path.
        what: String,
    },
    /// It is longer than it may be.
    #[error("the bundle {object} is refused: it is longer than the {limit} bytes that are allowed")]
    TooLong {
        /// Bucket, key and version.
        object: String,
        /// The cap.
        limit: u64,
    },
    /// The file system is too full.
    #[error(
        "there is no space for the bundle {object}: {needed} bytes are needed in {}, {available} are available; \
         free some, or lower max_revisions",
        place.display()
    )]
    NoSpace {
        /// Bucket, key and version.
        object: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes available.
        available: u64,
        /// Where.
        place: PathBuf,
    },
    /// The file could not be written.
    #[error("the bundle could not be stored: {0}")]
    Disk(disk::Error),
    /// A file or directory of this host is not usable.
    #[error("the local bundle is not usable: {0}")]
    Local(disk::Error),
    /// No trusted key has signed it.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// GitHub refuses.
    #[error("the bundle {what} was not given to {caller}: HTTP status {status} ({answer}); {remedy}")]
    GitHub {
        /// Repository and commit.
        what: String,
        /// Whether it was asked with a token.
        caller: &'static str,
        /// HTTP status.
        status: u16,
        /// Its message.
        answer: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Somebody asked for its end.
    #[error("the bundle was not fetched to its end: the agent was asked to stop")]
    Stopped,
    /// A retained revision is not acquired.
    #[error("the revision of deployment {0} is on this host already; there is nothing to fetch")]
    Retained(DeploymentId),
}

/// Why the service refuses to give an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such bucket.
    NoBucket,
    /// There is no such object in the bucket.
    NoKey,
    /// There is no such version of the object.
    NoVersion,
    /// The caller may not read it.
    Reading(String),
    /// It is in an archive, in this storage class, and has to be restored first.
    Archived(String),
    /// A part of it was given, and nobody had asked for a part.
    Partial,
    /// Something else answered.
    Foreign(Foreign),
    /// The caller may not use the key that it is encrypted with.
    Decryption(String),
    /// The caller is unknown, or its secret is wrong or expired.
    Credentials(String),
    /// The caller's temporary credentials have expired.
    Expired(String),
    /// The bucket is in another region.
    Elsewhere {
        /// The region that was named at last; none if the answer does not name one.
        region: Option<String>,
    },
    /// The clocks are too far apart.
    Clock {
        /// By how many seconds this host is ahead; negative if it is behind.
        ahead: Option<i64>,
    },
    /// Anything else: status and what the service says.
    Other {
        /// HTTP status.
        status: u16,
        /// Code and message of the answer.
        answer: String,
    },
}

impl Refusal {
    /// Whether other credentials of the same caller may be accepted.
    pub(super) fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Credentials(_) | Self::Expired(_))
    }

    /// How it is.
    pub fn found(&self) -> String {
        match self {
            Self::NoBucket => "there is no such bucket".to_owned(),
            Self::NoKey => "there is no such object in the bucket".to_owned(),
            Self::NoVersion => "there is no such version of the object".to_owned(),
            Self::Reading(answer) => format!("access denied ({answer})"),
            Self::Archived(class) => format!("it is archived in the storage class {class}"),
            Self::Partial => {
                "the answer is a part of the object (HTTP status 206), and the whole was asked for".to_owned()
            }
            Self::Foreign(foreign) => format!("the answer is not the service's ({})", foreign.found()),
            Self::Decryption(answer) => format!("it is encrypted with a key that may not be used ({answer})"),
            Self::Credentials(answer) => format!("the credentials are not accepted ({answer})"),
            Self::Expired(answer) => format!("the temporary credentials have expired ({answer})"),
            Self::Elsewhere { region: Some(region) } => {
                format!("the bucket is said to be in {region}, by what answers there too")
            }
            Self::Elsewhere { region: None } => {
                "the bucket is in another region, which the answer does not name".to_owned()
            }
            Self::Clock { ahead: Some(ahead) } => {
                let side = if *ahead >= 0 { "ahead of" } else { "behind" };
                format!("this host's clock is {} s {side} the service's", ahead.unsigned_abs())
            }
            Self::Clock { ahead: None } => "this host's clock is too far from the service's".to_owned(),
            Self::Other { status, answer } => format!("HTTP status {status} ({answer})"),
        }
    }

    /// What to do about it; nothing where the answer itself has to tell.
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoBucket => "check its name",
            Self::NoKey => "check the key, and that it was uploaded",
            Self::NoVersion => "it may have expired: deploy one that is there",
            Self::Reading(_) => {
                "allow s3:GetObject on it (s3:GetObjectVersion for a version). Without s3:ListBucket a missing object \
                 looks the same"
            }
            Self::Archived(_) => {
                "restore it (aws s3api restore-object), wait until that is done, and deploy again; or upload it anew in \
                 another storage class"
            }
            Self::Partial => {
                "check the proxies and caches on the way, and s3_endpoint_override: what answers there does not give whole \
                 objects"
            }
            Self::Foreign(foreign) => foreign.remedy(),
            Self::Decryption(_) => "allow kms:Decrypt with it",
            Self::Credentials(_) => "renew them",
            Self::Expired(_) => "renew them, and check that this host's clock is right",
            Self::Elsewhere { region: Some(_) } => "check s3_endpoint_override, and the proxies on the way",
            Self::Elsewhere { region: None } => {
                "set the region of this host's identity, or s3_endpoint_override, to the bucket's"
            }
            Self::Clock { .. } => "synchronise it",
            Self::Other { .. } => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.found())?;
        self.remedy().iter().try_for_each(|remedy| write!(out, "; {remedy}"))
    }
}
