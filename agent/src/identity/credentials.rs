use std::fmt;

use crate::deployment::Secret;

/// An access key with what belongs to it. The secrets are wiped when dropped and never shown.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's public half; not a secret, it names the caller.
    pub access_key_id: String,
    /// The access key's secret half.
    pub secret_access_key: Secret,
    /// With temporary credentials.
    pub session_token: Option<Secret>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// A region's name, such as `eu-west-1`. It becomes part of host names, so nothing else is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

/// Why a text is no region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a region's name: 1 to 63 lower-case letters, digits and hyphens are expected, such as eu-west-1")]
pub struct RegionError(String);

impl Region {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, RegionError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(RegionError(text.chars().take(100).collect()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain under which AWS's services of this region are.
    pub fn domain(&self) -> &'static str {
        if self.0.starts_with("cn-") {
            "amazonaws.com.cn"
        } else if self.0.starts_with("eusc-") {
            "amazonaws.eu"
        } else {
            "amazonaws.com"
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
