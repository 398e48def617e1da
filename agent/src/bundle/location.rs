//! Where a bundle is, as a person writes it.

use url::Url;

use crate::deployment::BundleType;
use crate::deployment::revision::{GitHubSource, S3Source};

/// Why a text names no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// No object in S3.
    #[error("{location:?} does not name an object in S3: {reason}; expected s3://BUCKET/KEY[?versionId=…&etag=…]")]
    S3 {
        /// What was given.
        location: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No commit on GitHub.
    #[error(
        "{location:?} does not name a commit on GitHub: {reason}; expected \
         https://github.com/ACCOUNT/REPOSITORY/{{commit|tree|tarball|zipball}}/COMMIT, \
         https://github.com/ACCOUNT/REPOSITORY/archive/COMMIT.{{tar.gz|zip}}, or \
         https://api.github.com/repos/ACCOUNT/REPOSITORY/{{tarball|zipball}}/COMMIT"
    )]
    GitHub {
        /// What was given, without credentials.
        location: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Parses `s3://bucket/key?versionId=…&etag=…`. The key is taken as it is; a question mark belongs to
/// it unless nothing but these two parameters follows.
pub fn parse_s3_location(location: &str, bundle_type: BundleType) -> Result<S3Source, LocationError> {
    let error = |reason| LocationError::S3 { location: location.to_owned(), reason };
    let rest = location.strip_prefix("s3://").ok_or_else(|| error("it does not begin with s3://"))?;
    let (bucket, key) = rest.split_once('/').ok_or_else(|| error("there is no key"))?;
    let (key, version, etag) = match key.rsplit_once('?').and_then(|(key, query)| Some((key, parameters(query)?))) {
        Some((key, (version, etag))) => (key, version, etag),
        None => (key, None, None),
    };
    if bucket.is_empty() {
        return Err(error("there is no bucket"));
    }
    if key.is_empty() {
        return Err(error("there is no key"));
    }
    Ok(S3Source { bucket: bucket.to_owned(), key: key.to_owned(), bundle_type, version, etag, sha256: None })
}

/// Version and ETag, or nothing if there is any other parameter.
fn parameters(query: &str) -> Option<(Option<String>, Option<String>)> {
    let (mut version, mut etag) = (None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let value = Some(value.trim_matches('"').to_owned()).filter(|value| !value.is_empty());
        match &*name {
            "versionId" => version = value,
            "etag" | "eTag" => etag = value,
            _ => return None,
        }
    }
    Some((version, etag))
}

/// Whether a text is an address on the web, where GitHub is all that is fetched from.
pub fn is_web_address(location: &str) -> bool {
    let scheme = location.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
}

/// Parses the address of a commit on GitHub, or of an archive of it: what a browser shows, or the API's. A branch or
/// tag without a slash does for a commit. `bundle_type` is what the person asked for; an address of an archive has its
/// own, which it must not contradict.
pub fn parse_github_location(location: &str, bundle_type: Option<BundleType>) -> Result<GitHubSource, LocationError> {
    let mut shown = location.to_owned();
    let url = Url::parse(location);
    if let Ok(mut url) = url.clone() {
        // A password in it is not to be repeated. There is none in an address that has no host.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        shown = url.to_string();
    }
    let error = |reason| LocationError::GitHub { location: shown.clone(), reason };
    let url = url.map_err(|_| error("it is no address"))?;
    if url.scheme() != "https" {
        return Err(error("it is not https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(error("it has credentials; a token for a private repository belongs into GITHUB_TOKEN"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(error("it has more than a path"));
    }
    let segments: Vec<&str> = url.path().trim_matches('/').split('/').collect();
    let (account, repository, kind, reference) = match (url.host_str(), &segments[..]) {
        (Some("api.github.com"), ["repos", account, repository, kind @ ("tarball" | "zipball"), reference])
        | (
            Some("github.com" | "www.github.com"),
            [account, repository, kind @ ("commit" | "tree" | "tarball" | "zipball" | "archive"), reference],
        ) => (*account, *repository, *kind, *reference),
        (Some("api.github.com" | "github.com" | "www.github.com"), _) => {
            return Err(error("its path is not one of a commit"));
        }
        _ => return Err(error("its host is not github.com")),
    };
    let (commit, own) = match kind {
        "tarball" => (reference, Some(BundleType::Tar)),
        "zipball" => (reference, Some(BundleType::Zip)),
        "archive" => match (reference.strip_suffix(".tar.gz"), reference.strip_suffix(".zip")) {
            (Some(commit), _) => (commit, Some(BundleType::Tar)),
            (None, Some(commit)) => (commit, Some(BundleType::Zip)),
            (None, None) => return Err(error("the archive is neither .tar.gz nor .zip")),
        },
        _ => (reference, None),
    };
    // The API's tarballs are gzipped, and nothing is asked about which of the two names that has.
    let wanted = bundle_type.map(|wanted| if wanted == BundleType::Tgz { BundleType::Tar } else { wanted });
    if own.zip(wanted).is_some_and(|(own, wanted)| own != wanted) {
        return Err(error("the archive that it names is of another type than --type"));
    }
    let bundle_type = own.or(wanted).unwrap_or(BundleType::Tar);
    GitHubSource::new(account, repository, commit, bundle_type).ok_or_else(|| {
        error("account, repository and commit have letters, digits, dots, underscores and hyphens alone")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_github_are_taken_apart() {
        use BundleType::{Tar, Tgz, Zip};
        for (location, wanted, commit, bundle_type) in [
            ("https://github.com/acme/shop/commit/c0ffee", None, "c0ffee", Tar),
            ("https://github.com/acme/shop/commit/c0ffee/", Some(Zip), "c0ffee", Zip),
            ("https://www.github.com/acme/shop/tree/v1.2", Some(Tgz), "v1.2", Tar),
            ("https://github.com/acme/shop/tarball/main", Some(Tgz), "main", Tar),
            ("https://github.com/acme/shop/archive/c0ffee.tar.gz", None, "c0ffee", Tar),
            ("https://github.com/acme/shop/archive/c0ffee.zip", Some(Zip), "c0ffee", Zip),
            ("https://api.github.com/repos/acme/shop/tarball/c0ffee", None, "c0ffee", Tar),
            ("https://api.github.com/repos/acme/shop/zipball/c0ffee", None, "c0ffee", Zip),
        ] {
            let found = parse_github_location(location, wanted).unwrap();
            assert_eq!((&*found.account, &*found.repository, &*found.commit), ("acme", "shop", commit), "{location}");
            assert_eq!(found.bundle_type, bundle_type, "{location}");
            assert!(is_web_address(location));
        }
        for (bad, said) in [
            ("http://github.com/acme/shop/commit/c0ffee", "https"),
            ("https://github.com/acme/shop", "path"),
            ("https://github.com/acme/shop/tree/feature/x", "path"),
            ("https://github.com/acme/shop/archive/c0ffee.rar", "archive"),
            ("https://github.com/acme/sh%2Fop/commit/c0ffee", "letters"),
            ("https://github.com/acme/shop/commit/..", "path"),
            ("https://github.com/acme/shop/tarball/c0ffee?x=1", "path"),
            ("https://example.com/acme/shop/commit/c0ffee", "github.com"),
            ("https://github.com.evil.test/acme/shop/commit/c0ffee", "host"),
            ("https://me:ghp_hidden@github.com/acme/shop/commit/c0ffee", "GITHUB_TOKEN"),
        ] {
            let error = parse_github_location(bad, None).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("ghp_hidden"), "{bad}: {error}");
        }
        assert!(parse_github_location("https://github.com/acme/shop/zipball/c0ffee", Some(Tgz)).is_err());
        assert!(!is_web_address("s3://b/k") && !is_web_address("/srv/https://x"));
    }

    #[test]
    fn locations_are_taken_apart() {
        for (location, bucket, key, version, etag) in [
            ("s3://b/k.tgz", "b", "k.tgz", None, None),
            ("s3://b/deep/er/k", "b", "deep/er/k", None, None),
            ("s3://b/k?versionId=v1&etag=%22abc%22", "b", "k", Some("v1"), Some("abc")),
            ("s3://b/k?etag=abc-2", "b", "k", None, Some("abc-2")),
            ("s3://b/what?now", "b", "what?now", None, None),
            ("s3://b/what?now?versionId=2", "b", "what?now", Some("2"), None),
            ("s3://b/k?versionId=", "b", "k", None, None),
        ] {
            let found = parse_s3_location(location, BundleType::Tgz).unwrap();
            let found = (&*found.bucket, &*found.key, found.version.as_deref(), found.etag.as_deref());
            assert_eq!(found, (bucket, key, version, etag), "{location}");
        }
        for bad in ["", "b/k", "s3://", "s3://b", "s3://b/", "s3:///k", "s3://b/?versionId=1", "https://b/k"] {
            assert!(parse_s3_location(bad, BundleType::Tgz).is_err(), "{bad}");
        }
    }
}
