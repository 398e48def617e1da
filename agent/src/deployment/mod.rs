//! The deployment specification, parsed into types that cannot be wrong.

pub mod binding;
pub mod envelope;
pub mod revision;

use std::fmt;
use std::path::{Component, Path, PathBuf};

use slipway_protocol::specification as wire;
use zeroize::Zeroizing;

pub use binding::Binding;
pub use revision::{BundleType, RevisionSource};

use crate::ids::{DeploymentId, EventName, GroupId, IdError};
use crate::lifecycle::Situation;

/// What to deploy, from where, and how.
#[derive(Clone, Debug)]
pub struct DeploymentSpec {
    /// This deployment.
    pub deployment_id: DeploymentId,
    /// Its group; owns files on the host.
    pub group_id: GroupId,
    /// The group's name, for hooks and people.
    pub group_name: String,
    /// The application's name, for hooks and people.
    pub application_name: String,
    /// Whose scripts run depends on it.
    pub situation: Situation,
    /// Where in the revision the AppSpec is looked for first.
    pub appspec_filename: RelativePath,
    /// Whether an AppSpec of another name will do.
    pub other_appspec: OtherAppSpec,
    /// What to do about files that exist already, where the service says so.
    pub file_exists_behavior: Option<FileExistsBehavior>,
    /// All events of this deployment, where the service says so.
    pub all_possible_lifecycle_events: Option<Vec<EventName>>,
    /// The events that run, in order, where that is known: a service tells it one by one.
    pub order: Option<Vec<EventName>>,
    /// A deployment on this host whose unpacked revision is to be used again.
    pub reuse_archive_from: Option<DeploymentId>,
    /// Where the revision is.
    pub source: RevisionSource,
    /// Token for a GitHub revision.
    pub github_token: Option<Secret>,
    /// Whether a signed bundle may be older than the group's newest one.
    pub older_bundle: OlderBundle,
    /// Its signer, or the user who deploys by hand.
    pub signer: Option<String>,
    /// For whom it is and for how long it counts, where the service says so.
    pub binding: Option<Binding>,
}

/// What to do with a revision that has no AppSpec of the name that the deployment gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherAppSpec {
    /// Take one of the usual names, as AWS's agent does.
    Taken,
    /// Refuse the revision: a person has named the file.
    Refused,
}

/// What to do with a signed bundle that has expired, or is older than the newest one that the group was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderBundle {
    /// Refuse it.
    Refused,
    /// Take it: a rollback goes back by design.
    Allowed,
}

/// A text that must not be seen: wiped when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, where it is put to use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

/// What Install does with a path that exists and that the group's last revision does not own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileExistsBehavior {
    /// Fail, before anything changes.
    Disallow,
    /// Replace it.
    Overwrite,
    /// Leave it.
    Retain,
}

impl FileExistsBehavior {
    /// Parses the name in any case.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "DISALLOW" => Some(Self::Disallow),
            "OVERWRITE" => Some(Self::Overwrite),
            "RETAIN" => Some(Self::Retain),
            _ => None,
        }
    }
}

impl fmt::Display for FileExistsBehavior {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Disallow => "DISALLOW",
            Self::Overwrite => "OVERWRITE",
            Self::Retain => "RETAIN",
        })
    }
}

/// A path below a revision's root: ordinary names only. Empty means the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(PathBuf);

impl RelativePath {
    /// Parses a path that must stay inside its root; leading slashes and `.` are dropped.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut path = PathBuf::new();
        if text.contains('\0') {
            return Err(format!("{text:?} holds a NUL character"));
        }
        for component in Path::new(text.trim_start_matches('/')).components() {
            match component {
                Component::Normal(name) => path.push(name),
                Component::CurDir => {}
                _ => return Err(format!("{text:?} leaves the revision")),
            }
        }
        Ok(Self(path))
    }

    /// As a path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.as_os_str().is_empty()
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { out.write_str("/") } else { self.0.display().fmt(out) }
    }
}

/// Why a specification is refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is not JSON, or a member has another JSON type.
    #[error("the deployment specification is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// A required member is missing or empty.
    #[error("the deployment specification lacks {0}")]
    Missing(&'static str),
    /// An id is not safe to use as a path.
    #[error("the deployment specification is refused: {0}")]
    Id(#[from] IdError),
    /// A member has a value that it cannot have.
    #[error("the deployment specification is refused: {member} is {found:?}, expected {expected}")]
    Value {
        /// The member's name.
        member: &'static str,
        /// Its value.
        found: String,
        /// What it can be.
        expected: &'static str,
    },
}

impl DeploymentSpec {
    /// Parses the signed content of a service's specification.
    pub fn from_json(text: &[u8]) -> Result<Self, SpecError> {
        let mut spec: wire::DeploymentSpecification = serde_json::from_slice(text)?;
        let source = RevisionSource::from_wire(spec.revision.take().unwrap_or_default())?;
        Self::parse(spec, source)
    }

    /// A specification that this process makes up for itself; `spec` need not name a revision.
    pub fn local(spec: wire::DeploymentSpecification, source: RevisionSource) -> Result<Self, SpecError> {
        Self::parse(spec, source)
    }

    fn parse(spec: wire::DeploymentSpecification, source: RevisionSource) -> Result<Self, SpecError> {
        let rollback = spec.deployment_creator.as_deref() == Some("codeDeployRollback");
        let blue_green = match spec.deployment_type.as_deref() {
            None | Some("" | "IN_PLACE") => false,
            Some("BLUE_GREEN") => true,
            Some(other) => return Err(value("DeploymentType", other, "IN_PLACE or BLUE_GREEN")),
        };
        let behavior = spec
            .agent_action_overrides
            .and_then(|actions| actions.agent_overrides)
            .and_then(|overrides| overrides.file_exists_behavior)
            .filter(|name| !name.is_empty());
        let filename = spec.app_spec_filename.filter(|name| !name.is_empty()).unwrap_or_else(|| "appspec.yml".into());
        let events = spec
            .all_possible_lifecycle_events
            .map(|names| names.iter().map(|name| EventName::parse(name)).collect::<Result<Vec<_>, _>>())
            .transpose()?;
        Ok(Self {
            deployment_id: DeploymentId::parse(&required(spec.deployment_id, "DeploymentId")?)?,
            group_id: GroupId::parse(&required(spec.deployment_group_id, "DeploymentGroupId")?)?,
            group_name: required(spec.deployment_group_name, "DeploymentGroupName")?,
            application_name: required(spec.application_name, "ApplicationName")?,
            situation: match (blue_green, rollback) {
                (false, _) => Situation::Ordinary,
                (true, false) => Situation::BlueGreen,
                (true, true) => Situation::BlueGreenRollback,
            },
            appspec_filename: RelativePath::parse(&filename)
                .ok()
                .filter(|path| !path.is_root())
                .ok_or_else(|| value("AppSpecFilename", &filename, "a file inside the revision"))?,
            other_appspec: OtherAppSpec::Taken,
            file_exists_behavior: behavior
                .map(|name| {
                    FileExistsBehavior::parse(&name)
                        .ok_or_else(|| value("FileExistsBehavior", &name, "DISALLOW, OVERWRITE or RETAIN"))
                })
                .transpose()?,
            all_possible_lifecycle_events: events,
            order: None,
            reuse_archive_from: spec
                .reuse_archive_from_deployment_id
                .filter(|id| !id.is_empty())
                .map(|id| DeploymentId::parse(&id))
                .transpose()?,
            source,
            github_token: spec.github_access_token.map(Secret::new),
            older_bundle: if rollback { OlderBundle::Allowed } else { OlderBundle::Refused },
            signer: None,
            binding: spec.binding.map(Binding::parse).transpose()?,
        })
    }
}

fn required(member: Option<String>, name: &'static str) -> Result<String, SpecError> {
    member.filter(|text| !text.is_empty()).ok_or(SpecError::Missing(name))
}

fn value(member: &'static str, found: &str, expected: &'static str) -> SpecError {
    SpecError::Value { member, found: found.chars().take(200).collect(), expected }
}

#[cfg(test)]
mod tests;
