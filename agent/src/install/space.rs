//! Whether the disks have room for what is about to be staged, and which file systems that concerns.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Cause;
use super::root::Root;
use crate::disk::{self, Mounts};
use crate::journal::Filesystem;
use crate::plan::{PathState, Plan, Step, trees};

/// A file system that is too small for an install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// What the install needs while old and new are both there.
    pub needed: Amount,
    /// What there is; `None` where there is no limit.
    pub available: (Option<u64>, Option<u64>),
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes, in whole blocks.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = self.mount_point.display();
        write!(out, "the file system mounted on {point} has too little room: ")?;
        let shown = |available: Option<u64>| available.map_or("no limit".to_owned(), |amount| amount.to_string());
        let (bytes, inodes) = self.available;
        write!(out, "needed are {} bytes and {} inodes, ", self.needed.bytes, self.needed.inodes)?;
        write!(out, "available are {} bytes and {} inodes; ", shown(bytes), shown(inodes))?;
        write!(out, "free some (`du -xh {point} | sort -h | tail` shows the largest), or lower max_revisions")
    }
}

/// The file systems of all steps, in the order of their mount points.
pub(super) fn filesystems(steps: &[Step], mounts: &Mounts) -> Result<Vec<Filesystem>, disk::Error> {
    let mut found: BTreeMap<&Path, Filesystem> = BTreeMap::new();
    for step in steps {
        let Some(mount) = mounts.of(step.path.parent().unwrap_or(&step.path)) else { continue };
        if !found.contains_key(mount.point.as_path()) {
            let filesystem =
                Filesystem { mount_point: mount.point.clone(), kind: mount.kind.clone(), volume: mount.volume()? };
            found.insert(&mount.point, filesystem);
        }
    }
    Ok(found.into_values().collect())
}

/// Compares what a plan stages with what is left, on every file system.
pub(super) fn check(root: &Root, plan: &Plan, mounts: &Mounts) -> Result<(), Cause> {
    let mut needs: BTreeMap<&Path, Amount> = BTreeMap::new();
    for (_, first, members) in trees(&plan.steps).filter(|(_, first, _)| first.is_staged()) {
        let parent = first.path.parent().unwrap_or(&first.path);
        let Some(mount) = mounts.of(parent) else { continue };
        let block = root.dir(parent)?.space()?.block;
        let need = needs.entry(&mount.point).or_default();
        for step in std::iter::once(first).chain(members).filter(|step| step.is_staged()) {
            let bytes = match &step.want {
                PathState::File { size, .. } => *size,
                PathState::Directory { .. } => block,
                _ => 0,
            };
            need.bytes = need.bytes.saturating_add(bytes.div_ceil(block).saturating_mul(block));
            need.inodes += 1;
        }
    }
    let mut shortages = Vec::new();
    for (point, needed) in needs {
        let space = root.dir(point)?.space()?;
        let short = |need: u64, left: Option<u64>| left.is_some_and(|left| need > left);
        if short(needed.bytes, space.bytes) || short(needed.inodes, space.inodes) {
            let available = (space.bytes, space.inodes);
            shortages.push(Shortage { mount_point: point.to_owned(), needed, available });
        }
    }
    if shortages.is_empty() { Ok(()) } else { Err(Cause::NoSpace(shortages)) }
}
