//! The caller of a request, once its signature was verified, and the caller's address.

use std::fmt;
use std::net::IpAddr;

/// The address at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_canonical().fmt(out)
    }
}

/// The owner of the access key that signed a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// May do everything that the public API and the embedded S3 offer.
    Administrator {
        /// The key's id, for the log.
        access_key_id: String,
        /// `arn:aws:iam::<account>:user/<name>`.
        arn: String,
    },
    /// An agent: sees only its own commands, specifications and bundles.
    Host {
        /// The key's id, for the log.
        access_key_id: String,
        /// The host identifier that the key may speak for, `arn:aws:iam::<account>:user/<name>`.
        host_arn: String,
    },
}

impl Caller {
    /// The key that signed.
    pub fn access_key_id(&self) -> &str {
        let (Self::Administrator { access_key_id, .. } | Self::Host { access_key_id, .. }) = self;
        access_key_id
    }

    /// Whose key it is.
    pub fn arn(&self) -> &str {
        match self {
            Self::Administrator { arn, .. } => arn,
            Self::Host { host_arn, .. } => host_arn,
        }
    }
}
