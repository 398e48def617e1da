use super::WAIT;
use crate::http::SendError;

/// Why the metadata service did not tell what it was asked. The endpoint is the service's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The environment forbids it.
    #[error("it is not asked, since AWS_EC2_METADATA_DISABLED is set")]
    Disabled,
    /// The environment gives an address that cannot be one.
    #[error("{variable} is {found:?}, expected {expected}")]
    Address {
        /// Which variable.
        variable: &'static str,
        /// Its value.
        found: String,
        /// What it can be.
        expected: &'static str,
    },
    /// No connection came about.
    #[error("nothing answers at {endpoint} ({reason})")]
    Absent {
        /// The address.
        endpoint: String,
        /// In the system's words.
        reason: String,
    },
    /// It takes connections and does not answer.
    #[error("{endpoint} takes connections and did not answer within {} s", WAIT.as_secs())]
    Silent {
        /// The address.
        endpoint: String,
    },
    /// It gives no token.
    #[error("{endpoint} gives no token (HTTP {status})")]
    TokenRefused {
        /// The address.
        endpoint: String,
        /// The answer's status.
        status: u16,
    },
    /// No role is attached.
    #[error("the EC2 metadata service has no role for it (HTTP 404)")]
    NoRole,
    /// The role is attached, and its credentials could not be made.
    #[error("the EC2 metadata service could not get credentials of the role {role}: {code} {message}")]
    RoleFailed {
        /// Its name.
        role: String,
        /// The service's name of the error.
        code: String,
        /// The service's words.
        message: String,
    },
    /// It refused a question.
    #[error("{endpoint} answers HTTP {status} to {path}")]
    Refused {
        /// The address.
        endpoint: String,
        /// What was asked for.
        path: String,
        /// The answer's status.
        status: u16,
    },
    /// The exchange broke.
    #[error("the exchange with {endpoint} broke: {reason}")]
    Broken {
        /// The address.
        endpoint: String,
        /// How.
        reason: String,
    },
    /// The answer is not what it should be.
    #[error("what {endpoint} answers to {path} cannot be used: {reason}")]
    Unusable {
        /// The address.
        endpoint: String,
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl MetadataError {
    pub(super) fn of(error: &SendError, endpoint: &str) -> Self {
        use crate::http::Phase;
        let endpoint = endpoint.to_owned();
        match error.phase {
            Phase::Timeout => Self::Silent { endpoint },
            Phase::Resolve | Phase::Connect | Phase::Proxy | Phase::Tls => {
                Self::Absent { endpoint, reason: error.cause().to_owned() }
            }
            Phase::Exchange => Self::Broken { endpoint, reason: error.cause().to_owned() },
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Disabled | Self::Absent { .. } => {
                "On EC2, turn the instance's metadata service on (HttpEndpoint=enabled) and let the route to it be. \
                 Elsewhere, register the host and put its on-premises file in place, or set AWS_HOST_IDENTIFIER, \
                 AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            Self::Address { .. } => "Correct the variable, or unset it",
            Self::Silent { .. } => {
                "Most often its answers may not travel so far, as from inside of a container: let them by `aws ec2 \
                 modify-instance-metadata-options --instance-id ID --http-put-response-hop-limit 2`, or run the agent in \
                 the host's network"
            }
            Self::TokenRefused { status: 403, .. } => {
                "Turn the instance's metadata service on: `aws ec2 modify-instance-metadata-options --instance-id ID \
                 --http-endpoint enabled`; if it is on, look for a firewall or a proxy on the way to it"
            }
            Self::TokenRefused { .. } => {
                "The agent speaks version 2 of the metadata service (IMDSv2) alone, and what answers there does not"
            }
            Self::NoRole => {
                "attach an instance profile to it (`aws ec2 associate-iam-instance-profile`) whose role may read the bundles' \
                 buckets; the agent takes it up by itself"
            }
            Self::RoleFailed { .. } => {
                "check that the role still exists and that its trust policy lets ec2.amazonaws.com assume it"
            }
            Self::Refused { .. } | Self::Broken { .. } | Self::Unusable { .. } => {
                "It is asked again; if this stays so, look at what answers there"
            }
        }
    }
}
