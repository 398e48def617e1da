//! What follows from a commit: the group's manifest, its marker, and the files that AWS's agent would
//! read. All of it can be done again as often as needed.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::Serialize;

use crate::disk::{self, Dir};
use crate::ids::TransactionId;
use crate::journal::Begin;
use crate::layout::Layout;
use crate::plan::{Manifest, Owned, PathState, Sha256};
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
    let path = layout.install_file(&begin.group);
    let text = for_people(&manifest).map_err(|source| StoreError::Unwritable {
        what: "the list of what was installed",
        path: path.clone(),
        source,
    })?;
    Ok(disk::write_unsynced(&path, &text, 0o644)?)
}

/// A path a line, what is in a directory after it, and its rule for a label after that. A name with a newline
/// in it cannot be said.
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

/// What was done at a path, in the words of AWS's agent.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Instruction<'a> {
    Mkdir { directory: Cow<'a, str>, attributes: String },
    Symlink { destination: Cow<'a, str>, target: Cow<'a, str> },
    Copy { destination: Cow<'a, str>, attributes: String, size: u64, sha256: Option<Sha256> },
    Other { destination: Cow<'a, str> },
}

impl<'a> Instruction<'a> {
    fn of(owned: &'a Owned) -> Self {
        let destination = owned.path.to_string_lossy();
        match &owned.state {
            PathState::Directory { attrs } => Self::Mkdir { directory: destination, attributes: attrs.to_string() },
            PathState::Symlink { target, .. } => Self::Symlink { destination, target: target.to_string_lossy() },
            PathState::File { attrs, size, sha256, .. } => {
                Self::Copy { destination, attributes: attrs.to_string(), size: *size, sha256: *sha256 }
            }
            PathState::Absent | PathState::Other => Self::Other { destination },
        }
    }
}

/// An instruction a line.
fn for_people(manifest: &Manifest) -> serde_json::Result<Vec<u8>> {
    let mut text = format!("{{\"deployment\":\"{}\",\"instructions\":[", manifest.deployment).into_bytes();
    for (number, owned) in manifest.entries.iter().enumerate() {
        text.extend_from_slice(if number == 0 { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut text, &Instruction::of(owned))?;
    }
    text.extend_from_slice(b"\n]}\n");
    Ok(text)
}
