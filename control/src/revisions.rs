//! Revisions: what can be deployed, and where its bundle is.

use serde::{Deserialize, Serialize};
use slipway_protocol::specification as wire;

use crate::error::ApiError;
use crate::text::words;

words! {
    /// Archive formats that a host can unpack.
    pub enum BundleType {
        /// Plain tar.
        Tar = "tar",
        /// Gzipped tar.
        Tgz = "tgz",
        /// Zip.
        Zip = "zip",
    }
}

/// Where a revision is. Its JSON is that of the public API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireLocation", into = "WireLocation")]
pub enum RevisionLocation {
    /// A bundle in S3.
    S3(S3Location),
    /// A commit on GitHub.
    GitHub(GitHubLocation),
}

/// A bundle in S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    /// Bucket, not empty.
    pub bucket: String,
    /// Key, not empty.
    pub key: String,
    /// Format of the bundle.
    pub bundle_type: BundleType,
    /// Version of the object, if it has to be a certain one.
    pub version: Option<String>,
    /// ETag that the object must have, without quotes.
    pub etag: Option<String>,
}

/// A commit on GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHubLocation {
    /// Owner of the repository.
    pub account: String,
    /// Its name.
    pub repository: String,
    /// Full commit id.
    pub commit_id: String,
}

impl RevisionLocation {
    /// From a request's `revision` member.
    ///
    /// # Errors
    /// `RevisionRequiredException`, `InvalidRevisionException`.
    pub fn from_request(location: Option<WireLocation>) -> Result<Self, ApiError> {
        let location = location.ok_or_else(|| {
            ApiError::client("RevisionRequiredException", "The revision is missing from the request.")
        })?;
        Self::try_from(location).map_err(|reason| ApiError::client("InvalidRevisionException", reason))
    }

    /// One text for equal locations, by which they are stored and compared.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// For people, in a few words: where it is, and which version of it.
    pub fn short(&self) -> String {
        match self {
            Self::S3(S3Location { bucket, key, version: Some(version), .. }) => {
                format!("s3://{bucket}/{key} ({version})")
            }
            Self::S3(S3Location { bucket, key, .. }) => format!("s3://{bucket}/{key}"),
            Self::GitHub(location) => format!("{}/{}@{}", location.account, location.repository, location.commit_id),
        }
    }

    /// The bundle in S3, if it is one.
    pub fn s3(&self) -> Option<&S3Location> {
        match self {
            Self::S3(location) => Some(location),
            Self::GitHub(_) => None,
        }
    }

    /// As the deployment specification has it.
    pub fn specification(&self) -> wire::Revision {
        match self {
            Self::S3(location) => wire::Revision {
                revision_type: Some("S3".to_owned()),
                s3_revision: Some(wire::S3Revision {
                    bucket: Some(location.bucket.clone()),
                    key: Some(location.key.clone()),
                    bundle_type: Some(location.bundle_type.to_string()),
                    version: location.version.clone(),
                    etag: location.etag.clone(),
                    checksum_sha256: None,
                }),
                ..wire::Revision::default()
            },
            Self::GitHub(location) => wire::Revision {
                revision_type: Some("GitHub".to_owned()),
                github_revision: Some(wire::GitHubRevision {
                    account: Some(location.account.clone()),
                    repository: Some(location.repository.clone()),
                    commit_id: Some(location.commit_id.clone()),
                    // GitHub serves Linux hosts a gzipped tar under this name.
                    bundle_type: Some("tar".to_owned()),
                }),
                ..wire::Revision::default()
            },
        }
    }
}

/// `RevisionLocation` as the public API writes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WireLocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    revision_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s3_location: Option<WireS3>,
    #[serde(rename = "gitHubLocation", skip_serializing_if = "Option::is_none")]
    github_location: Option<WireGitHub>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireS3 {
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(rename = "eTag", skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireGitHub {
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_id: Option<String>,
}

impl TryFrom<WireLocation> for RevisionLocation {
    type Error = String;

    fn try_from(wire: WireLocation) -> Result<Self, Self::Error> {
        match wire.revision_type.as_deref() {
            Some("S3") => Ok(Self::S3(s3(wire.s3_location.unwrap_or_default())?)),
            Some("GitHub") => Ok(Self::GitHub(github(wire.github_location.unwrap_or_default())?)),
            Some(other @ ("String" | "AppSpecContent")) => {
                Err(format!("A revision of type {other} is for Lambda and ECS; hosts take those of type S3 or GitHub."))
            }
            Some(other) => Err(format!("revisionType {other:?} is not one of S3, GitHub.")),
            None => Err("The revision has no revisionType; give S3 or GitHub.".to_owned()),
        }
    }
}

fn s3(wire: WireS3) -> Result<S3Location, String> {
    let bundle_type = required(wire.bundle_type, "s3Location.bundleType")?;
    Ok(S3Location {
        bucket: required(wire.bucket, "s3Location.bucket")?,
        key: required(wire.key, "s3Location.key")?,
        bundle_type: bundle_type.parse().map_err(|error| format!("s3Location.bundleType: {error}"))?,
        version: wire.version.filter(|version| !version.is_empty()),
        etag: wire.etag.map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty()),
    })
}

fn github(wire: WireGitHub) -> Result<GitHubLocation, String> {
    let full = required(wire.repository, "gitHubLocation.repository")?;
    let (account, repository) = full
        .split_once('/')
        .filter(|(account, repository)| !account.is_empty() && !repository.is_empty() && !repository.contains('/'))
        .ok_or_else(|| format!("gitHubLocation.repository is {full:?}; it has the form account/repository."))?;
    let commit_id = required(wire.commit_id, "gitHubLocation.commitId")?;
    if commit_id.len() != 40 || !commit_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("gitHubLocation.commitId is not a full commit id of 40 hexadecimal digits.".to_owned());
    }
    Ok(GitHubLocation { account: account.to_owned(), repository: repository.to_owned(), commit_id })
}

fn required(member: Option<String>, name: &str) -> Result<String, String> {
    member.filter(|text| !text.is_empty() && text.len() <= 2048).ok_or_else(|| format!("The revision has no {name}."))
}

impl From<RevisionLocation> for WireLocation {
    fn from(location: RevisionLocation) -> Self {
        match location {
            RevisionLocation::S3(S3Location { bucket, key, bundle_type, version, etag }) => Self {
                revision_type: Some("S3".to_owned()),
                s3_location: Some(WireS3 {
                    bucket: Some(bucket),
                    key: Some(key),
                    bundle_type: Some(bundle_type.to_string()),
                    version,
                    etag,
                }),
                github_location: None,
            },
            RevisionLocation::GitHub(GitHubLocation { account, repository, commit_id }) => Self {
                revision_type: Some("GitHub".to_owned()),
                s3_location: None,
                github_location: Some(WireGitHub {
                    repository: Some(format!("{account}/{repository}")),
                    commit_id: Some(commit_id),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<RevisionLocation, ApiError> {
        RevisionLocation::from_request(Some(serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn both_forms_survive_a_round_trip() {
        for text in [
            r#"{"revisionType":"S3","s3Location":{"bucket":"b","key":"k/v1.zip","bundleType":"zip","version":"3","eTag":"ab"}}"#,
            r#"{"revisionType":"S3","s3Location":{"bucket":"b","key":"k","bundleType":"tgz"}}"#,
            r#"{"revisionType":"GitHub","gitHubLocation":{"repository":"me/app","commitId":"0123456789012345678901234567890123456789"}}"#,
        ] {
            assert_eq!(parse(text).unwrap().canonical(), text);
        }
    }

    #[test]
    fn quotes_around_an_etag_do_not_make_another_revision() {
        let quoted =
            parse(r#"{"revisionType":"S3","s3Location":{"bucket":"b","key":"k","bundleType":"zip","eTag":"\"ab\""}}"#);
        let plain =
            parse(r#"{"revisionType":"S3","s3Location":{"bucket":"b","key":"k","bundleType":"zip","eTag":"ab"}}"#);
        assert_eq!(quoted.unwrap(), plain.unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("{}", "revisionType"),
            (r#"{"revisionType":"S3"}"#, "bundleType"),
            (r#"{"revisionType":"S3","s3Location":{"bucket":"b","key":"k","bundleType":"rar"}}"#, "rar"),
            (r#"{"revisionType":"S3","s3Location":{"key":"k","bundleType":"zip"}}"#, "bucket"),
            (r#"{"revisionType":"AppSpecContent"}"#, "Lambda"),
            (r#"{"revisionType":"GitHub","gitHubLocation":{"repository":"x","commitId":"1"}}"#, "account/repository"),
            (r#"{"revisionType":"GitHub","gitHubLocation":{"repository":"x/y","commitId":"main"}}"#, "commit id"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.name, "InvalidRevisionException");
            assert!(error.message.contains(word), "{text}: {}", error.message);
        }
        assert_eq!(RevisionLocation::from_request(None).unwrap_err().name, "RevisionRequiredException");
    }
}
