use std::fmt::Write;

use url::Url;

use super::{Endpoint, Kind, Stack};
use crate::deployment::revision::S3Source;
use crate::identity::Region;

/// The address of an object: virtual-host style on AWS, where certificates cover one label before
/// `s3`; path style for dotted or old buckets and for other endpoints.
pub(in crate::bundle) fn address(
    endpoint: &Endpoint,
    region: &Region,
    domain: &str,
    source: &S3Source,
) -> Result<Url, String> {
    let S3Source { bucket, key, version, .. } = source;
    check_bucket(bucket)?;
    if key.split('/').any(|part| part == "." || part == "..") {
        return Err("a key with . or .. as a part of its path cannot be requested".to_owned());
    }
    let mut address = match endpoint {
        Endpoint::Override(url) => format!("{}/{bucket}", url.as_str().trim_end_matches('/')),
        Endpoint::Aws { kind, stack } => {
            let host = host(*kind, *stack, region, domain);
            if is_dns_label(bucket) { format!("https://{bucket}.{host}") } else { format!("https://{host}/{bucket}") }
        }
    };
    address.push('/');
    encode(key, |byte| byte == b'/', &mut address);
    if let Some(version) = version {
        address.push_str("?versionId=");
        encode(version, |_| false, &mut address);
    }
    parse(&address)
}

impl Endpoint {
    /// Where it is for the buckets of a region.
    pub fn of_region(&self, region: &Region, domain: &str) -> Result<Url, String> {
        match self {
            Self::Override(url) => Ok(url.clone()),
            Self::Aws { kind, stack } => parse(&format!("https://{}/", host(*kind, *stack, region, domain))),
        }
    }
}

fn host(kind: Kind, stack: Stack, region: &Region, domain: &str) -> String {
    let service = match (kind, stack) {
        (Kind::Ordinary, Stack::Single) => "s3",
        (Kind::Ordinary, Stack::Dual) => "s3.dualstack",
        (Kind::Fips, Stack::Single) => "s3-fips",
        (Kind::Fips, Stack::Dual) => "s3-fips.dualstack",
    };
    format!("{service}.{region}.{domain}")
}

fn parse(address: &str) -> Result<Url, String> {
    Url::parse(address).map_err(|error| format!("{address} is not an address: {error}"))
}

fn check_bucket(bucket: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (3..=255).contains(&bucket.len()) && bucket.bytes().all(allowed) && bucket != "..." && !bucket.contains("..") {
        Ok(())
    } else {
        Err("its bucket cannot be one: 3 to 255 letters, digits, dots, hyphens and underscores are expected".to_owned())
    }
}

fn is_dns_label(bucket: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    bucket.len() <= 63 && bucket.bytes().all(allowed) && !bucket.starts_with('-') && !bucket.ends_with('-')
}

/// Percent-encodes everything but the unreserved characters, as the signature's definition wants it.
fn encode(text: &str, kept: impl Fn(u8) -> bool, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || kept(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::BundleType;

    const AWS: Endpoint = Endpoint::Aws { kind: Kind::Ordinary, stack: Stack::Single };

    fn of(endpoint: &Endpoint, region: &str, bucket: &str, key: &str) -> Result<String, String> {
        let source = S3Source {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            bundle_type: BundleType::Tgz,
            version: Some("a/b+c=".to_owned()),
            etag: None,
            sha256: None,
        };
        let region = Region::parse(region).unwrap();
        address(endpoint, &region, region.domain(), &source).map(String::from)
    }

    #[test]
    fn buckets_are_addressed_by_host_or_by_path() {
        let (aws, fips) = (&AWS, &Endpoint::Aws { kind: Kind::Fips, stack: Stack::Single });
        let dual = &Endpoint::Aws { kind: Kind::Ordinary, stack: Stack::Dual };
        let both = &Endpoint::Aws { kind: Kind::Fips, stack: Stack::Dual };
        let query = "?versionId=a%2Fb%2Bc%3D";
        let own = Endpoint::Override("https://s3.example.com:8443/base/".parse().unwrap());
        for (endpoint, region, bucket, key, expected) in [
            (aws, "eu-west-1", "bucket", "a/k.tgz", "https://bucket.s3.eu-west-1.amazonaws.com/a/k.tgz"),
            (aws, "cn-north-1", "bucket", "k", "https://bucket.s3.cn-north-1.amazonaws.com.cn/k"),
            (fips, "us-east-1", "bucket", "k", "https://bucket.s3-fips.us-east-1.amazonaws.com/k"),
            (dual, "eu-west-1", "bucket", "k", "https://bucket.s3.dualstack.eu-west-1.amazonaws.com/k"),
            (dual, "eu-west-1", "my.bucket", "k", "https://s3.dualstack.eu-west-1.amazonaws.com/my.bucket/k"),
            (both, "us-east-1", "bucket", "k", "https://bucket.s3-fips.dualstack.us-east-1.amazonaws.com/k"),
            (aws, "eu-west-1", "my.bucket", "k", "https://s3.eu-west-1.amazonaws.com/my.bucket/k"),
            (aws, "us-east-1", "Old_Bucket", "k", "https://s3.us-east-1.amazonaws.com/Old_Bucket/k"),
            (&own, "eu-west-1", "bucket", "k", "https://s3.example.com:8443/base/bucket/k"),
            (
                aws,
                "eu-west-1",
                "bucket",
                "ä +?#%/b",
                "https://bucket.s3.eu-west-1.amazonaws.com/%C3%A4%20%2B%3F%23%25/b",
            ),
            (aws, "eu-west-1", "bucket", "a//b", "https://bucket.s3.eu-west-1.amazonaws.com/a//b"),
        ] {
            assert_eq!(of(endpoint, region, bucket, key).unwrap(), format!("{expected}{query}"));
        }
    }

    #[test]
    fn without_a_bucket_it_is_where_the_bucket_would_be() {
        let region = Region::parse("us-iso-east-1").unwrap();
        assert_eq!(AWS.of_region(&region, "c2s.ic.gov").unwrap().as_str(), "https://s3.us-iso-east-1.c2s.ic.gov/");
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for (bucket, key) in [
            ("b", "k"),
            ("evil.com/x", "k"),
            ("a@b", "k"),
            ("a..b", "k"),
            ("bucket", "a/../../other/k"),
            ("bucket", "."),
        ] {
            assert!(of(&AWS, "eu-west-1", bucket, key).is_err(), "{bucket} {key}");
        }
    }
}
