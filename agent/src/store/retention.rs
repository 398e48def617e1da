//! Removal of old deployments' directories.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::Path;

use crate::disk::{self, Dir, Kind};
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
    let mut deployments = Vec::new();
    for entry in dir.entries()? {
        if entry.name.as_encoded_bytes().starts_with(REMOVING.as_bytes()) {
            result.failed.extend(dir.remove_tree(&entry.name).err());
        } else if entry.kind == Kind::Directory
            && let Some(id) = entry.name.to_str().and_then(|name| DeploymentId::parse(name).ok())
        {
            deployments.push((dir.stat(&entry.name)?.modified, id));
        }
    }
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

/// Whether anything of a deployment is on this host: its revision, or its logs.
pub fn is_kept(layout: &Layout, deployment: &DeploymentId) -> Result<bool, disk::Error> {
    let root = match Dir::open(layout.root()) {
        Err(error) if error.is_not_found() => return Ok(false),
        other => other?,
    };
    for entry in root.entries()? {
        if entry.kind == Kind::Directory
            && let Some(group) = entry.name.to_str().and_then(|name| GroupId::parse(name).ok())
            && Dir::open(layout.group(&group))?.stat_if_exists(deployment.as_str())?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove(group: &Dir, id: &DeploymentId) -> Result<(), disk::Error> {
    let doomed = format!("{REMOVING}{id}");
    group.rename_noreplace(Path::new(OsStr::new(id.as_str())), &doomed)?;
    group.sync()?;
    group.remove_tree(&doomed)
}
