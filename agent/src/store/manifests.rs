//! The manifests of all groups on this host.

use super::{StoreError, Stored, read};
use crate::disk::Dir;
use crate::ids::GroupId;
use crate::layout::Layout;
use crate::plan::Manifest;

impl Stored for Manifest {
    const WHAT: &'static str = "the list of what a deployment installed";
    const FORMAT: u32 = 1;
    /// Some hundred thousand paths.
    const MAX_BYTES: u64 = 256 << 20;
}

/// What a group owns; nothing where it installed nothing yet.
pub fn read_manifest(layout: &Layout, group: &GroupId) -> Result<Option<Manifest>, StoreError> {
    read(&layout.manifest(group))
}

/// The groups that own something, in order.
pub fn groups(layout: &Layout) -> Result<Vec<GroupId>, StoreError> {
    let dir = match Dir::open(layout.manifests()) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let name = |entry: &crate::disk::Entry| GroupId::parse(entry.name.to_str()?.strip_suffix(".json")?).ok();
    Ok(dir.entries()?.iter().filter_map(name).collect())
}
