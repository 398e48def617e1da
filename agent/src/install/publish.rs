//! What follows from a commit: the group's manifest, its marker, and the files that AWS's agent would
//! read. All of it can be done again as often as needed.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::disk::{self, Dir};
use crate::ids::TransactionId;
use crate::journal::Begin;
use crate::layout::Layout;
use crate::plan::{Manifest, Owned, PathState};
use crate::store::{self, StoreError};

/// In the transaction's directory, until the commit is published.
const MANIFEST: &str = "manifest.json";

/// Writes the new manifest where the commit will find it, so that a disk that fills up later does not
/// keep it from being published.
pub(super) fn write_ahead(layout: &Layout, id: &TransactionId, manifest: &Manifest) -> Result<(), StoreError> {
    store::write(&ahead(layout, id), manifest)
}

/// Where the new manifest waits for the commit.
pub(super) fn ahead(layout: &Layout, id: &TransactionId) -> PathBuf {
    layout.transaction(id).join(MANIFEST)
}

/// Whether it waits there still.
pub(super) fn is_ahead(layout: &Layout, id: &TransactionId) -> Result<bool, disk::Error> {
    Ok(Dir::open(layout.transaction(id))?.stat_if_exists(MANIFEST)?.is_some())
}

/// Publishes a commit.
pub(super) fn publish(layout: &Layout, id: &TransactionId, begin: &Begin) -> Result<(), StoreError> {
    let own = Dir::open(layout.own())?;
    let manifests = Dir::open_or_create(layout.manifests(), 0o700)?;
    let target = layout.manifest(&begin.group);
    if let (Ok(written), Ok(published)) =
        (ahead(layout, id).strip_prefix(layout.own()), target.strip_prefix(layout.own()))
        && own.stat_if_exists(written)?.is_some()
    {
        own.rename(written, published)?;
        manifests.sync()?;
        Dir::open(layout.transaction(id))?.sync()?;
    }
    let Some(manifest) = store::read_manifest(layout, &begin.group)? else { return Ok(()) };
    if manifest.deployment != begin.deployment {
        return Ok(());
    }
    store::mark_last_successful(layout, &begin.group, &begin.deployment)?;
    disk::write_atomic(&layout.cleanup_file(&begin.group), &cleanup(&manifest), 0o644)?;
    disk::write_atomic(&layout.install_file(&begin.group), &for_people(&manifest), 0o644)?;
    Ok(())
}

/// A path a line, what is in a directory after it, and its rule for a label after that. A name with a newline in it cannot be said.
fn cleanup(manifest: &Manifest) -> Vec<u8> {
    let mut text = Vec::new();
    for owned in &manifest.entries {
        let path = owned.path.as_os_str().as_bytes();
        if !path.contains(&b'\n') {
            text.extend_from_slice(path);
            text.push(b'\n');
            // Undone from last to first: the rule goes before what it is for.
            if owned.state.label().is_some() {
                text.extend_from_slice(b"semanage\0");
                text.extend_from_slice(path);
                text.push(b'\n');
            }
        }
    }
    text
}

/// An instruction a line.
fn for_people(manifest: &Manifest) -> Vec<u8> {
    let instruction = |owned: &Owned| {
        let path = lossy(&owned.path);
        match &owned.state {
            PathState::Directory { attrs } => {
                json!({"type": "mkdir", "directory": path, "attributes": attrs.to_string()})
            }
            PathState::Symlink { target, .. } => {
                json!({"type": "symlink", "destination": path, "target": lossy(target)})
            }
            PathState::File { attrs, size, sha256, .. } => json!({
                "type": "copy", "destination": path, "attributes": attrs.to_string(), "size": size, "sha256": sha256
            }),
            PathState::Absent | PathState::Other => json!({"type": "other", "destination": path}),
        }
    };
    let mut text = format!("{{\"deployment\":\"{}\",\"instructions\":[", manifest.deployment);
    for (number, owned) in manifest.entries.iter().enumerate() {
        text.push_str(if number == 0 { "\n" } else { ",\n" });
        text.push_str(&instruction(owned).to_string());
    }
    text.push_str("\n]}\n");
    text.into_bytes()
}

fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
