//! What on the host no longer is what was installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::attributes;
use super::aws_record;
use super::claims;
use super::follow::{self, Trust};
use super::index::digest;
use super::last_install::{LastInstall, last_install};
use super::moved::{Ways, relocate};
use super::root::{Root, name, shallow_state};
use crate::disk::{self, Lock};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;
use crate::plan::grounds::FollowedLinks;
use crate::plan::{Acl, Attrs, Claims, Label, Links, Manifest, Owned, PathState, Sha256, path_text};
use crate::store::StoreError;

/// A group's files, held against what was installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// The group.
    pub group: GroupId,
    /// The deployment that installed them.
    pub deployment: DeploymentId,
    /// Which agent did.
    pub installed_by: InstalledBy,
    /// When.
    pub installed: Timestamp,
    /// How many paths the group owns.
    pub paths: usize,
    /// Those that are not as they were installed, in order.
    pub drift: Vec<Drifted>,
}

/// Which agent installed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstalledBy {
    /// This one, which knows all of what it installed.
    ThisAgent,
    /// AWS's, of whose install the paths are on record, and the content as long as its revision is there.
    AwsAgent,
}

/// One path that is not as it was installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drifted {
    /// The path.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// What differs; at least one thing.
    pub differences: Vec<Difference>,
}

/// What differs from what was installed. Modification times do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Difference {
    /// Nothing is there.
    Missing,
    /// Something of another kind is there.
    Type {
        /// What was installed.
        was: &'static str,
        /// What is there.
        is: &'static str,
    },
    /// A file has another content.
    Content {
        /// Length of what was installed, in bytes.
        was: u64,
        /// Length of what is there.
        is: u64,
    },
    /// It has other permission bits.
    Mode {
        /// As it was installed, in octal digits.
        was: String,
        /// As it is.
        is: String,
    },
    /// It has another access control list.
    Acl {
        /// As it was installed, in the words of `getfacl`; none where the permission bits said all.
        was: Option<String>,
        /// As it is.
        is: Option<String>,
    },
    /// A directory has another default access control list.
    DefaultAcl {
        /// As it was installed.
        was: Option<String>,
        /// As it is.
        is: Option<String>,
    },
    /// It has another SELinux label than the AppSpec gave it.
    Label {
        /// As it was installed.
        was: Label,
        /// As it is; none where the file system keeps none, or somebody took it away.
        is: Option<Label>,
    },
    /// It belongs to somebody else: user and group.
    Owner {
        /// As it was installed.
        was: (u32, u32),
        /// As it is.
        is: (u32, u32),
    },
    /// A symlink points elsewhere.
    Target {
        /// As it was installed.
        #[serde(with = "path_text")]
        was: PathBuf,
        /// As it is.
        #[serde(with = "path_text")]
        is: PathBuf,
    },
    /// It is in a directory of the group, and no deployment installed it.
    Added {
        /// What it is.
        is: &'static str,
    },
}

/// What is said of things that somebody put into a group's directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Additions {
    /// Nothing: applications write into their directories.
    Passed,
    /// They are drift.
    Reported,
}

/// Why files could not be held against what was installed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file system said no.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// What was installed cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Holds what a group installed against what is there; nothing where it installed nothing.
///
/// Installs go on meanwhile. What seems to have drifted is looked at again while none is under way, so
/// that an install is never taken for drift.
pub fn audit(layout: &Layout, group: &GroupId, additions: Additions) -> Result<Option<Audit>, AuditError> {
    let Some(mut belongings) = Belongings::read(layout, group)? else { return Ok(None) };
    let suspects: Vec<PathBuf> = belongings.drift(additions)?.into_iter().map(|drifted| drifted.path).collect();
    let _paths = Lock::wait(&layout.paths_lock())?;
    let Some(now) = Belongings::read(layout, group)? else { return Ok(None) };
    let mut drift = if now.manifest == belongings.manifest {
        belongings = now;
        belongings.drift_of(&suspects)?
    } else {
        belongings = now;
        belongings.drift(additions)?
    };
    drift.extend(belongings.links_elsewhere()?);
    drift.sort_by(|one, other| one.path.cmp(&other.path));
    let Belongings { manifest: Manifest { group, deployment, at: installed, entries, .. }, installed_by, .. } =
        belongings;
    Ok(Some(Audit { group, deployment, installed_by, installed, paths: entries.len(), drift }))
}

/// What a group owns.
struct Belongings {
    root: Root,
    /// Without what other groups took over since.
    manifest: Manifest,
    installed_by: InstalledBy,
    /// Everything that any group owns.
    all: BTreeSet<PathBuf>,
}

impl Belongings {
    fn read(layout: &Layout, group: &GroupId) -> Result<Option<Self>, AuditError> {
        let root = Root::open()?;
        let (mut manifest, installed_by) = match last_install(layout, group)? {
            LastInstall::None => return Ok(None),
            LastInstall::Own(manifest) | LastInstall::OwnUnlisted(manifest) => (manifest, InstalledBy::ThisAgent),
            LastInstall::Aws(install) => match aws_record::manifest(layout, group, install, &root)? {
                Some(manifest) => (manifest, InstalledBy::AwsAgent),
                None => return Ok(None),
            },
        };
        relocate(&root, &mut manifest, Ways::Unknown, FollowedLinks::Safe)?;
        manifest.entries.sort_by(|one, other| one.path.cmp(&other.path));
        let (others, _) = claims::others(layout, group, &root)?;
        let theirs = others.iter().flat_map(|manifest| &manifest.entries);
        let all = manifest.entries.iter().chain(theirs).map(|owned| owned.path.clone()).collect();
        let claims = Claims::new(Some(manifest.clone()), others);
        manifest.entries.retain(|owned| claims.number(&owned.path).is_some());
        Ok(Some(Self { root, manifest, installed_by, all }))
    }

    fn drift(&self, additions: Additions) -> Result<Vec<Drifted>, disk::Error> {
        let mut drift = Vec::new();
        for owned in &self.manifest.entries {
            let differences = self.differences(owned)?;
            let is_directory = owned.state.is_directory();
            if additions == Additions::Reported && is_directory && !is_gone(&differences) {
                drift.extend(self.added(&owned.path)?);
            }
            if !differences.is_empty() {
                drift.push(Drifted { path: owned.path.clone(), differences });
            }
        }
        drift.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(drift)
    }

    /// Links through which the deployment was installed, and which lead to another directory since. One that leads
    /// nowhere has served its turn.
    fn links_elsewhere(&self) -> Result<Vec<Drifted>, disk::Error> {
        let mut drift = Vec::new();
        for link in self.manifest.links.iter().flat_map(Links::iter).filter(|link| !link.is_direct()) {
            if let Some(is) = follow::directory(&self.root, &link.named, Trust::Any)?
                && is != link.led_to
            {
                let differences = vec![Difference::Target { was: link.led_to.clone(), is }];
                drift.push(Drifted { path: link.named.clone(), differences });
            }
        }
        Ok(drift)
    }

    /// The drift of these paths alone.
    fn drift_of(&self, paths: &[PathBuf]) -> Result<Vec<Drifted>, disk::Error> {
        let mut drift = Vec::new();
        for path in paths {
            let owned = self.manifest.entries.binary_search_by(|owned| owned.path.cmp(path));
            let differences = match owned.ok().and_then(|at| self.manifest.entries.get(at)) {
                Some(owned) => self.differences(owned)?,
                None => self.addition(path)?.into_iter().collect(),
            };
            if !differences.is_empty() {
                drift.push(Drifted { path: path.clone(), differences });
            }
        }
        Ok(drift)
    }

    fn differences(&self, owned: &Owned) -> Result<Vec<Difference>, disk::Error> {
        let path = &owned.path;
        let Some(facts) = self.root.facts(path)? else { return Ok(vec![Difference::Missing]) };
        let looked_at = self.root.parent(path).and_then(|parent| {
            let state = attributes::add_acls(shallow_state(&facts.stat), &parent, name(path))?;
            if owned.state.label().is_some() { attributes::add_label(state, &parent, name(path)) } else { Ok(state) }
        });
        let found = match looked_at {
            // It went since it was looked at.
            Err(error) if error.is_not_found() || error.is_not_a_directory() => return Ok(vec![Difference::Missing]),
            found => found?,
        };
        let mut differences = Vec::new();
        match (&owned.state, &found) {
            // Of what AWS's agent installed, and of which nothing else is known.
            (PathState::Other, _) => {}
            (PathState::Directory { attrs: was }, PathState::Directory { attrs: is }) => {
                compare(was, is, &mut differences);
            }
            (
                PathState::File { attrs: was, size: was_size, sha256, .. },
                PathState::File { attrs: is, size: is_size, .. },
            ) => {
                let Some(content) = self.is_same_content(path, (*was_size, *is_size), *sha256)? else {
                    return Ok(vec![Difference::Missing]);
                };
                if !content {
                    differences.push(Difference::Content { was: *was_size, is: *is_size });
                }
                compare(was, is, &mut differences);
            }
            (PathState::Symlink { uid, gid, target }, PathState::Symlink { uid: is_uid, gid: is_gid, .. }) => {
                let is_target = self.root.read_link(path)?;
                if *target != is_target {
                    differences.push(Difference::Target { was: target.clone(), is: is_target });
                }
                if (uid, gid) != (is_uid, is_gid) {
                    differences.push(Difference::Owner { was: (*uid, *gid), is: (*is_uid, *is_gid) });
                }
            }
            (was, is) => differences.push(Difference::Type { was: was.kind(), is: is.kind() }),
        }
        Ok(differences)
    }

    /// Whether a file has the content that was installed; nothing where it went meanwhile.
    fn is_same_content(
        &self,
        path: &Path,
        (was, is): (u64, u64),
        sha256: Option<Sha256>,
    ) -> Result<Option<bool>, disk::Error> {
        let (true, Some(expected)) = (was == is, sha256) else { return Ok(Some(was == is)) };
        match self.root.file(path).and_then(|file| digest(&file, path)) {
            Ok(found) => Ok(Some(found == expected)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What somebody put into a directory.
    fn added(&self, directory: &Path) -> Result<Vec<Drifted>, disk::Error> {
        let mut added = Vec::new();
        for entry in self.root.dir(directory)?.entries()? {
            let path = directory.join(&entry.name);
            if let Some(difference) = self.addition(&path)? {
                added.push(Drifted { path, differences: vec![difference] });
            }
        }
        Ok(added)
    }

    fn addition(&self, path: &Path) -> Result<Option<Difference>, disk::Error> {
        if self.all.contains(path) {
            return Ok(None);
        }
        let facts = self.root.facts(path)?;
        Ok(facts.map(|facts| Difference::Added { is: shallow_state(&facts.stat).kind() }))
    }
}

fn is_gone(differences: &[Difference]) -> bool {
    matches!(differences, [Difference::Missing | Difference::Type { .. }])
}

fn compare(was: &Attrs, is: &Attrs, differences: &mut Vec<Difference>) {
    if was.mode != is.mode {
        differences.push(Difference::Mode { was: format!("{:04o}", was.mode), is: format!("{:04o}", is.mode) });
    }
    let text = |acl: Option<&Acl>| acl.map(Acl::to_string);
    if was.access_acl() != is.access_acl() {
        differences.push(Difference::Acl { was: text(was.access_acl()), is: text(is.access_acl()) });
    }
    if was.default_acl() != is.default_acl() {
        differences.push(Difference::DefaultAcl { was: text(was.default_acl()), is: text(is.default_acl()) });
    }
    if let Some(label) = &was.label
        && is.label.as_ref() != Some(label)
    {
        differences.push(Difference::Label { was: label.clone(), is: is.label.clone() });
    }
    if (was.uid, was.gid) != (is.uid, is.gid) {
        differences.push(Difference::Owner { was: (was.uid, was.gid), is: (is.uid, is.gid) });
    }
}
