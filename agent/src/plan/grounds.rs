//! What a plan is made from, gathered before and without touching anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::label::{Label, PathExpression};
use super::link::Links;
use super::manifest::Claims;
use super::state::{Identity, PathState};
use super::target::Target;
use crate::appspec::AppSpec;
use crate::deployment::FileExistsBehavior;
use crate::ids::{DeploymentId, GroupId};

/// Everything that a plan depends on.
#[derive(Clone, Debug)]
pub struct Grounds<'a> {
    /// The group.
    pub group: &'a GroupId,
    /// The deployment.
    pub deployment: &'a DeploymentId,
    /// What the author wants.
    pub appspec: &'a AppSpec,
    /// What to do about paths that exist; the AppSpec's own value goes before it.
    pub file_exists: FileExistsBehavior,
    /// To whom things belong that no permission entry gives to somebody.
    pub owners: Owners,
    /// What the host does not install whoever asks for it.
    pub refusals: Refusals,
    /// Who owns what now.
    pub claims: &'a Claims,
    /// What is there.
    pub survey: &'a Survey,
}

/// What a host does not install whoever asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// What happens to set-id bits and modes that let everyone write.
    pub modes: Modes,
    /// What happens to labels of what nothing confines.
    pub labels: Labels,
    /// The symlinks on the way to a path that are followed.
    pub links: FollowedLinks,
    /// What happens to permission entries that mean a symlink.
    pub objects: Objects,
}

/// The symlinks on the way to a path that are followed: the setting `follow_links`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FollowedLinks {
    /// Those of root, and those whose owner gains nothing.
    #[default]
    Safe,
    /// Those of root alone.
    OfRoot,
}

/// What happens to permission entries that mean a symlink. None is ever followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objects {
    /// They do not count for it.
    #[default]
    SymlinksSkipped,
    /// They are refused: `reject_symlink_permission_targets`.
    SymlinksRefused,
}

/// What happens to set-id bits and modes that let everyone write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modes {
    /// They are given.
    #[default]
    Given,
    /// A revision with one is refused: `reject_unsafe_permissions_in_bundle`.
    UnsafeRefused,
}

/// What happens to labels of what nothing confines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// They are given.
    #[default]
    Given,
    /// An AppSpec with one is refused: `reject_unconfined_selinux_in_bundle`.
    UnconfinedRefused,
}

/// What was found on the host.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What the group owns and no target is, as it is now.
    pub owned: BTreeMap<PathBuf, Place>,
    /// The accounts that the permission entries name; those that the host lacks are missing.
    pub accounts: Accounts,
    /// What the host has of SELinux; looked for only where an entry asks for it, or the group gave labels.
    pub selinux: Selinux,
    /// The agent's own directory, in which nothing may be installed.
    pub own: PathBuf,
    /// The symlinks that are followed.
    pub followed: Vec<Followed>,
    /// The same with what is known of them from earlier installs.
    pub links: Links,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// A symlink that is followed to a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// As the AppSpec names it.
    pub named: PathBuf,
    /// Where it is, without symlinks on the way.
    pub at: PathBuf,
    /// The directory.
    pub led_to: PathBuf,
}

/// What a host has of SELinux.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selinux {
    /// There is no `semanage`, so no rule for a label can be made.
    #[default]
    Unmanaged,
    /// Rules for labels can be managed.
    Managed {
        /// The host's own rules for labels of everything at a path.
        rules: BTreeMap<PathExpression, Label>,
        /// Labels that entries ask for, and the policy does not have.
        unknown: BTreeSet<Label>,
    },
}

/// A target and its place.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    /// The target.
    pub target: Target<'a>,
    /// Where it really is, if not where the AppSpec names it: without symlinks on the way.
    pub elsewhere: Option<PathBuf>,
    /// Its number among the paths that the group owns.
    pub claim: Option<usize>,
    /// What is there.
    pub place: Place,
}

impl Site<'_> {
    /// Where it really is.
    pub fn path(&self) -> &Path {
        self.elsewhere.as_deref().unwrap_or(&self.target.path)
    }
}

/// A path on the host.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// What is there, if anything.
    pub found: Option<Box<Found>>,
    /// What cannot be done there, if anything.
    pub limits: Option<Box<Limits>>,
}

/// What cannot be done at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Why nothing can be made, replaced or removed in its directory.
    pub closed: Option<String>,
    /// Where its file system is mounted, if that keeps no access control lists; looked for only where a
    /// permission entry asks for one.
    pub without_acls: Option<PathBuf>,
    /// Where its file system is mounted, if that keeps no labels; looked for only where a permission entry
    /// asks for one.
    pub without_labels: Option<PathBuf>,
    /// Why a symlink to a directory is not followed; looked for only where a directory is wanted, or is on the way.
    pub distrusted: Option<Distrust>,
}

/// The reason why a symlink to a directory is not followed: somebody could lead the agent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// The link, or a directory above it.
    pub path: PathBuf,
    /// The owner of that, as people know it.
    pub owner: String,
    /// The reach of those who could change it.
    pub reach: Reach,
}

/// Who could change a symlink, or a directory above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Its owner, who does not own the directory that the link leads to.
    Owner,
    /// Others than its owner too.
    Others,
    /// Its owner, who is not root, where links of root alone are followed.
    NotRoot,
}

impl Place {
    /// Why nothing can be made, replaced or removed in its directory.
    pub fn closed(&self) -> Option<&str> {
        self.limits.as_ref()?.closed.as_deref()
    }
}

/// What was found at a path.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its state; the digest is there where it is known, or the size is what is wanted.
    pub state: PathState,
    /// Which inode it is.
    pub identity: Identity,
    /// Its names: a file with several is shared with paths that the deployment knows nothing of.
    pub links: u64,
    /// Why it cannot be replaced or removed.
    pub fixed: Option<Box<str>>,
    /// What a directory holds that the group does not own, if anything; looked for only where a directory has to go.
    pub foreign: Option<Box<Foreign>>,
    /// Whether a symlink leads to a directory.
    pub leads_to_directory: bool,
}

/// Entries that somebody else put into a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// A few of them.
    pub examples: Vec<PathBuf>,
    /// How many there are.
    pub count: usize,
}

impl Foreign {
    /// How many there are, in words, with some of them: `2 entries (/srv/app/a, /srv/app/b)`.
    pub fn counted(&self) -> String {
        let examples: Vec<_> = self.examples.iter().map(|path| path.display().to_string()).collect();
        let noun = if self.count == 1 { "entry" } else { "entries" };
        format!("{} {noun} ({})", self.count, examples.join(", "))
    }
}

/// Users and groups by the names that the permission entries use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Users.
    pub users: BTreeMap<String, u32>,
    /// Groups.
    pub groups: BTreeMap<String, u32>,
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// To whom installed things belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    /// Files and symlinks.
    pub files: FileOwner,
    /// Directories that a deployment makes.
    pub directories: Owner,
}

/// To whom files and symlinks belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOwner {
    /// As the bundle has it.
    Bundle,
    /// All to one.
    Fixed(Owner),
}
