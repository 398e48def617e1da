//! What a configuration leaves open to others on the way to the services: plain HTTP, and specifications by any signer.
//! `profile: strict` refuses it; otherwise `status`, `doctor` and the daemon's start say it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::environment::Environment;
use super::keys::Settings;
use super::origin::{Origin, Setting};

/// Domains that AWS's services are in.
const AWS_DOMAINS: [&str; 8] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.aws",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];

/// One thing that others on the way could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Where the address was set.
    pub origin: Origin,
    /// The key, or the variable of the environment.
    pub key: &'static str,
    /// The address that it sets.
    pub address: String,
    /// What is wrong with it.
    pub kind: Kind,
}

/// Kinds of exposures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests and answers pass in the clear.
    PlainHttp,
    /// Specifications of that service count whoever signed them.
    AnySigner,
}

/// Names of the service that gives deployments to agents: it has others for FIPS and for `enable_auth_policy`.
const AWS_SERVICES: [&str; 4] = [
    "codedeploy-commands",
    "codedeploy-commands-fips",
    "codedeploy-commands-secure",
    "codedeploy-commands-secure-fips",
];
/// Addresses of EC2's metadata service.
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether an address is the endpoint of AWS CodeDeploy for agents, in a region or in a VPC. What else lies in AWS's domains,
/// such as a load balancer, belongs to AWS's customers.
pub fn is_of_aws(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    let Some(before) = AWS_DOMAINS.iter().find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.')) else {
        return false;
    };
    match before.split('.').collect::<Vec<_>>()[..] {
        [service, _region] => AWS_SERVICES.contains(&service),
        [endpoint, service, _region, "vpce"] => endpoint.starts_with("vpce-") && AWS_SERVICES.contains(&service),
        _ => false,
    }
}

/// All that the settings and the environment leave open, in the order of the keys.
pub(super) fn exposures(settings: &Settings, environment: &Environment) -> Vec<Exposure> {
    let endpoints: [(&'static str, &Setting<Option<Url>>); 3] = [
        ("deploy_control_endpoint", &settings.deploy_control_endpoint),
        ("s3_endpoint_override", &settings.s3_endpoint_override),
        ("github_endpoint_override", &settings.github_endpoint_override),
    ];
    let mut found = Vec::new();
    for (key, setting) in endpoints {
        if let Some(url) = setting.as_ref().filter(|url| url.scheme() == "http" && !stays_here(url, Reach::Loopback)) {
            found.push(Exposure::new(key, url, setting.origin(), Kind::PlainHttp));
        }
    }
    if let Some(variable) = &environment.metadata_endpoint
        && let Ok(url) = Url::parse(&variable.value)
        && url.scheme() == "http"
        && !stays_here(&url, Reach::Metadata)
    {
        found.push(Exposure::new(variable.name, &url, &Origin::Environment(variable.name), Kind::PlainHttp));
    }
    if let Some(url) = settings.deploy_control_endpoint.as_ref()
        && !is_of_aws(url)
        && settings.deployment_spec_ca_file.is_none()
    {
        let origin = settings.deploy_control_endpoint.origin();
        found.push(Exposure::new("deploy_control_endpoint", url, origin, Kind::AnySigner));
    }
    found
}

/// How far a plain request may go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nowhere: this host alone.
    Loopback,
    /// This host, or the metadata service at its own addresses, which has no other way.
    Metadata,
}

fn stays_here(url: &Url, reach: Reach) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || reach == Reach::Metadata && address == METADATA_V4,
        Some(Host::Ipv6(address)) => address.is_loopback() || reach == Reach::Metadata && address == METADATA_V6,
        None => false,
    }
}

impl Exposure {
    fn new(key: &'static str, url: &Url, origin: &Origin, kind: Kind) -> Self {
        // What is shown must hold no password; a key's address cannot.
        let mut address = url.clone();
        let _ = (address.set_username(""), address.set_password(None));
        Self { origin: origin.clone(), key, address: address.to_string(), kind }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            Kind::PlainHttp => "use an https:// address",
            Kind::AnySigner => "name a file with the service's CA certificate in deployment_spec_ca_file",
        }
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, address, .. } = self;
        match self.kind {
            Kind::PlainHttp => write!(
                out,
                "{key} is {address}: with plain HTTP, everybody on the way can read and change what is sent"
            ),
            Kind::AnySigner => write!(
                out,
                "deployment_spec_ca_file is not set, and {key} is {address}: a deployment specification is accepted whoever \
                 signed it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn aws_is_known_by_its_domains() {
        assert!(is_of_aws(&url("https://codedeploy-commands.eu-west-1.amazonaws.com/")));
        assert!(is_of_aws(&url("https://vpce-1.codedeploy-commands.cn-north-1.vpce.amazonaws.com.cn/")));
        assert!(is_of_aws(&url("https://codedeploy-commands-fips.us-gov-west-1.amazonaws.com/")));
        assert!(is_of_aws(&url("https://codedeploy-commands.eu-west-1.api.aws/")));
        for customers in [
            "https://lb-1.eu-west-1.elb.amazonaws.com/",
            "https://codedeploy-commands.eu-west-1.elb.amazonaws.com/",
            "https://codedeploy-commands.s3.eu-west-1.amazonaws.com/",
            "https://x.codedeploy-commands.eu-west-1.amazonaws.com/",
            "https://ec2-3-4-5-6.compute.amazonaws.com/",
            "https://amazonaws.com/",
        ] {
            assert!(!is_of_aws(&url(customers)), "{customers}");
        }
        assert!(!is_of_aws(&url("https://deploy.example.com:8443/")));
        assert!(!is_of_aws(&url("https://myamazonaws.com/")));
        assert!(!is_of_aws(&url("https://127.0.0.1:8443/")));
    }

    #[test]
    fn plain_http_goes_to_this_host_and_to_the_metadata_services_addresses_alone() {
        for (text, loopback, link) in [
            ("http://localhost:9000/", true, true),
            ("http://127.8.0.1/", true, true),
            ("http://[::1]:80/", true, true),
            ("http://169.254.169.254/", false, true),
            ("http://[fd00:ec2::254]/", false, true),
            ("http://169.254.1.1/", false, false),
            ("http://[fd00:ec2::255]/", false, false),
            ("http://[fe80::1]/", false, false),
            ("http://10.0.0.1/", false, false),
            ("http://localhost.example.com/", false, false),
            ("http://127.0.0.1.example.com/", false, false),
        ] {
            assert_eq!(stays_here(&url(text), Reach::Loopback), loopback, "{text}");
            assert_eq!(stays_here(&url(text), Reach::Metadata), link, "{text}");
        }
    }
}
