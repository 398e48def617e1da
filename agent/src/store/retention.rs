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
    /// Directories that could not be removed, and why; they are tried again the next time.
    pub failed: Vec<disk::Error>,
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
            result.failed.extend(dir.remove_tree(&entry.name).err());
        }
    }
    let mut deployments = deployments(&dir)?;
    deployments.sort();
    let mut excess = deployments.len().saturating_sub(max_revisions.get());
    for (_, id) in deployments {
        if excess == 0 {
            break;
        }
        if protected.contains(&id) {
            continue;
        }
        excess -= 1;
        match remove(&dir, &id) {
            Ok(()) => result.removed.push(id),
            Err(error) => result.failed.push(error),
        }
    }
    Ok(result)
}

/// What [`shrink`] did.
#[derive(Debug, Default)]
pub struct Shrunk {
    /// What went, and what could not.
    pub retention: Retention,
    /// Bytes that are left.
    pub left: u64,
}

/// Removes the oldest deployments, of whatever group, until all that are kept take at most `bytes`. What a group has
/// to keep stays; and so do those of groups that somebody works on, but for `own`, whose lock the caller holds.
pub fn shrink(layout: &Layout, own: &GroupId, bytes: u64) -> Result<Shrunk, StoreError> {
    let mut shrunk = Shrunk::default();
    let mut all = Vec::new();
    for group in groups(layout)? {
        let dir = Dir::open(layout.group(&group))?;
        let kept = deployments(&dir)?;
        let newest = kept.iter().max().cloned();
        for (modified, id) in kept {
            let size = match dir.open_dir(id.as_str()).and_then(|dir| dir.usage()) {
                // Somebody who works on that group has just removed it.
                Err(error) if error.is_not_found() => continue,
                size => size?,
            };
            shrunk.left += size;
            // The newest may be one that has begun and has no revision yet.
            if newest.as_ref().is_some_and(|(_, newest)| *newest != id) {
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
            turns.insert(group.clone(), Turn::take(layout, &group, own)?);
        }
        let turn = turns.get(&group).and_then(Option::as_ref);
        if turn.is_none_or(|turn| turn.protected.contains(&id)) {
            continue;
        }
        match remove(&Dir::open(layout.group(&group))?, &id) {
            Ok(()) => {
                shrunk.left -= size;
                shrunk.retention.removed.push(id);
            }
            Err(error) => shrunk.retention.failed.push(error),
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

/// When a directory was last changed: seconds since the epoch, and nanoseconds.
type Modified = (i64, u32);

/// A group's deployments, with their times.
fn deployments(dir: &Dir) -> Result<Vec<(Modified, DeploymentId)>, disk::Error> {
    let mut found = Vec::new();
    for entry in dir.entries()? {
        if entry.kind == Kind::Directory
            && let Some(id) = entry.name.to_str().and_then(|name| DeploymentId::parse(name).ok())
        {
            match dir.stat(&entry.name) {
                Err(error) if error.is_not_found() => {}
                stat => found.push((stat?.modified, id)),
            }
        }
    }
    Ok(found)
}

fn remove(group: &Dir, id: &DeploymentId) -> Result<(), disk::Error> {
    let doomed = format!("{REMOVING}{id}");
    group.rename_noreplace(Path::new(OsStr::new(id.as_str())), &doomed)?;
    group.sync()?;
    group.remove_tree(&doomed)
}
