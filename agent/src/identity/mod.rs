//! Who this host is, with which credentials it speaks, and where both came from.
//!
//! There is one order for everything: the on-premises file, the environment, the EC2 metadata
//! service. A source that is there but broken is an error, never a reason to try the next one.

mod credentials;
mod environment;
mod signing;

use std::fmt;
use std::path::PathBuf;

pub use credentials::{Credentials, Region, RegionError};
pub use environment::Environment;
pub use signing::{Scope, SignError, sign};

use crate::deployment::Secret;

/// This host, as the control service knows it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The ARN by which the service knows this host.
    pub host_identifier: String,
    /// With what it speaks to every service.
    pub access: Access,
}

/// What requests are signed with.
#[derive(Clone, Debug)]
pub struct Access {
    /// The region of the control service, and the first guess for buckets.
    pub region: Region,
    /// The keys.
    pub credentials: Credentials,
    /// Where they came from.
    pub source: Source,
}

/// Where identity and credentials came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The on-premises file.
    OnPremises(PathBuf),
    /// Variables of the environment.
    Environment,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnPremises(path) => write!(out, "the on-premises file {}", path.display()),
            Self::Environment => out.write_str("the environment"),
        }
    }
}

/// What the on-premises file says; `path` is the file itself.
#[derive(Clone, Debug)]
pub enum OnPremises {
    /// An IAM user's long-lived keys.
    IamUser {
        /// The file.
        path: PathBuf,
        /// `iam_user_arn`: the host identifier.
        arn: String,
        /// `region`.
        region: String,
        /// `aws_access_key_id`.
        access_key_id: String,
        /// `aws_secret_access_key`.
        secret: Secret,
    },
    /// A session whose keys another program keeps fresh in a shared credentials file.
    IamSession {
        /// The file.
        path: PathBuf,
        /// `iam_session_arn`: the host identifier.
        arn: String,
    },
}

/// Why it is not known who this host is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentityError {
    /// No source says anything.
    #[error(
        "it is not known who this host is. Tried in this order: {}. \
         Register the host and put its on-premises file in place, or set AWS_HOST_IDENTIFIER, AWS_REGION, \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        .0.join("; ")
    )]
    Nowhere(Vec<String>),
    /// A source is there, but lacks something.
    #[error("{origin} gives an identity, but lacks {missing}; add it, or remove the rest")]
    Incomplete {
        /// Which source.
        origin: Source,
        /// What is missing.
        missing: String,
    },
    /// A source is there, in a form that this version does not know how to use.
    #[error(
        "{origin} names a session (iam_session_arn {arn}), which this version of the agent cannot use yet; \
         give it an IAM user instead: iam_user_arn, aws_access_key_id and aws_secret_access_key"
    )]
    Session {
        /// Which source.
        origin: Source,
        /// The session.
        arn: String,
    },
    /// The region cannot be one.
    #[error("{origin} names a region that cannot be one: {reason}")]
    Region {
        /// Which source.
        origin: Source,
        /// What is wrong.
        reason: RegionError,
    },
}

const NO_METADATA: &str = "EC2 metadata service: not asked, since this version of the agent cannot use it yet";

/// Who this host is. `on_premises` is the parsed on-premises file, `None` if it does not exist.
pub fn load(on_premises: Option<OnPremises>, environment: &Environment) -> Result<Identity, IdentityError> {
    let mut tried = Vec::new();
    match on_premises {
        Some(file) => return from_file(file),
        None => tried.push("on-premises file: there is none".to_owned()),
    }
    match environment.host_identifier.clone() {
        Some(host_identifier) => {
            let access = from_environment(environment)?;
            return Ok(Identity { host_identifier, access });
        }
        None => tried.push("environment: AWS_HOST_IDENTIFIER is not set".to_owned()),
    }
    tried.push(NO_METADATA.to_owned());
    Err(IdentityError::Nowhere(tried))
}

/// What a person's local deploy from S3 signs with: as [`load`], but the variables of the environment
/// count without a host identifier too.
pub fn for_person(on_premises: Option<OnPremises>, environment: &Environment) -> Result<Access, IdentityError> {
    if on_premises.is_none() && environment.host_identifier.is_none() && environment.has_keys() {
        return from_environment(environment);
    }
    load(on_premises, environment).map(|identity| identity.access)
}

fn from_file(file: OnPremises) -> Result<Identity, IdentityError> {
    match file {
        OnPremises::IamSession { path, arn } => Err(IdentityError::Session { origin: Source::OnPremises(path), arn }),
        OnPremises::IamUser { path, arn, region, access_key_id, secret } => {
            let source = Source::OnPremises(path);
            let credentials = Credentials { access_key_id, secret_access_key: secret, session_token: None };
            Ok(Identity {
                host_identifier: arn,
                access: Access { region: parse(&region, &source)?, credentials, source },
            })
        }
    }
}

fn from_environment(environment: &Environment) -> Result<Access, IdentityError> {
    let source = Source::Environment;
    let Environment { region, access_key_id, secret_access_key, session_token, .. } = environment.clone();
    match (region, access_key_id, secret_access_key) {
        (Some(region), Some(access_key_id), Some(secret_access_key)) => Ok(Access {
            region: parse(&region, &source)?,
            credentials: Credentials { access_key_id, secret_access_key, session_token },
            source,
        }),
        (region, id, secret) => {
            let absent = [
                (region.is_none(), "AWS_REGION"),
                (id.is_none(), "AWS_ACCESS_KEY_ID"),
                (secret.is_none(), "AWS_SECRET_ACCESS_KEY"),
            ];
            let missing: Vec<_> = absent.into_iter().filter_map(|(absent, name)| absent.then_some(name)).collect();
            Err(IdentityError::Incomplete { origin: source, missing: missing.join(" and ") })
        }
    }
}

fn parse(region: &str, origin: &Source) -> Result<Region, IdentityError> {
    Region::parse(region).map_err(|reason| IdentityError::Region { origin: origin.clone(), reason })
}

#[cfg(test)]
mod tests;
