//! Removal of old deployments' directories.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::Path;

use super::{StoreError, read_markers};
use crate::disk::{self, Dir, Kind, Lock, LockError};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;

/// Begins the name of a directory that is being removed, so that half of a revision is never taken
/// for a whole one. No deployment id begins with a dot.
const REMOVING: &str = ".removing-";

/// What [`retain`] did.
#[derive(Debug, Default)]
pub struct Retention {
    /// Deployments whose directories are gone, the oldest first.
    pub removed: Vec<DeploymentId>,
    /// What could not be removed or looked at, and why; it is tried again the next time.
    pub failed: Vec<StoreError>,
}

/// Removes the oldest deployments of a group until `max_revisions` are left. Those of `protected`
/// stay, and count. Removals that fail are in the result and stop nothing.
pub fn retain(
    layout: &Layout,
    group: &GroupId,
    max_revisions: NonZeroUsize,
    protected: &[DeploymentId],
) -> Result<Retention, disk::Error> {
    let mut result = Retention::default();
    let dir = match Dir::open(layout.group(group)) {
        Err(error) if error.is_not_found() => return Ok(result),
        other => other?,
    };
    for entry in dir.entries()? {
        if entry.name.as_encoded_bytes().starts_with(REMOVING.as_bytes()) {
            result.failed.extend(dir.remove_tree(&entry.name).err().map(StoreError::from));
        }
    }
    let (revisions, logs): (Vec<_>, Vec<_>) =
        deployments(&dir)?.into_iter().partition(|deployment| deployment.held == Held::Revision);
    // What has nothing but logs takes no place of a revision that one could go back to.
    for mut deployments in [revisions, logs] {
        deployments.sort();
        let mut excess = deployments.len().saturating_sub(max_revisions.get());
        for Deployment { id, .. } in deployments {
            if excess == 0 {
                break;
            }
            if protected.contains(&id) {
                continue;
            }
            excess -= 1;
            match remove(&dir, &id) {
                Ok(()) => result.removed.push(id),
                Err(error) => result.failed.push(error.into()),
            }
        }
    }
    Ok(result)
}

/// What [`shrink`] did.
#[derive(Debug, Default)]
pub struct Shrunk {
    /// What went, and what could not.
    pub retention: Retention,
    /// Bytes that the revisions take which are left.
    pub left: u64,
}

/// Removes the oldest deployments, of whatever group, until all that are kept take at most `bytes`. What a group has
/// to keep stays; and so do those of groups that somebody works on, but for `own`, whose lock the caller holds. Only
/// directories that hold a revision count: what else is under the root is not ours. Trouble with one is in the result
/// and stops nothing.
pub fn shrink(layout: &Layout, own: &GroupId, bytes: u64) -> Result<Shrunk, StoreError> {
    let mut shrunk = Shrunk::default();
    let mut all = Vec::new();
    for group in groups(layout)? {
        let kept = Dir::open(layout.group(&group)).and_then(|dir| Ok((deployments(&dir)?, dir)));
        let (mut kept, dir) = match kept {
            Ok(found) => found,
            Err(error) => {
                shrunk.retention.failed.push(error.into());
                continue;
            }
        };
        kept.retain(|deployment| deployment.held == Held::Revision);
        let newest = kept.iter().max().cloned();
        for Deployment { modified, id, .. } in kept {
            let size = match dir.open_dir(id.as_str()).and_then(|dir| dir.usage()) {
                // Somebody who works on that group has just removed it.
                Err(error) if error.is_not_found() => continue,
                Err(error) => {
                    shrunk.retention.failed.push(error.into());
                    continue;
                }
                Ok(size) => size,
            };
            shrunk.left += size;
            // The newest may be one that is being unpacked.
            if newest.as_ref().is_some_and(|newest| newest.id != id) {
                all.push((modified, id, group.clone(), size));
            }
        }
    }
    all.sort();
    let mut turns: BTreeMap<GroupId, Option<Turn>> = BTreeMap::new();
    for (_, id, group, size) in all {
        if shrunk.left <= bytes {
            break;
        }
        if !turns.contains_key(&group) {
            let turn = Turn::take(layout, &group, own).unwrap_or_else(|error| {
                shrunk.retention.failed.push(error);
                None
            });
            turns.insert(group.clone(), turn);
        }
        let turn = turns.get(&group).and_then(Option::as_ref);
        if turn.is_none_or(|turn| turn.protected.contains(&id)) {
            continue;
        }
        match Dir::open(layout.group(&group)).and_then(|dir| remove(&dir, &id)) {
            Ok(()) => {
                shrunk.left -= size;
                shrunk.retention.removed.push(id);
            }
            Err(error) => shrunk.retention.failed.push(error.into()),
        }
    }
    Ok(shrunk)
}

/// A group whose deployments may be removed now.
struct Turn {
    /// Keeps others off it. None for the group whose lock the caller holds.
    _lock: Option<Lock>,
    protected: Vec<DeploymentId>,
}

impl Turn {
    /// Nothing while somebody else works on the group.
    fn take(layout: &Layout, group: &GroupId, own: &GroupId) -> Result<Option<Self>, StoreError> {
        let lock = if group == own {
            None
        } else {
            match Lock::try_now(&layout.group_lock(group)) {
                Ok(lock) => Some(lock),
                Err(LockError::Held(_)) => return Ok(None),
                Err(LockError::Disk(error)) => return Err(error.into()),
            }
        };
        // Read once nobody else can change them.
        Ok(Some(Self { _lock: lock, protected: read_markers(layout, group)?.protected() }))
    }
}

/// Whether anything of a deployment is on this host: its revision, or its logs.
pub fn is_kept(layout: &Layout, deployment: &DeploymentId) -> Result<bool, disk::Error> {
    for group in groups(layout)? {
        if Dir::open(layout.group(&group))?.stat_if_exists(deployment.as_str())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Groups that have a directory.
fn groups(layout: &Layout) -> Result<Vec<GroupId>, disk::Error> {
    let root = match Dir::open(layout.root()) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let directories = root.entries()?.into_iter().filter(|entry| entry.kind == Kind::Directory);
    Ok(directories.filter_map(|entry| GroupId::parse(entry.name.to_str()?).ok()).collect())
}

/// The deployments of each group that was deployed to on this host, by this agent or another one. Whatever else has
/// directories under the root is not among them.
pub fn deployed(layout: &Layout) -> Result<Vec<(GroupId, Vec<DeploymentId>)>, disk::Error> {
    let mut found = Vec::new();
    for group in groups(layout)? {
        let deployments = deployments(&Dir::open(layout.group(&group))?)?;
        let is_known = deployments.iter().any(|deployment| deployment.held == Held::Revision)
            || disk::exists(&layout.group_lock(&group))?
            || disk::exists(&layout.markers(&group))?;
        if is_known {
            found.push((group, deployments.into_iter().map(|deployment| deployment.id).collect()));
        }
    }
    Ok(found)
}

/// When a directory was last changed: seconds since the epoch, and nanoseconds.
type Modified = (i64, u32);

/// A directory of a deployment; ordered by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deployment {
    modified: Modified,
    id: DeploymentId,
    held: Held,
}

/// What it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    /// A revision, or the beginning of one.
    Revision,
    /// Nothing that tells it from anybody's directory: most often logs.
    Logs,
}

/// A group's deployments.
fn deployments(dir: &Dir) -> Result<Vec<Deployment>, disk::Error> {
    let mut found = Vec::new();
    for entry in dir.entries()? {
        if entry.kind == Kind::Directory
            && let Some(id) = entry.name.to_str().and_then(|name| DeploymentId::parse(name).ok())
        {
            match dir.stat(&entry.name) {
                Err(error) if error.is_not_found() => {}
                stat => {
                    let held = held(dir, &id)?;
                    found.push(Deployment { modified: stat?.modified, id, held });
                }
            }
        }
    }
    Ok(found)
}

fn held(group: &Dir, id: &DeploymentId) -> Result<Held, disk::Error> {
    for name in Layout::OF_A_REVISION {
        match group.stat_if_exists(Path::new(id.as_str()).join(name)) {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(Held::Revision),
            // It was removed just now.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Held::Logs)
}

fn remove(group: &Dir, id: &DeploymentId) -> Result<(), disk::Error> {
    let doomed = format!("{REMOVING}{id}");
    // A revision that something is mounted in stays whole, under its name.
    group.refuse_mounts(id.as_str())?;
    group.rename_noreplace(Path::new(OsStr::new(id.as_str())), &doomed)?;
    group.sync()?;
    group.remove_tree(&doomed)
}
