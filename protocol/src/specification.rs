//! The deployment specification: the signed content that tells an agent what to deploy.

use serde::{Deserialize, Serialize};

/// The specification as it travels. Nothing here is checked beyond its JSON type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeploymentSpecification {
    /// Required: an id, or an ARN that ends in `deployment/<id>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<String>,
    /// Required: the group's UUID, stable when the group is renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_group_id: Option<String>,
    /// Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_group_name: Option<String>,
    /// Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_name: Option<String>,
    /// `user`, `codeDeployRollback`, `autoscaling`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_creator: Option<String>,
    /// `IN_PLACE` or `BLUE_GREEN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_type: Option<String>,
    /// Where the AppSpec is in the revision; `appspec.yml` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_spec_filename: Option<String>,
    /// Overrides of what the agent does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_action_overrides: Option<AgentActionOverrides>,
    /// Every event that this deployment can run, if the service says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_possible_lifecycle_events: Option<Vec<String>>,
    /// A deployment on this host whose unpacked revision is to be used again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_archive_from_deployment_id: Option<String>,
    /// Token for a GitHub revision. A secret.
    #[serde(rename = "GitHubAccessToken", skip_serializing_if = "Option::is_none")]
    pub github_access_token: Option<String>,
    /// What to deploy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Slipway's own: the host that the specification is for, and how long it counts. Other agents ignore it.
    #[serde(rename = "SlipwayBinding", skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// Binds a specification to a host and a time. AWS's service sends none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Binding {
    /// The host's identifier, as in its polls.
    pub host_identifier: String,
    /// When it was signed: seconds since the epoch.
    pub issued_at: i64,
    /// From when on it does not count any more: seconds since the epoch.
    pub expires_at: i64,
    /// Grows from each deployment of a group to the next.
    pub sequence: i64,
}

/// Wrapper around [`AgentOverrides`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentActionOverrides {
    /// The overrides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_overrides: Option<AgentOverrides>,
}

/// What a deployment changes of the agent's behaviour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentOverrides {
    /// `DISALLOW`, `OVERWRITE` or `RETAIN`, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_exists_behavior: Option<String>,
}

/// Where the revision's bundle is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Revision {
    /// `S3`, `GitHub`, `Local File` or `Local Directory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_type: Option<String>,
    /// With type `S3`.
    #[serde(rename = "S3Revision", skip_serializing_if = "Option::is_none")]
    pub s3_revision: Option<S3Revision>,
    /// With type `GitHub`.
    #[serde(rename = "GitHubRevision", skip_serializing_if = "Option::is_none")]
    pub github_revision: Option<GitHubRevision>,
    /// With the local types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_revision: Option<LocalRevision>,
}

/// A bundle in S3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct S3Revision {
    /// Bucket name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Object key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `tar`, `tgz` or `zip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_type: Option<String>,
    /// Object version; AWS sends an explicit null when there is none, and so do we.
    pub version: Option<String>,
    /// Expected ETag, with or without quotes; null when there is none.
    #[serde(rename = "ETag")]
    pub etag: Option<String>,
    /// Slipway's own: SHA-256 of the bundle in hexadecimal. Other agents ignore it.
    #[serde(rename = "ChecksumSHA256", skip_serializing_if = "Option::is_none")]
    pub checksum_sha256: Option<String>,
}

/// A commit on GitHub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GitHubRevision {
    /// Owner of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Repository name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Full commit id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_id: Option<String>,
    /// `tar` or `zip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_type: Option<String>,
}

/// A bundle or a directory on the host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LocalRevision {
    /// Absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// `tar`, `tgz`, `zip` or `directory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_type: Option<String>,
}
