//! Finishing or undoing what an earlier life left, by what is on the disk. The same code puts things
//! back when an install fails.

use std::path::{Path, PathBuf};

use super::names::Names;
use super::root::{Root, identity};
use super::rules::RulesError;
use super::transaction::{Phase, Transaction};
use super::{apply, clean, lost, publish, rules, undo};
use crate::disk::{self, Dir, Lock, Mounts};
use crate::ids::{DeploymentId, GroupId, TransactionId};
use crate::journal::{Filesystem, Journal, JournalError, Record};
use crate::layout::Layout;
use crate::plan::Identity;
use crate::store::StoreError;

/// What became of one install that had been cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whose install it was; unknown if it did not even get as far as its plan.
    pub install: Option<(GroupId, DeploymentId)>,
    /// What became of it.
    pub ending: Ending,
    /// What somebody else changed in the meantime, and was left.
    pub drift: Vec<Drift>,
}

/// What became of an install that had been cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It had not changed anything yet.
    Discarded,
    /// The state before it was put back.
    RolledBack,
    /// It had been committed; what was left to do was done.
    Completed,
    /// A file system that it concerns is not mounted: nothing was done, it will be tried again.
    Waiting {
        /// Where it was mounted.
        mount_point: PathBuf,
    },
}

/// A path that is neither as it was before an install nor as the install left it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {found}; it was left as it is", path.display())]
pub struct Drift {
    /// The path.
    pub path: PathBuf,
    /// What was found.
    pub found: String,
}

/// Why something that was cut off could not be settled. It will be tried again.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The file system said no.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What follows from a commit could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host's rules for SELinux labels could not be put back.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// Settles every install that was cut off. Waits for one that is under way.
pub fn settle(layout: &Layout) -> Result<Vec<Settled>, SettleError> {
    let mut cut_off = false;
    for id in transactions(layout)? {
        cut_off |= !Journal::is_held(&layout.journal(&id))?;
    }
    if !cut_off {
        return Ok(Vec::new());
    }
    Dir::open_or_create(layout.locks(), 0o700)?;
    let _paths = Lock::wait(&layout.paths_lock())?;
    settle_all(layout)
}

/// As [`settle`], by whoever holds the lock on all paths.
pub(super) fn settle_all(layout: &Layout) -> Result<Vec<Settled>, SettleError> {
    transactions(layout)?.into_iter().map(|id| settle_one(layout, id)).collect()
}

/// Settles one install.
pub(super) fn settle_one(layout: &Layout, id: TransactionId) -> Result<Settled, SettleError> {
    let path = layout.journal(&id);
    let discarded = Settled { install: None, ending: Ending::Discarded, drift: Vec::new() };
    let Some(mut replay) = Journal::open(&path)? else {
        Transaction::forget(layout, &id)?;
        return Ok(discarded);
    };
    replay.affirm_commit()?;
    let root = Root::open()?;
    let Some(mut transaction) = Transaction::from_replay(id.clone(), &path, replay)? else {
        lost::check_begun(layout, &root, &Names(id.clone()))?;
        Transaction::forget(layout, &id)?;
        return Ok(discarded);
    };
    let begin = &transaction.begin;
    let install = Some((begin.group.clone(), begin.deployment.clone()));
    if !matches!(transaction.phase, Phase::Begun | Phase::Done)
        && let Some(mount_point) = missing_filesystem(&transaction)?
    {
        return Ok(Settled { install, ending: Ending::Waiting { mount_point }, drift: Vec::new() });
    }
    lost::check(layout, &root, &transaction)?;
    let mut drift = Vec::new();
    let ending = match transaction.phase {
        Phase::Begun => Ending::Discarded,
        Phase::Planned => {
            clean::stage_names(&root, &transaction)?;
            Ending::RolledBack
        }
        Phase::Prepared => {
            undo::undo(&root, &transaction, &mut drift)?;
            rules::undo(&transaction.rules, &mut drift)?;
            apply::sync_targets(&root, &transaction.steps)?;
            transaction.record(Record::RolledBack, Phase::RolledBack)?;
            clean::after_undo(&root, &transaction, &mut drift)?;
            Ending::RolledBack
        }
        Phase::RolledBack => {
            clean::after_undo(&root, &transaction, &mut drift)?;
            Ending::RolledBack
        }
        Phase::Committed | Phase::Done => {
            complete(layout, &root, &mut transaction, &mut drift)?;
            return Ok(Settled { install, ending: Ending::Completed, drift });
        }
    };
    apply::sync_targets(&root, &transaction.steps)?;
    Transaction::forget(layout, &id)?;
    Ok(Settled { install, ending, drift })
}

/// Everything after the commit.
pub(super) fn complete(
    layout: &Layout,
    root: &Root,
    transaction: &mut Transaction,
    drift: &mut Vec<Drift>,
) -> Result<(), SettleError> {
    if transaction.phase == Phase::Committed {
        publish::publish(layout, &transaction.names.0, &transaction.begin)?;
        clean::after_commit(root, transaction, drift)?;
        apply::sync_targets(root, &transaction.steps)?;
        transaction.record(Record::Done, Phase::Done)?;
    }
    Ok(Transaction::forget(layout, &transaction.names.0)?)
}

/// Takes back a commit of which it is not known whether it reached the disk.
pub(super) fn retract_commit(layout: &Layout, id: &TransactionId) -> Result<(), JournalError> {
    match Journal::open(&layout.journal(id))? {
        Some(mut replay) => replay.retract_commit(),
        None => Ok(()),
    }
}

/// What is at a path, seen from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Nothing,
    Old,
    New,
    Strange,
}

/// Looks at a path for the inodes of a step.
pub(super) fn look(
    root: &Root,
    path: &Path,
    old: Option<Identity>,
    new: Option<Identity>,
) -> Result<Seen, disk::Error> {
    let Some(facts) = root.facts(path)? else { return Ok(Seen::Nothing) };
    let found = identity(&facts);
    let is = |known: Option<Identity>| known.is_some_and(|known| known.is_same(&found));
    Ok(if is(new) {
        Seen::New
    } else if is(old) {
        Seen::Old
    } else {
        Seen::Strange
    })
}

fn transactions(layout: &Layout) -> Result<Vec<TransactionId>, disk::Error> {
    let dir = match Dir::open(layout.transactions()) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let id = |entry: &disk::Entry| TransactionId::parse(entry.name.to_str()?).ok();
    Ok(dir.entries()?.iter().filter_map(id).collect())
}

/// The mount point of a file system that is not there as it was, or that hides a path of the plan.
fn missing_filesystem(transaction: &Transaction) -> Result<Option<PathBuf>, disk::Error> {
    let mounts = Mounts::read()?;
    for known in &transaction.begin.filesystems {
        let mount = mounts.of(&known.mount_point).filter(|mount| mount.point == known.mount_point);
        let is_same = match mount {
            Some(mount) => mount.kind == known.kind && !differ(known, mount.volume()?),
            None => false,
        };
        if !is_same {
            return Ok(Some(known.mount_point.clone()));
        }
    }
    let points: Vec<&Path> = transaction.begin.filesystems.iter().map(|known| known.mount_point.as_path()).collect();
    let hidden = |step: &crate::plan::Step| {
        let mount = mounts.of(step.path.parent()?)?;
        (!points.contains(&mount.point.as_path())).then(|| mount.point.clone())
    };
    Ok(transaction.steps.iter().find_map(hidden))
}

/// Volumes differ if both are named in the same way and the names are not the same: udev may not have
/// named them all yet.
fn differ(known: &Filesystem, found: Option<String>) -> bool {
    let scheme = |name: &str| name.split(':').next().map(str::to_owned);
    matches!((&known.volume, &found), (Some(one), Some(two)) if scheme(one) == scheme(two) && one != two)
}
