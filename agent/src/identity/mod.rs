//! Who this host is, with which credentials it speaks, and where both came from.
//!
//! There is one order for everything: the on-premises file, the environment, the EC2 metadata
//! service. A source that is there but broken is an error, never a reason to try the next one.
//! Poller and downloads share one [`Provider`], which keeps credentials fresh.

mod credentials;
mod environment;
mod error;
pub mod metadata;
mod provider;
mod region;
pub mod session;
mod signing;
mod sources;

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

pub use credentials::Credentials;
pub use environment::Environment;
pub use error::{IdentityError, PassedOver};
pub use provider::{CurrentIdentity, Provider};
pub use region::{Region, RegionError};
pub use signing::{Scope, SignError, sign};
pub use sources::{Caller, Sources};

/// This host, as the control service knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The ARN by which the service knows this host.
    pub identifier: String,
    /// The region of the control service.
    pub region: Region,
    /// The domain of that region's services.
    pub domain: String,
    /// The instance's id, where the metadata service told who it is.
    pub instance: Option<String>,
}

/// What requests are signed with.
#[derive(Clone, Debug)]
pub struct Access {
    /// The region of the control service, and the first guess for buckets.
    pub region: Region,
    /// The domain of that region's services.
    pub domain: String,
    /// The keys.
    pub credentials: Credentials,
    /// Where they came from.
    pub source: Source,
    /// Until when they are valid, where the source says.
    pub expires: Option<Timestamp>,
}

impl Access {
    /// Whose requests these are, for messages.
    pub fn caller(&self) -> String {
        format!("access key {} of {}", self.credentials.access_key_id, self.source)
    }
}

/// Where credentials came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The on-premises file itself.
    OnPremises(PathBuf),
    /// The file of a session's credentials that the on-premises file names.
    Session(PathBuf),
    /// Variables of the environment.
    Environment,
    /// The EC2 metadata service, for the role of this name.
    Metadata(String),
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnPremises(path) => write!(out, "the on-premises file {}", path.display()),
            Self::Session(path) => write!(out, "the session's credentials in {}", path.display()),
            Self::Environment => out.write_str("the environment"),
            Self::Metadata(role) => write!(out, "the EC2 metadata service (role {role})"),
        }
    }
}

#[cfg(test)]
mod tests;
