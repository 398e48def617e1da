//! What follows from a commit: the group's manifest, its marker, and the files that AWS's agent would
//! read. All of it can be done again as often as needed.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::threads::beside;
use super::{filesystems, inherited};
use crate::disk::{self, Dir};
use crate::ids::{DeploymentId, TransactionId};
use crate::journal::{Begin, ListStamp};
use crate::layout::Layout;
use crate::plan::{Change, Manifest, ManifestToBe, PathState, Sha256, Step};
use crate::store::{self, StoreError};

/// In the transaction's directory, until the commit is published.
const MANIFEST: &str = "manifest.json";
const CLEANUP: &str = "cleanup";
const INSTALL: &str = "install.json";

/// As long as a manifest can be.
const MOST_BYTES: u64 = <Manifest as store::Stored>::MAX_BYTES;

/// Of how many paths the lists of a commit are made at once.
const AT_ONCE: std::ops::RangeInclusive<usize> = 1000..=20_000;

/// Writes all that the commit will publish where it will find it, so that a disk that fills up later does not
/// keep it from that. The manifest is durable then; what stands in it alone is with the targets.
pub(super) fn write_ahead(layout: &Layout, id: &TransactionId, manifest: &ManifestToBe<'_>) -> Result<(), StoreError> {
    let transaction = layout.transaction(id);
    let write = |name: &str, text: &[u8]| filesystems::write_ahead(&transaction.join(name), text, 0o644);
    let lists = || {
        write(CLEANUP, &inherited::text(manifest.entries(), manifest.links()))?;
        let text = for_people(manifest.deployment(), manifest.changes(), &transaction.join(INSTALL))?;
        Ok(write(INSTALL, &text)?)
    };
    let publish = || store::write_as::<Manifest>(&ahead(layout, id), manifest);
    // For few it is not worth a thread; of many the texts would take too much memory at once.
    if AT_ONCE.contains(&manifest.at_most()) {
        let (written, published) = beside("lists", lists, publish);
        written.and(published)
    } else {
        lists().and_then(|()| publish())
    }
}

/// Where the new manifest waits for the commit.
pub(super) fn ahead(layout: &Layout, id: &TransactionId) -> PathBuf {
    layout.transaction(id).join(MANIFEST)
}

/// Whether it waits there still.
pub(super) fn is_ahead(layout: &Layout, id: &TransactionId) -> Result<bool, disk::Error> {
    Ok(Dir::open(layout.transaction(id))?.stat_if_exists(MANIFEST)?.is_some())
}

/// Whose files are there, once a commit is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Those of its deployment.
    Installed,
    /// Those of a later one, which an earlier life of the agent installed, or AWS's agent.
    Overtaken,
}

/// Publishes a commit, all but the marker of its deployment.
pub(super) fn publish(layout: &Layout, id: &TransactionId, begin: &Begin) -> Result<Standing, StoreError> {
    let transaction = Dir::open(layout.transaction(id))?;
    if was_overtaken(layout, &transaction, begin)? {
        return Ok(Standing::Overtaken);
    }
    let manifests = Dir::open_or_create(layout.manifests(), 0o700)?;
    let instructions = Dir::open_or_create(layout.instructions(), 0o755)?;
    let publication = Publication { root: Dir::open(layout.root())?, layout };
    let for_people = layout.install_file(&begin.group);
    if publication.move_out(&transaction, INSTALL, &for_people)? == Moved::No
        && let Some(text) = disk::read_if_exists(&transaction.path().join(INSTALL), MOST_BYTES)?
    {
        disk::write_unsynced(&for_people, &text, 0o644)?;
    }
    let moved = [
        publication.move_out(&transaction, CLEANUP, &layout.cleanup_file(&begin.group))?,
        publication.move_out(&transaction, MANIFEST, &layout.manifest(&begin.group))?,
    ];
    if moved.contains(&Moved::Yes) {
        instructions.sync()?;
        manifests.sync()?;
        transaction.sync()?;
    }
    if moved.contains(&Moved::No) {
        // An earlier life was here, or the directories are on different file systems.
        let manifest = store::read_manifest(layout, &begin.group)?;
        let Some(manifest) = manifest.filter(|manifest| manifest.deployment == begin.deployment) else {
            return Ok(Standing::Overtaken);
        };
        if transaction.stat_if_exists(CLEANUP)?.is_none() {
            // It is in its place, unless AWS's agent has installed something since.
            let now = inherited::read(layout, &begin.group)?;
            let is_there = now.is_none_or(|list| inherited::is_of(&list, &manifest));
            return Ok(if is_there { Standing::Installed } else { Standing::Overtaken });
        }
        let cleanup = inherited::text_of(&manifest);
        disk::write_atomic(&layout.cleanup_file(&begin.group), &cleanup, 0o644)?;
    }
    Ok(Standing::Installed)
}

/// Whether AWS's agent has installed something since the commit, which an earlier life of this agent did not publish:
/// its list, and not the one before the install, is there.
fn was_overtaken(layout: &Layout, transaction: &Dir, begin: &Begin) -> Result<bool, disk::Error> {
    let Some(before) = begin.list else { return Ok(false) };
    let Some(staged) = disk::read_if_exists(&transaction.path().join(CLEANUP), MOST_BYTES)? else { return Ok(false) };
    let Some(now) = inherited::read(layout, &begin.group)? else { return Ok(false) };
    Ok(ListStamp::of(Some(&now)) != before && now != staged)
}

/// Marks the deployment as the one whose files are there, if they are.
pub(super) fn mark(layout: &Layout, begin: &Begin, standing: Standing) -> Result<(), StoreError> {
    if standing == Standing::Installed {
        store::mark_last_successful(layout, &begin.group, &begin.deployment)?;
    }
    Ok(())
}

/// Publishes a list of what a group owns that no install leads to, for other agents too.
pub(super) fn put(layout: &Layout, manifest: &Manifest) -> Result<(), StoreError> {
    store::write(&layout.manifest(&manifest.group), manifest)?;
    Dir::open_or_create(layout.instructions(), 0o755)?;
    let list = inherited::text_of(manifest);
    Ok(disk::write_atomic(&layout.cleanup_file(&manifest.group), &list, 0o644)?)
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
}

/// What was done at a path, in the words of AWS's agent.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Instruction<'a> {
    Mkdir { directory: Cow<'a, str>, attributes: String },
    Symlink { destination: Cow<'a, str>, target: Cow<'a, str> },
    Copy { destination: Cow<'a, str>, attributes: String, size: u64, sha256: Option<Sha256> },
    Remove { destination: Cow<'a, str> },
    Other { destination: Cow<'a, str> },
}

impl<'a> Instruction<'a> {
    fn of(step: &'a Step) -> Self {
        let destination = step.path.to_string_lossy();
        if matches!(step.change, Change::Remove | Change::RemoveDirectory) {
            return Self::Remove { destination };
        }
        match &step.want {
            PathState::Directory { attrs } => Self::Mkdir { directory: destination, attributes: attrs.to_string() },
            PathState::Symlink { target, .. } => Self::Symlink { destination, target: target.to_string_lossy() },
            PathState::File { attrs, size, sha256, .. } => {
                Self::Copy { destination, attributes: attrs.to_string(), size: *size, sha256: *sha256 }
            }
            PathState::Absent | PathState::Other => Self::Other { destination },
        }
    }
}

/// An instruction a line: what the install does, and nothing of what stays as it is.
fn for_people<'a>(
    deployment: &DeploymentId,
    changes: impl Iterator<Item = &'a Step>,
    path: &Path,
) -> Result<Vec<u8>, StoreError> {
    let mut text = format!("{{\"deployment\":\"{deployment}\",\"instructions\":[").into_bytes();
    for (number, step) in changes.enumerate() {
        text.extend_from_slice(if number == 0 { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut text, &Instruction::of(step)).map_err(|source| StoreError::Unwritable {
            what: "the list of what an install does",
            path: path.to_owned(),
            source,
        })?;
    }
    text.extend_from_slice(b"\n]}\n");
    Ok(text)
}
