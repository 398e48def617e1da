use std::fmt;

/// A region's name, such as `eu-west-1`. It becomes part of host names, so nothing else is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

/// Why a text is no region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a region's name: 1 to 63 lower-case letters, digits and hyphens are expected, such as eu-west-1")]
pub struct RegionError(String);

/// A group of regions under one root: the name in its ARNs, how its regions' names begin, and the domain of its
/// services. As the SDKs have them in `partitions.json`.
#[derive(Debug)]
struct Partition {
    name: &'static str,
    prefixes: &'static [&'static str],
    domain: &'static str,
}

const PARTITIONS: [Partition; 7] = [
    Partition { name: "aws-cn", prefixes: &["cn-"], domain: "amazonaws.com.cn" },
    Partition { name: "aws-us-gov", prefixes: &["us-gov-"], domain: "amazonaws.com" },
    Partition { name: "aws-eusc", prefixes: &["eusc-"], domain: "amazonaws.eu" },
    Partition { name: "aws-iso", prefixes: &["us-iso-"], domain: "c2s.ic.gov" },
    Partition { name: "aws-iso-b", prefixes: &["us-isob-"], domain: "sc2s.sgov.gov" },
    Partition { name: "aws-iso-e", prefixes: &["eu-isoe-"], domain: "cloud.adc-e.uk" },
    Partition { name: "aws-iso-f", prefixes: &["us-isof-", "eu-isof-"], domain: "csp.hci.ic.gov" },
];

/// Every region that belongs to no other.
const COMMERCIAL: Partition = Partition { name: "aws", prefixes: &[""], domain: "amazonaws.com" };

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
        self.of().domain
    }

    /// The partition that it belongs to, as ARNs name it.
    pub fn partition(&self) -> &'static str {
        self.of().name
    }

    fn of(&self) -> &'static Partition {
        let is_of = |partition: &&Partition| partition.prefixes.iter().any(|prefix| self.0.starts_with(prefix));
        PARTITIONS.iter().find(is_of).unwrap_or(&COMMERCIAL)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
