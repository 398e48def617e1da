//! What follows from a commit: the group's manifest, its marker, and the files that AWS's agent would
//! read. All of it can be done again as often as needed.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::beside::beside;
use super::filesystems;
use crate::disk::{self, Dir};
use crate::ids::{DeploymentId, TransactionId};
use crate::journal::Begin;
use crate::layout::Layout;
use crate::plan::{Manifest, ManifestToBe, OwnedToBe, PathState, Sha256};
use crate::store::{self, StoreError};

/// In the transaction's directory, until the commit is published.
const MANIFEST: &str = "manifest.json";
const CLEANUP: &str = "cleanup";
const INSTALL: &str = "install.json";

/// Of how many paths the texts of a commit are made at once.
const AT_ONCE: std::ops::RangeInclusive<usize> = 1000..=20_000;

/// Writes all that the commit will publish where it will find it, so that a disk that fills up later does not
/// keep it from that. The manifest is durable then; what stands in it alone is with the targets.
pub(super) fn write_ahead(layout: &Layout, id: &TransactionId, manifest: &ManifestToBe<'_>) -> Result<(), StoreError> {
    let transaction = layout.transaction(id);
    let write = |name: &str, text: &[u8]| filesystems::write_ahead(&transaction.join(name), text, 0o644);
    let cleanup = || cleanup(manifest.entries());
    let for_people = || for_people(manifest.deployment(), manifest.entries(), &transaction.join(INSTALL));
    let publish = || store::write_as::<Manifest>(&ahead(layout, id), manifest);
    // For few it is not worth a thread; of many the texts would take too much memory at once.
    if AT_ONCE.contains(&manifest.at_most()) {
        let ((cleanup, for_people), published) = beside("texts", || (cleanup(), for_people()), publish);
        published?;
        write(CLEANUP, &cleanup)?;
        write(INSTALL, &for_people?)?;
    } else {
        publish()?;
        write(CLEANUP, &cleanup())?;
        write(INSTALL, &for_people()?)?;
    }
    Ok(())
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
    let transaction = Dir::open(layout.transaction(id))?;
    let manifests = Dir::open_or_create(layout.manifests(), 0o700)?;
    let instructions = Dir::open_or_create(layout.instructions(), 0o755)?;
    let publication = Publication { root: Dir::open(layout.root())?, layout };
    let moved = [
        publication.move_out(&transaction, INSTALL, &layout.install_file(&begin.group))?,
        publication.move_out(&transaction, CLEANUP, &layout.cleanup_file(&begin.group))?,
        publication.move_out(&transaction, MANIFEST, &layout.manifest(&begin.group))?,
    ];
    if moved.contains(&Moved::Yes) {
        instructions.sync()?;
        manifests.sync()?;
        transaction.sync()?;
    }
    if moved.contains(&Moved::No) {
        // An earlier life was here, perhaps of a version that wrote nothing ahead but the manifest; or the
        // directories are on different file systems.
        let Some(manifest) = store::read_manifest(layout, &begin.group)? else { return Ok(()) };
        if manifest.deployment != begin.deployment {
            return Ok(());
        }
        publication.write_again(&manifest)?;
    }
    store::mark_last_successful(layout, &begin.group, &begin.deployment)?;
    Ok(())
}

/// Whether a file that was written ahead was put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Yes,
    No,
}

struct Publication<'a> {
    root: Dir,
    layout: &'a Layout,
}

impl Publication<'_> {
    fn move_out(&self, transaction: &Dir, name: &str, target: &Path) -> Result<Moved, disk::Error> {
        let base = self.layout.root();
        let from = transaction.path().join(name);
        let (Ok(from), Ok(to)) = (from.strip_prefix(base), target.strip_prefix(base)) else { return Ok(Moved::No) };
        if transaction.stat_if_exists(name)?.is_none() {
            return Ok(Moved::No);
        }
        match self.root.rename(from, to) {
            Ok(()) => Ok(Moved::Yes),
            Err(error) if error.is_other_filesystem() => Ok(Moved::No),
            Err(error) => Err(error),
        }
    }

    /// From the manifest in place, whatever there is.
    fn write_again(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let entries = || manifest.entries.iter().map(OwnedToBe::from);
        disk::write_atomic(&self.layout.cleanup_file(&manifest.group), &cleanup(entries()), 0o644)?;
        let path = self.layout.install_file(&manifest.group);
        let text = for_people(&manifest.deployment, entries(), &path)?;
        Ok(disk::write_atomic(&path, &text, 0o644)?)
    }
}

/// A path a line, what is in a directory after it, and its rule for a label after that. A name with a newline
/// in it cannot be said.
fn cleanup<'a>(entries: impl Iterator<Item = OwnedToBe<'a>>) -> Vec<u8> {
    let mut text = Vec::new();
    for owned in entries {
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
    fn of(owned: &'a OwnedToBe<'a>) -> Self {
        let destination = owned.path.to_string_lossy();
        match &*owned.state {
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
fn for_people<'a>(
    deployment: &DeploymentId,
    entries: impl Iterator<Item = OwnedToBe<'a>>,
    path: &Path,
) -> Result<Vec<u8>, StoreError> {
    let mut text = format!("{{\"deployment\":\"{deployment}\",\"instructions\":[").into_bytes();
    for (number, owned) in entries.enumerate() {
        text.extend_from_slice(if number == 0 { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut text, &Instruction::of(&owned)).map_err(|source| StoreError::Unwritable {
            what: "the list of what was installed",
            path: path.to_owned(),
            source,
        })?;
    }
    text.extend_from_slice(b"\n]}\n");
    Ok(text)
}
