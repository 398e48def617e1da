//! Putting every target back to the state that it had, by what is on the disk.

use super::attributes;
use super::clean::remove_members;
use super::root::{Root, name, shallow_state};
use super::settle::{Drift, Seen, look};
use super::transaction::Transaction;
use crate::disk;
use crate::journal::Staged;
use crate::plan::{Attrs, Change, PathState, Step, Time};

/// Undoes all steps, the last first. What somebody else changed is left and reported.
pub(super) fn undo(root: &Root, transaction: &Transaction, drift: &mut Vec<Drift>) -> Result<(), disk::Error> {
    for (staged, step) in transaction.staged_steps().rev() {
        let undo = Undo { root, transaction, staged, step };
        let strange = match step.change {
            Change::Create => undo.create()?,
            Change::Replace => undo.replace()?,
            Change::Remove => undo.remove()?,
            Change::Attributes => undo.attributes()?,
            Change::Touch => undo.touch()?,
            Change::RemoveDirectory | Change::Keep | Change::Retain => None,
        };
        drift.extend(strange.map(|found| Drift { path: step.path.clone(), found }));
    }
    Ok(())
}

struct Undo<'a> {
    root: &'a Root,
    transaction: &'a Transaction,
    staged: &'a Staged,
    step: &'a Step,
}

/// What somebody else did, if so.
type Strange = Result<Option<String>, disk::Error>;

impl Undo<'_> {
    fn create(&self) -> Strange {
        if self.seen_at_target()? != Seen::New {
            return Ok(None);
        }
        if !self.step.want.is_directory() {
            self.root.parent(&self.step.path)?.unlink(name(&self.step.path))?;
            return Ok(None);
        }
        let left = remove_members(self.root, &self.step.path, &self.transaction.steps, self.staged.step)?;
        Ok(left.then(|| "something was put into this new directory".to_owned()))
    }

    /// Wherever the old state is kept, it goes back to the target if the new one, or nothing, is there.
    fn replace(&self) -> Strange {
        let (target, names) = (&self.step.path, &self.transaction.names);
        let (exchanged, kept) = (names.staged(target), names.old(target));
        let parent = || self.root.parent(target);
        let at_target = self.seen_at_target()?;
        let at_exchanged = look(self.root, &exchanged, self.staged.old, self.staged.new)?;
        let at_kept = look(self.root, &kept, self.staged.old, self.staged.new)?;
        match (at_target, at_exchanged, at_kept) {
            (Seen::Old, _, _) => Ok(None),
            // What is under the stage name and is not the new state came from the target.
            (Seen::New, Seen::Old | Seen::Strange, _) => {
                parent()?.exchange(name(&exchanged), name(target))?;
                Ok(None)
            }
            (Seen::New, Seen::Nothing | Seen::New, Seen::Old | Seen::Strange) => {
                let parent = parent()?;
                if at_exchanged == Seen::New {
                    // Where nothing can be renamed without replacing, it has two names for a moment, and an
                    // earlier recovery ended in that.
                    parent.unlink(name(target))?;
                } else {
                    parent.rename_noreplace(name(target), name(&exchanged))?;
                }
                parent.rename_noreplace(name(&kept), name(target))?;
                Ok(None)
            }
            (Seen::Nothing, _, Seen::Old | Seen::Strange) => {
                parent()?.rename_noreplace(name(&kept), name(target))?;
                Ok(None)
            }
            (Seen::Nothing, Seen::Old | Seen::Strange, _) => {
                parent()?.rename_noreplace(name(&exchanged), name(target))?;
                Ok(None)
            }
            (Seen::New, _, _) => Ok(Some("the new state is there, and the old one is kept nowhere".to_owned())),
            (Seen::Nothing, _, _) => Ok(Some("it was removed, and the old state is kept nowhere".to_owned())),
            (Seen::Strange, _, _) => Ok(Some("somebody else put something there".to_owned())),
        }
    }

    fn remove(&self) -> Strange {
        let kept = self.transaction.names.old(&self.step.path);
        let at_target = self.seen_at_target()?;
        let at_kept = look(self.root, &kept, self.staged.old, None)?;
        match (at_target, at_kept) {
            (Seen::Nothing, Seen::Old | Seen::Strange) => {
                self.root.parent(&self.step.path)?.rename_noreplace(name(&kept), name(&self.step.path))?;
                Ok(None)
            }
            (Seen::Old, _) => Ok(None),
            (Seen::Nothing, _) => Ok(Some("it was removed".to_owned())),
            (Seen::New | Seen::Strange, _) => Ok(Some("somebody else put something there".to_owned())),
        }
    }

    /// A crash between owner, mode and lists leaves a mix of old and new, which nobody else made.
    fn attributes(&self) -> Strange {
        let (PathState::Directory { attrs: was }, PathState::Directory { attrs: want }) =
            (self.step.was(), &self.step.want)
        else {
            return Ok(None);
        };
        if self.seen_at_target()? != Seen::Old {
            return Ok(Some("somebody else put something there".to_owned()));
        }
        let dir = self.root.dir(&self.step.path)?;
        let labels = was.label != want.label && want.label.is_some();
        let label = if labels { attributes::label_of(&dir)? } else { None };
        let now = attributes::of_directory(&dir)?.with_label(label);
        if !is_between(&now, was, want) || (labels && now.label != was.label && now.label != want.label) {
            return Ok(Some("somebody else changed its owner, mode, access control list or label".to_owned()));
        }
        if now.clone().with_label(None) != was.clone().with_label(None) {
            attributes::set_on_directory(&dir, &was.clone().with_label(None))?;
        }
        if labels {
            attributes::set_label(&dir, was.label.as_ref())?;
        }
        Ok(None)
    }

    fn touch(&self) -> Strange {
        let (Some(was), Some(want)) = (modified(self.step.was()), modified(&self.step.want)) else { return Ok(None) };
        if self.seen_at_target()? != Seen::Old {
            return Ok(Some("somebody else put something there".to_owned()));
        }
        let parent = self.root.parent(&self.step.path)?;
        let now = modified(&shallow_state(&parent.stat(name(&self.step.path))?));
        if now == Some(want) && now != Some(was) {
            parent.set_modified_at(name(&self.step.path), (was.0, was.1))?;
        } else if now != Some(was) {
            return Ok(Some("somebody else wrote to it".to_owned()));
        }
        Ok(None)
    }

    fn seen_at_target(&self) -> Result<Seen, disk::Error> {
        look(self.root, &self.step.path, self.staged.old, self.staged.new)
    }
}

/// Whether the change from one to the other, or back, can have left this. On the way the mode is that
/// without a mask, and each change of the mode changes the list that is there.
fn is_between(now: &Attrs, was: &Attrs, want: &Attrs) -> bool {
    let modes = [was.mode, want.mode, was.base_mode(), want.base_mode()];
    let lists = [was.access_acl(), want.access_acl()];
    let changed = || lists.into_iter().flatten().flat_map(|acl| modes.map(|mode| acl.with_mode(mode)));
    (now.uid == was.uid || now.uid == want.uid)
        && (now.gid == was.gid || now.gid == want.gid)
        && modes.contains(&now.mode)
        && (lists.contains(&now.access_acl()) || changed().any(|acl| Some(&acl) == now.access_acl()))
        && (now.default_acl() == was.default_acl() || now.default_acl() == want.default_acl())
}

fn modified(state: &PathState) -> Option<Time> {
    match state {
        PathState::File { modified, .. } => Some(*modified),
        _ => None,
    }
}
