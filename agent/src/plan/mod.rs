//! What an install will change, as data, before it changes anything.
//!
//! A [`Plan`] is an ordered list of paths, each with the state that it is to have and the state that
//! it has. It is a pure function of its [`Grounds`].

pub mod acl;
pub mod conflict;
pub mod grounds;
mod heritage;
pub mod label;
mod label_rules;
pub mod link;
pub mod manifest;
pub mod path_text;
mod permission;
pub mod plain_path;
pub mod source;
pub mod state;
mod state_text;
pub mod target;

mod build;
mod show;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use acl::Acl;
pub use build::build;
pub use conflict::{Conflict, Conflicts, PathOwner};
pub use grounds::{Grounds, Refusals};
pub use label::{Label, PathExpression, Rule};
pub use link::{Link, Links};
pub use manifest::{Claims, Installer, Manifest, ManifestToBe, Owned, OwnedToBe};
pub use source::{Led, Sources};
pub use state::{Attrs, Identity, PathState, Sha256, Time, is_unsafe_mode};
pub use target::{Index, Role, Target, expand};

use crate::ids::{DeploymentId, GroupId};

/// From so many paths on, a plan of which at most one in so many changes is one that keeps most.
const MANY: usize = 1000;
const MOSTLY: usize = 4;

/// What an install will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The group.
    pub group: GroupId,
    /// The deployment.
    pub deployment: DeploymentId,
    /// What happens at each path, in the order of paths: a directory comes before what is in it.
    pub steps: Vec<Step>,
    /// What happens to the host's rules for SELinux labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// The symlinks through which it installs.
    #[serde(default, skip_serializing_if = "Links::is_empty")]
    pub links: Links,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// What keeps a plan from being made, and what it would do but for that. It is no [`Plan`]: nobody can install
/// by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{conflicts}")]
pub struct Blocked {
    /// What is in the way.
    pub conflicts: Conflicts,
    /// What would happen at the other paths, in their order.
    pub steps: Vec<Step>,
    /// What would happen to the host's rules for SELinux labels.
    pub rules: Vec<Rule>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// What happens at one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Absolute, without symlinks on the way.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// What happens.
    pub change: Change,
    /// What is there now; nothing where that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Box<PathState>>,
    /// What is to be there.
    pub want: PathState,
    /// Which inode is there now, where it does not stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Box<Identity>>,
    /// What the group gave a directory, where somebody else changed that since and the change stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Box<Attrs>>,
    /// Where in the revision it comes from, relative to its root; nothing of what stays.
    #[serde(default, with = "path_text::option", skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
}

/// What happens at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Nothing is there, something will be.
    Create,
    /// Something else takes the place of what is there.
    Replace,
    /// What the group installed earlier goes.
    Remove,
    /// A directory that the group made goes, if nothing is left in it.
    RemoveDirectory,
    /// A directory of the group gets another owner, mode, access control list or label.
    Attributes,
    /// The content is as it should be; only the modification time is set.
    Touch,
    /// All is as it should be.
    Keep,
    /// Somebody else's is there and stays, as RETAIN says. The deployment does not own it.
    Retain,
}

impl Change {
    /// Whether it does not leave everything as it is.
    pub fn is_one(self) -> bool {
        !matches!(self, Self::Keep | Self::Retain)
    }
}

impl Plan {
    /// The steps that change something.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.changes_something())
    }

    /// Whether it is of many paths, and most of them stay as they are.
    pub fn is_mostly_kept(&self) -> bool {
        self.steps.len() >= MANY && self.changes().count() <= self.steps.len() / MOSTLY
    }

    /// The steps that change something and the rules, and nothing else.
    pub fn into_changes(mut self) -> (Vec<Step>, Vec<Rule>) {
        self.steps.retain(Step::changes_something);
        (self.steps, self.rules)
    }

    /// What the deployment owns once it is installed.
    pub fn manifest(&self, serial: u64, at: Timestamp) -> ManifestToBe<'_> {
        let Self { group, deployment, links, steps, .. } = self;
        ManifestToBe { group, deployment, serial, at, links, steps }
    }
}

impl Step {
    /// What is there now.
    pub fn was(&self) -> &PathState {
        self.was.as_deref().unwrap_or(&self.want)
    }

    /// What the deployment owns by this step, as it gave it.
    pub fn owned(&self) -> Option<OwnedToBe<'_>> {
        match self.change {
            Change::Create | Change::Replace | Change::Attributes | Change::Touch | Change::Keep => {
                let state = match &self.given {
                    None => Cow::Borrowed(&self.want),
                    Some(attrs) => Cow::Owned(PathState::Directory { attrs: Attrs::clone(attrs) }),
                };
                Some(OwnedToBe { path: &self.path, state })
            }
            Change::Remove | Change::RemoveDirectory | Change::Retain => None,
        }
    }

    /// Whether it does not leave everything as it is.
    pub fn changes_something(&self) -> bool {
        self.change.is_one()
    }

    /// Whether something new is made beside the path, to be put in its place.
    pub fn is_staged(&self) -> bool {
        matches!(self.change, Change::Create | Change::Replace)
    }

    /// Whether a directory is put in place here together with all that is new in it.
    pub fn is_tree(&self) -> bool {
        self.is_staged() && self.want.is_directory()
    }
}

/// The steps in groups: each is one that stands for itself, with its number, followed by those that
/// happen within the new directory that it puts in place.
pub fn trees(steps: &[Step]) -> impl Iterator<Item = (usize, &Step, &[Step])> {
    let mut number = 0;
    std::iter::from_fn(move || {
        let (first, rest) = steps.get(number..)?.split_first()?;
        let members = if first.is_tree() { count_below(&first.path, rest) } else { 0 };
        let at = number;
        number += 1 + members;
        Some((at, first, rest.get(..members).unwrap_or_default()))
    })
}

fn count_below(root: &Path, steps: &[Step]) -> usize {
    steps.iter().take_while(|step| step.path.starts_with(root)).count()
}
