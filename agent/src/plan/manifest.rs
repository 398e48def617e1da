//! What a deployment owns on the host, and who owns a path when several groups name it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::Step;
use super::label::{Label, PathExpression};
use super::link::Links;
use super::path_text;
use super::plain_path::{below, in_order};
use super::state::{Attrs, PathState};
use crate::ids::{DeploymentId, GroupId};

/// Everything that a group's installed deployment put on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The group.
    pub group: GroupId,
    /// The deployment that installed it.
    pub deployment: DeploymentId,
    /// Counts the installs on this host: of two groups that name one path, the later install has it.
    pub serial: u64,
    /// When it was installed; for people.
    pub at: Timestamp,
    /// The symlinks through which it was installed; nothing where that was not written
    /// down, as by earlier versions.
    #[serde(default)]
    pub links: Option<Links>,
    /// What is owned, in the order of paths: a directory comes before what is in it.
    pub entries: Vec<Owned>,
}

/// One owned path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// Absolute, without symlinks on the way.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// As it was installed.
    pub state: PathState,
}

/// What a manifest will say, borrowed from the steps that lead to it; serialises as a [`Manifest`].
#[derive(Debug, Serialize)]
pub struct ManifestToBe<'a> {
    pub(super) group: &'a GroupId,
    pub(super) deployment: &'a DeploymentId,
    pub(super) serial: u64,
    pub(super) at: Timestamp,
    pub(super) links: &'a Links,
    /// One after the other: all at once they would be in memory twice.
    #[serde(serialize_with = "entries_of")]
    #[serde(rename = "entries")]
    pub(super) steps: &'a [Step],
}

impl<'a> ManifestToBe<'a> {
    /// The deployment whose manifest it will be.
    pub fn deployment(&self) -> &'a DeploymentId {
        self.deployment
    }

    /// The symlinks through which it will be installed.
    pub fn links(&self) -> &'a Links {
        self.links
    }

    /// At least as many paths as will be owned.
    pub fn at_most(&self) -> usize {
        self.steps.len()
    }

    /// The steps that change something.
    pub fn changes(&self) -> impl Iterator<Item = &'a Step> + use<'a> {
        self.steps.iter().filter(|step| step.changes_something())
    }

    /// What will be owned, in the order of paths.
    pub fn entries(&self) -> impl Iterator<Item = OwnedToBe<'a>> + use<'a> {
        self.steps.iter().filter_map(Step::owned)
    }
}

/// One path that will be owned; serialises as an [`Owned`].
#[derive(Debug, Serialize)]
pub struct OwnedToBe<'a> {
    /// Absolute, without symlinks on the way.
    #[serde(with = "path_text")]
    pub path: &'a Path,
    /// As it is installed.
    pub state: Cow<'a, PathState>,
}

impl<'a> From<&'a Owned> for OwnedToBe<'a> {
    fn from(owned: &'a Owned) -> Self {
        Self { path: &owned.path, state: Cow::Borrowed(&owned.state) }
    }
}

fn entries_of<S: Serializer>(steps: &[Step], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(steps.iter().filter_map(Step::owned))
}

/// Whose deployment installed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installer {
    /// The group.
    pub group: GroupId,
    /// Its deployment.
    pub deployment: DeploymentId,
}

/// Who owns what before an install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// In the order of paths. Found by their bytes: to hash a path is to take it apart.
    ours: IndexMap<OsString, Claim>,
    /// What other groups own, each with the number of its installer.
    others: HashMap<PathBuf, usize>,
    installers: Vec<Installer>,
    /// The labels that deployments gave, of paths of this group and of others.
    labels: BTreeMap<PathBuf, Label>,
    /// Rules for labels that another agent made for the group.
    left_rules: BTreeSet<PathExpression>,
    /// Directories into which the group installed earlier, through links that lead there again.
    earlier: Vec<PathBuf>,
}

/// What is known of a path that the group owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A directory, with the attributes that it was given.
    Directory(Box<Attrs>),
    /// A file or symlink.
    Leaf,
    /// Another agent made it and did not say what it is.
    Unknown,
}

impl Claims {
    /// From the group's own manifest and those of all other groups.
    pub fn new(ours: Option<Manifest>, mut others: Vec<Manifest>) -> Self {
        let mut claims = Self::default();
        let serial = ours.as_ref().map_or(0, |manifest| manifest.serial);
        claims.ours.reserve(ours.as_ref().map_or(0, |manifest| manifest.entries.len()));
        for owned in ours.into_iter().flat_map(|manifest| manifest.entries) {
            claims.note_label(&owned);
            claims.ours.insert(owned.path.into_os_string(), Claim::from(&owned.state));
        }
        claims.sort();
        others.sort_by_key(|manifest| manifest.serial);
        for manifest in others {
            for owned in manifest.entries {
                if manifest.serial > serial {
                    claims.ours.shift_remove(owned.path.as_os_str());
                }
                if !claims.ours.contains_key(owned.path.as_os_str()) {
                    claims.note_label(&owned);
                    claims.others.insert(owned.path, claims.installers.len());
                }
            }
            claims.installers.push(Installer { group: manifest.group, deployment: manifest.deployment });
        }
        claims
    }

    /// Takes over from an agent that left only a list of paths, all absolute and without symlinks on
    /// the way. What another group owns stays with that group.
    pub fn take_over(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        for path in paths {
            if !self.others.contains_key(&path) {
                self.ours.entry(path.into_os_string()).or_insert(Claim::Unknown);
            }
        }
        self.sort();
    }

    /// Takes over rules for labels from an agent that left a list of them.
    pub fn take_over_rules(&mut self, rules: impl IntoIterator<Item = PathExpression>) {
        self.left_rules.extend(rules);
    }

    /// Takes back directories into which the group installed earlier: what is in them counts as the group's own where
    /// a revision has it too.
    pub fn take_back(&mut self, directories: Vec<PathBuf>) {
        self.earlier = directories;
    }

    /// Whether what was found at a path is in a directory into which the group installed earlier, and no other group
    /// has it now.
    pub fn is_taken_back(&self, path: &Path, found: &PathState) -> bool {
        let is_in = |directory: &PathBuf| below(path, directory).is_some_and(|rest| !rest.as_os_str().is_empty());
        self.earlier.iter().any(is_in)
            && !matches!(found, PathState::Absent | PathState::Other)
            && !self.others.contains_key(path)
    }

    /// The rules for labels that another agent made for the group.
    pub fn left_rules(&self) -> impl Iterator<Item = &PathExpression> {
        self.left_rules.iter()
    }

    /// The labels that deployments of any group gave, by path.
    pub fn labels(&self) -> impl Iterator<Item = (&Path, &Label)> {
        self.labels.iter().map(|(path, label)| (path.as_path(), label))
    }

    /// The label that a deployment gave a path.
    pub fn label(&self, path: &Path) -> Option<&Label> {
        self.labels.get(path)
    }

    fn sort(&mut self) {
        self.ours.sort_by(|one, _, other, _| in_order(Path::new(one), Path::new(other)));
    }

    fn note_label(&mut self, owned: &Owned) {
        match owned.state.label() {
            Some(label) => self.labels.insert(owned.path.clone(), label.clone()),
            None => self.labels.remove(&owned.path),
        };
    }

    /// The group's own paths, in order.
    pub fn ours(&self) -> impl ExactSizeIterator<Item = (&Path, &Claim)> {
        self.ours.iter().map(|(path, claim)| (Path::new(path), claim))
    }

    /// Which of the group's own paths it is, in their order; nothing where it is none of them.
    pub fn number(&self, path: &Path) -> Option<usize> {
        self.ours.get_index_of(path.as_os_str())
    }

    /// The group's own path of that number.
    pub fn path(&self, number: usize) -> Option<&Path> {
        self.ours.get_index(number).map(|(path, _)| Path::new(path))
    }

    /// Whether what was found at the group's own path of that number is what the group put there.
    pub fn covers(&self, number: usize, found: &PathState) -> bool {
        self.ours.get_index(number).is_some_and(|(_, claim)| claim.covers(found))
    }

    /// Whether what was found at the path is what the group put there.
    pub fn is_ours(&self, path: &Path, found: &PathState) -> bool {
        let is_claimed = self.ours.get(path.as_os_str()).is_some_and(|claim| claim.covers(found));
        is_claimed || self.is_taken_back(path, found)
    }

    /// The attributes that the group gave a directory of its own.
    pub fn directory(&self, path: &Path) -> Option<&Attrs> {
        match self.ours.get(path.as_os_str()) {
            Some(Claim::Directory(attrs)) => Some(attrs),
            _ => None,
        }
    }

    /// The other group that owns the path, and its deployment.
    pub fn owner(&self, path: &Path) -> Option<&Installer> {
        self.installers.get(*self.others.get(path)?)
    }
}

impl Claim {
    /// Whether something of this kind can be what was claimed. A directory in a file's place was made
    /// by somebody else, and the other way round. A symlink in a directory's place is the group's to replace: scripts
    /// put them there, and nothing is lost with a link.
    pub fn covers(&self, found: &PathState) -> bool {
        match (self, found) {
            (_, PathState::Absent | PathState::Other) => false,
            (Self::Directory(_), PathState::Directory { .. } | PathState::Symlink { .. }) | (Self::Unknown, _) => true,
            (Self::Leaf, PathState::File { .. } | PathState::Symlink { .. }) => true,
            (Self::Directory(_), _) | (Self::Leaf, PathState::Directory { .. }) => false,
        }
    }
}

impl From<&PathState> for Claim {
    fn from(state: &PathState) -> Self {
        match state {
            PathState::Directory { attrs } => Self::Directory(Box::new(attrs.clone())),
            _ => Self::Leaf,
        }
    }
}
