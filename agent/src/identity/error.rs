use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::metadata::MetadataError;
use super::session::SessionError;
use super::{RegionError, Source};
use crate::config_files::OnPremisesError;
use crate::http::ClientError;

/// A source that did not say who this host is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Its name, for people.
    pub source: &'static str,
    /// Why it was passed over.
    pub reason: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.source, self.reason)
    }
}

/// Why it is not known who this host is, or with which credentials it speaks.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentityError {
    /// No source says anything.
    #[error("it is not known who this host is. Tried in this order: {}. {remedy}", joined(.tried))]
    Nowhere {
        /// All sources, in their order.
        tried: Vec<PassedOver>,
        /// What to do about it.
        remedy: String,
    },
    /// The on-premises file is there, and cannot be used.
    #[error(transparent)]
    OnPremises(Arc<OnPremisesError>),
    /// A source is there, but lacks something.
    #[error("{origin} gives an identity, but lacks {missing}; add it, or remove the rest")]
    Incomplete {
        /// Which source.
        origin: Source,
        /// What is missing.
        missing: String,
    },
    /// The region cannot be one.
    #[error("{origin} names a region that cannot be one: {reason}")]
    Region {
        /// Which source.
        origin: Source,
        /// What is wrong.
        reason: RegionError,
    },
    /// The session's credentials cannot be read.
    #[error("{error}; {} names it, and whatever keeps it fresh has to write it", .on_premises.display())]
    Session {
        /// The on-premises file.
        on_premises: PathBuf,
        /// What is wrong with the file of credentials.
        error: Arc<SessionError>,
    },
    /// The metadata service knows this host, and gives no credentials.
    #[error("this instance has no credentials: {0}; {remedy}", remedy = .0.remedy())]
    Credentials(MetadataError),
    /// There is no client to ask the metadata service with.
    #[error("the EC2 metadata service cannot be asked: {0}")]
    Client(Arc<ClientError>),
    /// These are the credentials of a person.
    #[error(
        "the credentials of the environment are a person's, since AWS_HOST_IDENTIFIER is not set: no host is known by them"
    )]
    NoHost,
    /// The agent failed inside.
    #[error("{0} was cut off: {1}")]
    CutOff(&'static str, String),
}

impl IdentityError {
    /// Whether somebody has to change a setting or a file of this host: waiting will not mend it.
    pub fn is_of_configuration(&self) -> bool {
        matches!(self, Self::OnPremises(_) | Self::Incomplete { .. } | Self::Region { .. })
    }

    /// The sources that say nothing, where none does.
    pub fn tried(&self) -> &[PassedOver] {
        match self {
            Self::Nowhere { tried, .. } => tried,
            _ => &[],
        }
    }
}

fn joined(tried: &[PassedOver]) -> String {
    tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
