//! Removing what a transaction kept beside its targets.

use std::path::Path;

use super::names::Names;
use super::root::{Root, name};
use super::settle::{Drift, Seen, look};
use super::threads::{spread, threads_for};
use super::transaction::Transaction;
use crate::disk::{self, Kind};
use crate::journal::Staged;
use crate::plan::{Change, Step, trees};

/// Before anything was prepared: whatever is under a stage name was put there by the transaction.
pub(super) fn stage_names(root: &Root, transaction: &Transaction) -> Result<(), disk::Error> {
    for (_, step, _) in trees(&transaction.steps).filter(|(_, step, _)| step.is_staged()) {
        remove(root, &transaction.names.staged(&step.path))?;
    }
    Ok(())
}

/// After an undo: the new state goes, from wherever it is. What is not the new state is not ours to
/// remove.
pub(super) fn after_undo(root: &Root, transaction: &Transaction, drift: &mut Vec<Drift>) -> Result<(), disk::Error> {
    for (staged, step) in transaction.staged_steps() {
        let at = transaction.names.staged(&step.path);
        if look(root, &at, staged.old, staged.new)? == Seen::New {
            let left = if step.want.is_directory() {
                remove_members(root, &at, &transaction.steps, staged.step)?
            } else {
                remove(root, &at)?;
                false
            };
            if left {
                let found = "something was put into this directory while it was installed".to_owned();
                drift.push(Drift { path: at.clone(), found });
            }
        }
        // A second name that the old state has because it could not be exchanged, or not be renamed in one step.
        for second in [transaction.names.old(&step.path), at] {
            let both = [&second, &step.path].map(|path| look(root, path, staged.old, staged.new));
            if let [Ok(Seen::Old), Ok(Seen::Old)] = both {
                remove(root, &second)?;
            }
        }
    }
    Ok(())
}

/// After a commit: what was replaced or removed goes, and then the directories that are left empty.
pub(super) fn after_commit(root: &Root, transaction: &Transaction, drift: &mut Vec<Drift>) -> Result<(), disk::Error> {
    let steps: Vec<_> = transaction.staged_steps().collect();
    // A file system that tells its device of each block that it frees waits for it each time.
    for found in spread("cleaning", threads_for(steps.len()), &steps, |part| old_states(root, &transaction.names, part))
    {
        drift.extend(found?);
    }
    for (staged, step) in transaction.staged_steps().rev().filter(|(_, step)| step.change == Change::RemoveDirectory) {
        if look(root, &step.path, staged.old, None)? == Seen::Old {
            match root.parent(&step.path)?.remove_dir(name(&step.path)) {
                Err(error) if error.is_not_empty() => {}
                // Mounted on or made immutable since it was looked at: what it belongs to is installed.
                Err(error) if error.is_not_permitted() || error.is_busy() => {
                    drift.push(Drift { path: step.path.clone(), found: error.to_string() });
                }
                other => other?,
            }
        }
    }
    Ok(())
}

/// Removes the old states of these steps; tells what is in their places and is not theirs.
fn old_states(root: &Root, names: &Names, steps: &[(&Staged, &Step)]) -> Result<Vec<Drift>, disk::Error> {
    let mut drift = Vec::new();
    for (staged, step) in steps {
        for kept in [names.staged(&step.path), names.old(&step.path)] {
            match look(root, &kept, staged.old, staged.new)? {
                Seen::Nothing => {}
                Seen::Old => remove(root, &kept)?,
                Seen::New | Seen::Strange => {
                    let found = "somebody else put something under a name of the transaction".to_owned();
                    drift.push(Drift { path: kept, found });
                }
            }
        }
    }
    Ok(drift)
}

/// Removes from a new directory what the transaction put into it, and the directory if nothing else is
/// left; tells whether something is.
pub(super) fn remove_members(root: &Root, base: &Path, steps: &[Step], step: usize) -> Result<bool, disk::Error> {
    let mut left = false;
    for (_, first, members) in trees(steps).filter(|(number, _, _)| *number == step) {
        for member in members.iter().rev() {
            let Ok(relative) = member.path.strip_prefix(&first.path) else { continue };
            left |= remove_member(root, &base.join(relative), member.want.is_directory())?;
        }
        left |= remove_member(root, base, true)?;
    }
    Ok(left)
}

fn remove_member(root: &Root, path: &Path, is_directory: bool) -> Result<bool, disk::Error> {
    let Some(facts) = root.facts(path)? else { return Ok(false) };
    let parent = root.parent(path)?;
    match (facts.stat.kind == Kind::Directory, is_directory) {
        (false, false) => parent.unlink(name(path)).map(|()| false),
        (true, true) => match parent.remove_dir(name(path)) {
            Err(error) if error.is_not_empty() => Ok(true),
            other => other.map(|()| false),
        },
        _ => Ok(true),
    }
}

/// Removes what is at a path with all below it, if anything is.
pub(super) fn remove(root: &Root, path: &Path) -> Result<(), disk::Error> {
    match root.parent(path) {
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(()),
        parent => parent?.remove_tree(name(path)),
    }
}
