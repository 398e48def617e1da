//! Names and identifiers, right by construction.

use std::fmt;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::error::ApiError;

/// Longest name of an application, group, configuration or instance, in characters.
const LONGEST_NAME: usize = 100;

/// The characters of generated ids.
const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

macro_rules! names {
    ($($(#[$meta:meta])* $name:ident: $what:literal, $stem:literal;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// From a request's member: missing and malformed ones get the API's error names.
            ///
            /// # Errors
            #[doc = concat!("`", $stem, "RequiredException` and `Invalid", $stem, "Exception`.")]
            pub fn from_request(text: Option<String>) -> Result<Self, ApiError> {
                let Some(text) = text.filter(|text| !text.is_empty()) else {
                    return Err(ApiError::client(
                        concat!($stem, "RequiredException"),
                        concat!("The ", $what, " is missing from the request."),
                    ));
                };
                if text.len() > LONGEST_NAME || !text.bytes().all(is_name_byte) {
                    return Err(ApiError::client(
                        concat!("Invalid", $stem, "Exception"),
                        format!(
                            concat!("{:?} is no valid ", $what, ": give 1 to 100 letters, digits or any of + = , . @ _ -"),
                            text.chars().take(LONGEST_NAME + 20).collect::<String>(),
                        ),
                    ));
                }
                Ok(Self(text))
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    )+};
}

names! {
    /// Name of an application, unique in the service.
    ApplicationName: "application name", "ApplicationName";
    /// Name of a deployment group, unique in its application.
    GroupName: "deployment group name", "DeploymentGroupName";
    /// Name of a deployment configuration.
    ConfigName: "deployment configuration name", "DeploymentConfigName";
    /// Name of an on-premises instance. Use [`instance_name`] where it is about to be registered.
    InstanceName: "instance name", "InstanceName";
}

/// The name of an instance that is about to be registered: one like an EC2 instance's id is
/// refused.
///
/// # Errors
/// `InstanceNameRequiredException` and `InvalidInstanceNameException`.
pub fn instance_name(text: Option<String>) -> Result<InstanceName, ApiError> {
    let name = InstanceName::from_request(text)?;
    if name.as_str().starts_with("i-") {
        return Err(ApiError::client(
            "InvalidInstanceNameException",
            format!("{name} looks like the id of an EC2 instance: an on-premises name may not begin with i-"),
        ));
    }
    Ok(name)
}

/// Id of a deployment: `d-` and nine of `[A-Z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DeploymentId(String);

impl DeploymentId {
    /// A new one.
    pub fn random() -> Self {
        Self(format!("d-{}", characters(9)))
    }

    /// From a request's member.
    ///
    /// # Errors
    /// `DeploymentIdRequiredException` and `InvalidDeploymentIdException`.
    pub fn from_request(text: Option<String>) -> Result<Self, ApiError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Err(ApiError::client(
                "DeploymentIdRequiredException",
                "The deployment id is missing from the request.",
            ));
        };
        let tail = text.strip_prefix("d-").unwrap_or_default().as_bytes();
        if tail.len() != 9 || !tail.iter().all(|byte| ALPHABET.contains(byte)) {
            return Err(ApiError::client(
                "InvalidDeploymentIdException",
                format!(
                    "{:?} is no deployment id: those are d- and nine capital letters or digits",
                    text.chars().take(40).collect::<String>()
                ),
            ));
        }
        Ok(Self(text))
    }

    /// An id that the database holds.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A new id of an application, group or configuration.
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Random capital letters and digits, for names that only have to differ.
pub fn characters(count: usize) -> String {
    (0..count).map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())])).collect()
}

/// A new host command identifier: 256 unguessable bits, since whoever names a command may report
/// its result.
///
/// # Errors
/// If the system has no randomness to give.
pub fn host_command_identifier() -> Result<String, ApiError> {
    let mut bits = [0_u8; 32];
    SystemRandom::new()
        .fill(&mut bits)
        .map_err(|_| ApiError::internal("the system's random number generator gave nothing"))?;
    Ok(URL_SAFE_NO_PAD.encode(bits))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_with_the_apis_errors() {
        let parse = |text: &str| ApplicationName::from_request(Some(text.to_owned()));
        assert_eq!(parse("a+b=c,d.e@f_g-H9").unwrap().as_str(), "a+b=c,d.e@f_g-H9");
        assert!(parse(&"x".repeat(100)).is_ok());
        for bad in ["a b", "ä", "a/b", "a\n", &"x".repeat(101)] {
            assert_eq!(parse(bad).unwrap_err().name, "InvalidApplicationNameException", "{bad:?}");
        }
        for missing in [None, Some(String::new())] {
            assert_eq!(GroupName::from_request(missing).unwrap_err().name, "DeploymentGroupNameRequiredException");
        }
    }

    #[test]
    fn an_instance_is_not_named_like_one_of_ec2() {
        assert_eq!(instance_name(Some("i-web".into())).unwrap_err().name, "InvalidInstanceNameException");
        assert!(instance_name(Some("web-1".into())).is_ok());
    }

    #[test]
    fn deployment_ids_are_made_as_they_are_parsed() {
        for _ in 0..200 {
            let id = DeploymentId::random();
            assert_eq!(DeploymentId::from_request(Some(id.as_str().to_owned())).unwrap(), id);
        }
        for bad in ["d-ABC", "d-ABC12345x", "x-ABC123456", "d-ABC1234567", "../../etc"] {
            let error = DeploymentId::from_request(Some(bad.to_owned())).unwrap_err();
            assert_eq!(error.name, "InvalidDeploymentIdException", "{bad}");
        }
    }

    #[test]
    fn command_identifiers_differ() {
        let made: std::collections::HashSet<_> = (0..100).map(|_| host_command_identifier().unwrap()).collect();
        assert_eq!(made.len(), 100);
        assert!(made.iter().all(|id| id.len() == 43));
    }
}
