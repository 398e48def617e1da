//! Putting the new state in place: renames alone, each of which can be taken back.

use std::collections::BTreeSet;
use std::path::Path;

use super::Cause;
use super::attributes;
use super::filesystems::Filesystems;
use super::names::Names;
use super::root::{Root, identity, name};
use super::transaction::Transaction;
use crate::disk::{self, Dir, Mounts, sync_file};
use crate::journal::Staged;
use crate::plan::{Change, Identity, PathState, Step, trees};

/// Finds out which inodes each step is about to move, after making sure that nobody changed a target
/// since it was looked at.
pub(super) fn prepare(root: &Root, steps: &[Step], names: &Names) -> Result<Vec<Staged>, Cause> {
    let mounts = Mounts::read()?;
    let mut all = Vec::new();
    for (number, step, _) in trees(steps) {
        copy_up(root, step, &mounts)?;
        let old = root.facts(&step.path)?.map(|facts| identity(&facts));
        let new = if step.is_staged() { root.facts(&names.staged(&step.path))? } else { None };
        let new = new.map(|facts| identity(&facts));
        let unchanged = match (&step.identity, &old) {
            (None, None) => true,
            // A copy-up has given it a new identity, on purpose.
            (Some(_), Some(_)) if is_overlay(step, &mounts) => true,
            (Some(known), Some(old)) => known.is_same(old),
            _ => false,
        };
        if !unchanged || (step.is_staged() && new.is_none()) {
            return Err(Cause::ChangedMeanwhile { path: step.path.clone() });
        }
        all.push(Staged { step: number, old, new });
    }
    Ok(all)
}

/// Moves every target to its new state.
pub(super) fn apply(root: &Root, transaction: &Transaction) -> Result<(), Cause> {
    let names = &transaction.names;
    for (staged, step) in transaction.staged_steps() {
        let parent = root.parent(&step.path)?;
        match step.change {
            Change::Create => create(&parent, step, names)?,
            Change::Replace => replace(root, &parent, step, staged.old, names)?,
            Change::Remove => {
                let old = names.old(&step.path);
                parent.rename_noreplace(name(&step.path), name(&old))?;
                check_moved(root, &old, staged.old, &step.path)?;
            }
            Change::Touch => {
                check_still(root, &step.path, staged.old)?;
                if let PathState::File { modified, .. } = &step.want {
                    parent.set_modified_at(name(&step.path), (modified.0, modified.1))?;
                }
            }
            Change::Attributes | Change::RemoveDirectory | Change::Keep | Change::Retain => {}
        }
    }
    // Last and deepest first: a directory that gets closed is not worked in any more.
    for (staged, step) in transaction.staged_steps().rev() {
        if let (Change::Attributes, PathState::Directory { attrs }) = (step.change, &step.want) {
            check_still(root, &step.path, staged.old)?;
            attributes::set_on_directory(&root.dir(&step.path)?, attrs)?;
        }
    }
    Ok(())
}

/// Makes durable what happened to the names and attributes of all targets.
pub(super) fn sync_targets(root: &Root, steps: &[Step], filesystems: &Filesystems) -> Result<(), disk::Error> {
    let mut directories = BTreeSet::new();
    let mut files = Vec::new();
    for (_, step, _) in trees(steps) {
        directories.extend(step.path.parent());
        match step.change {
            Change::Attributes => {
                directories.insert(&step.path);
            }
            Change::Touch => files.push(&step.path),
            _ => {}
        }
    }
    if filesystems.sync_instead(directories.len() + files.len())? {
        return Ok(());
    }
    for path in files {
        match root.file(path) {
            Err(error) if error.is_not_found() || error.is_not_a_directory() => {}
            file => sync_file(&file?, path)?,
        }
    }
    for directory in directories {
        match root.dir(directory) {
            // It was removed, or somebody else put something in its place: its parent tells.
            Err(error) if error.is_not_found() || error.is_not_a_directory() => {}
            dir => dir?.sync()?,
        }
    }
    Ok(())
}

fn create(parent: &Dir, step: &Step, names: &Names) -> Result<(), Cause> {
    match parent.rename_noreplace(name(&names.staged(&step.path)), name(&step.path)) {
        Err(error) if error.is_already_exists() => Err(Cause::ChangedMeanwhile { path: step.path.clone() }),
        other => Ok(other?),
    }
}

fn replace(root: &Root, parent: &Dir, step: &Step, old: Option<Identity>, names: &Names) -> Result<(), Cause> {
    let (staged, kept) = (names.staged(&step.path), names.old(&step.path));
    match parent.exchange(name(&staged), name(&step.path)) {
        Err(error) if error.is_unsupported() => {
            set_aside(parent, step, names)?;
            check_moved(root, &kept, old, &step.path)?;
            Ok(parent.rename(name(&staged), name(&step.path))?)
        }
        other => {
            other?;
            check_moved(root, &staged, old, &step.path)
        }
    }
}

/// Keeps the old state where it cannot be exchanged: by a second name, so that the target is never
/// missing; a directory, which cannot have two, is renamed.
fn set_aside(parent: &Dir, step: &Step, names: &Names) -> Result<(), Cause> {
    let kept = names.old(&step.path);
    if !step.was().is_directory() && !step.want.is_directory() {
        match parent.hard_link(name(&step.path), name(&kept)) {
            // Some file systems have no hard links, or not this many.
            Err(error) if error.is_unsupported() || error.is_not_permitted() => {}
            other => return Ok(other?),
        }
    }
    Ok(parent.rename_noreplace(name(&step.path), name(&kept))?)
}

/// Whether what was moved out of the way is what the plan knew. If not, somebody was faster, and the
/// undo puts theirs back.
fn check_moved(root: &Root, moved: &Path, old: Option<Identity>, target: &Path) -> Result<(), Cause> {
    let found = root.facts(moved)?.map(|facts| identity(&facts));
    match (found, old) {
        (Some(found), Some(old)) if found.is_same(&old) => Ok(()),
        _ => Err(Cause::ChangedMeanwhile { path: target.to_owned() }),
    }
}

fn check_still(root: &Root, target: &Path, old: Option<Identity>) -> Result<(), Cause> {
    check_moved(root, target, old, target)
}

fn is_overlay(step: &Step, mounts: &Mounts) -> bool {
    let parent = step.path.parent().unwrap_or(&step.path);
    mounts.of(parent).is_some_and(|mount| mount.kind == "overlay")
}

/// Overlay file systems give a file another inode when it is first changed: that is made to happen
/// before the inodes are written down.
fn copy_up(root: &Root, step: &Step, mounts: &Mounts) -> Result<(), disk::Error> {
    if !is_overlay(step, mounts) {
        return Ok(());
    }
    match root.facts(&step.path)? {
        Some(facts) => root.parent(&step.path)?.set_modified_at(name(&step.path), facts.stat.modified),
        None => Ok(()),
    }
}
