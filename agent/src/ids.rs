//! Names that are safe to use as path components, parsed once.
//!
//! The rules are those of the commands protocol: anything else is refused before it can become a
//! directory's name.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names that the root directory uses itself, which no group can have.
const RESERVED: [&str; 3] = ["deployment-instructions", "deployment-logs", "ongoing-deployment"];

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct IdError {
    what: &'static str,
    value: String,
    rule: &'static str,
}

fn error(what: &'static str, value: &str, rule: &'static str) -> IdError {
    IdError { what, value: value.chars().take(200).collect(), rule }
}

fn path_safe(what: &'static str, value: &str) -> Result<String, IdError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if value.is_empty() || value.len() > 128 || !value.chars().all(allowed) {
        return Err(error(what, value, "1 to 128 letters, digits, dots, underscores and hyphens are allowed"));
    }
    if value.starts_with('.') {
        return Err(error(what, value, "it must not begin with a dot"));
    }
    if RESERVED.contains(&value) {
        return Err(error(what, value, "the agent's root directory uses this name itself"));
    }
    Ok(value.to_owned())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the text, or says what is wrong with it.
            pub fn parse(value: &str) -> Result<Self, IdError> {
                let parse: fn(&str) -> Result<String, IdError> = $parse;
                parse(value).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                Self::parse(&value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Self::parse(value)
            }
        }
    };
}

id! {
    /// Id of a deployment, such as `d-ABC123DEF`. An ARN is taken down to what follows `deployment/`.
    DeploymentId,
    |value| {
        let id = if value.starts_with("arn:") {
            value.rsplit_once("deployment/").map_or(value, |(_, id)| id)
        } else {
            value
        };
        path_safe("the deployment id", id)
    }
}

id! {
    /// Id of a deployment group: a UUID from a service, a plain name in local deploys.
    GroupId,
    |value| path_safe("the deployment group id", value)
}

id! {
    /// Name of a lifecycle event, one of AWS's or a custom one.
    EventName,
    |value| {
        if !value.is_empty() && value.len() <= 64 && value.chars().all(|c| c.is_ascii_alphanumeric()) {
            Ok(value.to_owned())
        } else {
            Err(error("the lifecycle event name", value, "1 to 64 letters and digits are allowed"))
        }
    }
}

id! {
    /// Id of one install transaction: the name of its directory and part of every stage name.
    TransactionId,
    |value| {
        if value.len() == 16 && value.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
            Ok(value.to_owned())
        } else {
            Err(error("the transaction id", value, "16 hexadecimal digits are expected"))
        }
    }
}

impl EventName {
    /// The last event of a deployment on a host that takes its traffic itself.
    pub fn validate_service() -> Self {
        Self("ValidateService".to_owned())
    }

    /// The last event of a deployment on a host behind a load balancer.
    pub fn after_allow_traffic() -> Self {
        Self("AfterAllowTraffic".to_owned())
    }
}

impl TransactionId {
    /// A new random id.
    pub fn random() -> Self {
        Self(format!("{:016x}", fastrand::u64(..)))
    }
}

/// Opaque name of a host command, as the service gave it. Files that belong to one are named by
/// [`HostCommandId::file_stem`], since AWS's are some 400 characters of base64.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostCommandId(String);

impl HostCommandId {
    /// Takes any text.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// As the service gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the identifier in hexadecimal.
    pub fn file_stem(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", ".hidden", "a/b", "../x", "a\0b", "ä", "deployment-logs", &"x".repeat(129)] {
            assert!(GroupId::parse(bad).is_err(), "{bad:?}");
            assert!(DeploymentId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(GroupId::parse(&"x".repeat(128)).is_ok());
    }

    #[test]
    fn a_deployment_arn_is_taken_down_to_its_id() {
        let arn = "arn:aws:codedeploy:eu-west-1:111122223333:deployment/d-ABC123DEF";
        assert_eq!(DeploymentId::parse(arn).unwrap().as_str(), "d-ABC123DEF");
        assert!(DeploymentId::parse("arn:aws:x:deployment/../../etc").is_err());
        assert!(DeploymentId::parse("arn:aws:x").is_err());
    }

    #[test]
    fn ids_are_parsed_when_state_is_read_back() {
        assert!(serde_json::from_str::<GroupId>("\"../x\"").is_err());
        assert!(serde_json::from_str::<TransactionId>("\"0123456789abcdef\"").is_ok());
    }

    #[test]
    fn a_host_command_of_any_length_has_a_short_file_name() {
        assert_eq!(HostCommandId::new("x/../".repeat(100)).file_stem().len(), 64);
    }
}
