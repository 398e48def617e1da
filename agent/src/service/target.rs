//! Which commands service a host talks to, and by which names.

use slipway_protocol::wire;
use url::Url;

use crate::identity::Host;

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

/// Where the commands service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// There, whoever asks: the setting `deploy_control_endpoint`.
    Fixed(Url),
    /// At AWS's endpoint of the host's region.
    Aws(Fips),
}

impl Target {
    /// The service's address for a host.
    pub fn endpoint(&self, flavor: Flavor, host: &Host) -> Result<Url, String> {
        match self {
            Self::Fixed(url) => Ok(url.clone()),
            Self::Aws(fips) => aws_endpoint(flavor, host, *fips),
        }
    }
}

/// AWS's endpoint for a host's region.
///
/// Fails for a region that has no endpoint with validated cryptography where that is required.
fn aws_endpoint(flavor: Flavor, host: &Host, fips: Fips) -> Result<Url, String> {
    let (domain, region) = (host.domain.as_str(), host.region.as_str());
    let suffix = match fips {
        Fips::No => "",
        Fips::Required if FIPS_REGIONS.contains(&region) => "-fips",
        Fips::Required => {
            return Err(format!(
                "use_fips_mode is set, and region {region} has no FIPS endpoint; there is one in {}. Unset it, or set \
                 deploy_control_endpoint",
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
    use crate::identity::Region;

    fn host(region: &str, domain: Option<&str>) -> Host {
        let region = Region::parse(region).unwrap();
        let domain = domain.unwrap_or(region.domain()).to_owned();
        Host { identifier: "arn:aws:iam::111122223333:user/host-1".into(), region, domain, instance: None }
    }

    #[test]
    fn endpoints_by_region_partition_and_settings() {
        use Fips::{No, Required};
        use Flavor::{Ordinary, Secure};
        for (flavor, region, domain, fips, expected) in [
            (Ordinary, "eu-west-1", None, No, "codedeploy-commands.eu-west-1.amazonaws.com"),
            (Secure, "eu-west-1", None, No, "codedeploy-commands-secure.eu-west-1.amazonaws.com"),
            (Ordinary, "cn-north-1", None, No, "codedeploy-commands.cn-north-1.amazonaws.com.cn"),
            (Secure, "cn-northwest-1", None, No, "codedeploy-commands-secure.cn-northwest-1.amazonaws.com.cn"),
            (Ordinary, "us-gov-west-1", None, No, "codedeploy-commands.us-gov-west-1.amazonaws.com"),
            (Ordinary, "eusc-de-east-1", None, No, "codedeploy-commands.eusc-de-east-1.amazonaws.eu"),
            (Ordinary, "us-iso-east-1", None, No, "codedeploy-commands.us-iso-east-1.c2s.ic.gov"),
            (Ordinary, "us-isob-east-1", None, No, "codedeploy-commands.us-isob-east-1.sc2s.sgov.gov"),
            // The metadata's own word goes before what is known here.
            (Ordinary, "us-iso-east-1", Some("iso.example"), No, "codedeploy-commands.us-iso-east-1.iso.example"),
            (Secure, "xx-new-1", Some("new.example"), No, "codedeploy-commands-secure.xx-new-1.new.example"),
            (Ordinary, "us-east-1", None, Required, "codedeploy-commands-fips.us-east-1.amazonaws.com"),
            (Ordinary, "us-east-2", None, Required, "codedeploy-commands-fips.us-east-2.amazonaws.com"),
            (Ordinary, "us-west-1", None, Required, "codedeploy-commands-fips.us-west-1.amazonaws.com"),
            (Ordinary, "us-west-2", None, Required, "codedeploy-commands-fips.us-west-2.amazonaws.com"),
            (Ordinary, "us-gov-east-1", None, Required, "codedeploy-commands-fips.us-gov-east-1.amazonaws.com"),
            (Secure, "us-gov-west-1", None, Required, "codedeploy-commands-secure-fips.us-gov-west-1.amazonaws.com"),
        ] {
            let found = Target::Aws(fips).endpoint(flavor, &host(region, domain)).unwrap();
            assert_eq!(found.as_str(), format!("https://{expected}/"));
        }
        for region in ["eu-west-1", "cn-north-1", "us-iso-east-1", "ca-central-1"] {
            let error = Target::Aws(Required).endpoint(Ordinary, &host(region, None)).unwrap_err();
            assert!(
                error.contains("use_fips_mode") && error.contains(region) && error.contains("us-west-2"),
                "{error}"
            );
        }
        let own = Url::parse("https://deploy.example.com:8443/").unwrap();
        for region in ["eu-west-1", "us-iso-east-1"] {
            assert_eq!(Target::Fixed(own.clone()).endpoint(Secure, &host(region, None)), Ok(own.clone()));
        }
    }
}
