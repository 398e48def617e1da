//! What is in the way of a plan, as it is shown and as JSON.

use std::path::PathBuf;

use serde::Serialize;

use crate::ids::{DeploymentId, GroupId};
use crate::plan::conflict::PathOwner;
use crate::plan::manifest::Installer;
use crate::plan::{Conflict, path_text};

/// One thing that is in the way.
#[derive(Debug, Serialize)]
pub(super) struct Clash {
    #[serde(with = "path_text::option", skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<PathBuf>,
    /// To whom something that exists already belongs, if anybody is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    pub(super) message: String,
}

/// To whom a path belongs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Owner {
    Group { group: GroupId, deployment: DeploymentId },
    Packages { packages: Vec<String> },
}

impl From<&Conflict> for Clash {
    fn from(conflict: &Conflict) -> Self {
        Self { path: path_of(conflict), owner: owner_of(conflict), message: conflict.to_string() }
    }
}

/// The path on the host that a clash is about, if it is about one.
fn path_of(conflict: &Conflict) -> Option<PathBuf> {
    match conflict {
        Conflict::Exists { path, .. }
        | Conflict::DuplicateTarget { path, .. }
        | Conflict::TwoPermissions { path, .. }
        | Conflict::FileObject { path, .. }
        | Conflict::DefaultAclOnFile { path, .. }
        | Conflict::NoAcls { path, .. }
        | Conflict::NoLabels { path, .. }
        | Conflict::ForeignEntries { path, .. }
        | Conflict::SymlinkInTheWay { path, .. }
        | Conflict::SymlinkOnTheWay { path, .. }
        | Conflict::SymlinkObject { path, .. }
        | Conflict::Unchangeable { path, .. }
        | Conflict::UnsafeMode { path, .. }
        | Conflict::OwnState { path, .. } => Some(path.clone()),
        Conflict::MissingSource { .. }
        | Conflict::SourceOutside { .. }
        | Conflict::UnsupportedSource { .. }
        | Conflict::SameAccount { .. }
        | Conflict::NoSemanage { .. }
        | Conflict::UnknownLabel { .. }
        | Conflict::UnconfinedLabel { .. }
        | Conflict::UnknownAccount { .. }
        | Conflict::HeldBack(_) => None,
    }
}

fn owner_of(conflict: &Conflict) -> Option<Owner> {
    let Conflict::Exists { owner, .. } = conflict else { return None };
    match owner {
        PathOwner::Group(Installer { group, deployment }) => {
            Some(Owner::Group { group: group.clone(), deployment: deployment.clone() })
        }
        PathOwner::Packages(packages) => Some(Owner::Packages { packages: packages.clone() }),
        PathOwner::Unknown => None,
    }
}
