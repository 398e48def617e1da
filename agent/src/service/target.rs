//! Which commands service a host talks to, and by which names.

use slipway_protocol::wire;
use url::Url;

use crate::identity::Region;

/// The variant of the service, by its `X-Amz-Target` prefix and signing name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// `codedeploy-commands`.
    Ordinary,
    /// `codedeploy-commands-secure`, with `enable_auth_policy`.
    Secure,
}

impl Flavor {
    /// Comes before the operation in `X-Amz-Target`.
    pub fn target_prefix(self) -> &'static str {
        match self {
            Self::Ordinary => wire::COMMANDS_PREFIX,
            Self::Secure => wire::SECURE_COMMANDS_PREFIX,
        }
    }

    /// The service's name in a signature's scope and in its host name.
    pub fn signing_name(self) -> &'static str {
        match self {
            Self::Ordinary => wire::COMMANDS_SIGNING_NAME,
            Self::Secure => wire::SECURE_COMMANDS_SIGNING_NAME,
        }
    }
}

/// Whether the endpoint with validated cryptography is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fips {
    /// It is.
    Required,
    /// It is not.
    No,
}

/// Regions that have such an endpoint.
const FIPS_REGIONS: [&str; 6] = ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "us-gov-east-1", "us-gov-west-1"];

/// AWS's endpoint for a region.
///
/// Fails for a region that has no endpoint with validated cryptography where that is required, and
/// for the isolated regions, whose domains are known to the metadata service alone.
pub fn aws_endpoint(flavor: Flavor, region: &Region, fips: Fips) -> Result<Url, String> {
    let (domain, region) = (region.domain(), region.as_str());
    if region.contains("-iso") {
        return Err(format!(
            "the endpoint's domain in region {region} is not known; set deploy_control_endpoint in the configuration"
        ));
    }
    let suffix = match fips {
        Fips::No => "",
        Fips::Required if FIPS_REGIONS.contains(&region) => "-fips",
        Fips::Required => {
            return Err(format!(
                "use_fips_mode is set, and region {region} has no FIPS endpoint; there is one in {}",
                FIPS_REGIONS.join(", ")
            ));
        }
    };
    let text = format!("https://{}{suffix}.{region}.{domain}/", flavor.signing_name());
    Url::parse(&text).map_err(|error| format!("region {region:?} does not make a host name: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_by_region() {
        let rows = [
            (Flavor::Ordinary, "eu-west-1", Fips::No, "https://codedeploy-commands.eu-west-1.amazonaws.com/"),
            (Flavor::Ordinary, "cn-north-1", Fips::No, "https://codedeploy-commands.cn-north-1.amazonaws.com.cn/"),
            (Flavor::Ordinary, "eusc-de-east-1", Fips::No, "https://codedeploy-commands.eusc-de-east-1.amazonaws.eu/"),
            (
                Flavor::Secure,
                "us-gov-west-1",
                Fips::Required,
                "https://codedeploy-commands-secure-fips.us-gov-west-1.amazonaws.com/",
            ),
        ];
        for (flavor, region, fips, expected) in rows {
            assert_eq!(aws_endpoint(flavor, &Region::parse(region).unwrap(), fips).unwrap().as_str(), expected);
        }
        assert!(
            aws_endpoint(Flavor::Ordinary, &Region::parse("eu-west-1").unwrap(), Fips::Required)
                .unwrap_err()
                .contains("FIPS")
        );
        assert!(aws_endpoint(Flavor::Ordinary, &Region::parse("us-iso-east-1").unwrap(), Fips::No).is_err());
    }
}
