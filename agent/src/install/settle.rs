//! Finishing or undoing what an earlier life left, by what is on the disk. The same code puts things
//! back when an install fails.

use std::path::{Path, PathBuf};

use super::abandon;
use super::attempts::{Attempt, GivenUp, Patience};
use super::filesystems::Filesystems;
use super::names::Names;
use super::reach::Reach;
use super::root::{Root, identity};
use super::rules::RulesError;
use super::story::Story;
use super::threads::{beside, threads_for};
use super::transaction::{Phase, Transaction};
use super::{apply, clean, lost, publish, rules, undo, unsettled};
use crate::disk::{self, Dir, Lock, Mounts};
use crate::ids::{DeploymentId, GroupId, TransactionId};
use crate::journal::{Filesystem, Journal, JournalError, Record};
use crate::layout::Layout;
use crate::plan::{Identity, Step};
use crate::store::StoreError;

/// What became of one install that had been cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its transaction.
    pub transaction: TransactionId,
    /// Whose install it was; unknown if it did not even get as far as its plan.
    pub install: Option<(GroupId, DeploymentId)>,
    /// What became of it.
    pub ending: Ending,
    /// What somebody else changed in the meantime, and was left.
    pub drift: Vec<Drift>,
    /// What it holds back, as long as it is not settled.
    pub reach: Reach,
}

impl Settled {
    fn over(transaction: TransactionId, install: Option<(GroupId, DeploymentId)>, ending: Ending) -> Self {
        Self { transaction, install, ending, drift: Vec::new(), reach: Reach::default() }
    }

    /// Whether it is still to be settled.
    pub fn is_unsettled(&self) -> bool {
        match self.ending {
            Ending::Discarded | Ending::RolledBack | Ending::Completed | Ending::Abandoned { .. } => false,
            Ending::Waiting { .. } | Ending::LeftAside { .. } | Ending::Failed { .. } => true,
        }
    }

    /// Whether it is still to be settled before anything is deployed to the group.
    pub fn holds_back(&self, group: &GroupId) -> bool {
        self.is_unsettled() && self.reach.holds(group)
    }
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
    /// The agent did not outlive its recoveries: nothing was done, and it is not tried again before somebody
    /// asks for it.
    LeftAside {
        /// How many recoveries were begun.
        recoveries: u32,
        /// The directory of what is known of it.
        record: PathBuf,
    },
    /// It could not be settled; it will be tried again.
    Failed {
        /// Why.
        why: String,
    },
    /// Somebody gave it up: what it had changed is as it was found.
    Abandoned {
        /// Where its journal is kept.
        record: PathBuf,
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

/// Settles every install that was cut off, but those whose recovery has ended the agent too often. Waits for
/// one that is under way. One that cannot be settled keeps no other from that. An error only where it is not even
/// known which installs there are.
pub fn settle(layout: &Layout) -> Result<Vec<Settled>, disk::Error> {
    settle_with(layout, Patience::Bounded)
}

/// As [`settle`], however often a recovery has ended the agent.
pub fn settle_all_the_same(layout: &Layout) -> Result<Vec<Settled>, disk::Error> {
    settle_with(layout, Patience::Unbounded)
}

fn settle_with(layout: &Layout, patience: Patience) -> Result<Vec<Settled>, disk::Error> {
    let mut cut_off = false;
    for id in transactions(layout)? {
        // What cannot even be asked is found out when it is settled.
        cut_off |= !Journal::is_held(&layout.journal(&id)).unwrap_or(false);
    }
    if !cut_off {
        return Ok(Vec::new());
    }
    Dir::open_or_create(layout.locks(), 0o700)?;
    let _paths = Lock::wait(&layout.paths_lock())?;
    settle_all(layout, patience)
}

/// As [`settle`], by whoever holds the lock on all paths.
pub(super) fn settle_all(layout: &Layout, patience: Patience) -> Result<Vec<Settled>, disk::Error> {
    Ok(transactions(layout)?.into_iter().map(|id| settle_one(layout, id, patience)).collect())
}

/// Settles one install. What cannot be settled comes back with what it holds back, and that is put down.
pub(super) fn settle_one(layout: &Layout, id: TransactionId, patience: Patience) -> Settled {
    let mut settled = attempt(layout, &id, patience).unwrap_or_else(|error| {
        Settled::over(id.clone(), None, Ending::Failed { why: error.to_string().trim_end_matches('.').to_owned() })
    });
    if settled.is_unsettled() {
        let story = Story::read(layout, &id);
        settled.reach = Reach::of(layout, &id, &story);
        if let Ending::Waiting { mount_point } = &settled.ending {
            settled.reach = settled.reach.without(mount_point);
        }
        settled.install = story.install();
        unsettled::note(layout, &settled);
    }
    settled
}

fn attempt(layout: &Layout, id: &TransactionId, patience: Patience) -> Result<Settled, SettleError> {
    if abandon::is_decided(layout, id)? {
        let record = abandon::finish(layout, id)?;
        let install = None;
        return Ok(Settled::over(id.clone(), install, Ending::Abandoned { record }));
    }
    let path = layout.journal(id);
    let over = |install, ending| Settled::over(id.clone(), install, ending);
    let Some(mut replay) = Journal::open(&path)? else {
        Transaction::forget(layout, id)?;
        return Ok(over(None, Ending::Discarded));
    };
    replay.affirm_commit()?;
    let root = Root::open()?;
    let Some(transaction) = Transaction::from_replay(id.clone(), &path, replay)? else {
        lost::check_begun(layout, &root, &Names(id.clone()))?;
        Transaction::forget(layout, id)?;
        return Ok(over(None, Ending::Discarded));
    };
    let begin = &transaction.begin;
    let install = Some((begin.group.clone(), begin.deployment.clone()));
    if !matches!(transaction.phase, Phase::Begun | Phase::Done)
        && let Some(mount_point) = missing_filesystem(&transaction)?
    {
        return Ok(over(install, Ending::Waiting { mount_point }));
    }
    lost::check(layout, &root, &lost::Told::by(&transaction))?;
    let attempt = match Attempt::begin(layout, id, patience) {
        Ok(attempt) => attempt,
        Err(GivenUp { count }) => {
            let ending = Ending::LeftAside { recoveries: count, record: layout.transaction(id) };
            return Ok(over(install, ending));
        }
    };
    let mut drift = Vec::new();
    match finish(layout, &root, transaction, &mut drift) {
        Ok(ending) => Ok(Settled { drift, ..over(install, ending) }),
        Err(error) => {
            attempt.outlived();
            Err(error)
        }
    }
}

/// Goes on from where an install is, to the one end or the other.
fn finish(
    layout: &Layout,
    root: &Root,
    mut transaction: Transaction,
    drift: &mut Vec<Drift>,
) -> Result<Ending, SettleError> {
    let id = transaction.names.0.clone();
    let ending = match transaction.phase {
        Phase::Begun => Ending::Discarded,
        Phase::Done => Ending::Completed,
        Phase::Committed => {
            let filesystems = Filesystems::open(layout, &id, &transaction.begin)?;
            complete(layout, root, &filesystems, &mut transaction, drift)?;
            return Ok(Ending::Completed);
        }
        Phase::Planned | Phase::Prepared | Phase::RolledBack => {
            let filesystems = Filesystems::open(layout, &id, &transaction.begin)?;
            put_back(root, &filesystems, &mut transaction, drift)?;
            Ending::RolledBack
        }
    };
    Transaction::forget(layout, &id)?;
    Ok(ending)
}

/// From wherever an install is before its commit to the state before it.
fn put_back(
    root: &Root,
    filesystems: &Filesystems,
    transaction: &mut Transaction,
    drift: &mut Vec<Drift>,
) -> Result<(), SettleError> {
    if transaction.phase == Phase::Prepared {
        undo::undo(root, transaction, drift)?;
        rules::undo(&transaction.rules, drift)?;
        apply::sync_targets(root, &transaction.steps, filesystems)?;
        transaction.record(Record::RolledBack, Phase::RolledBack)?;
    }
    match transaction.phase {
        Phase::RolledBack => clean::after_undo(root, transaction, drift)?,
        _ => clean::stage_names(root, transaction)?,
    }
    Ok(apply::sync_targets(root, &transaction.steps, filesystems)?)
}

/// Everything after the commit.
pub(super) fn complete(
    layout: &Layout,
    root: &Root,
    filesystems: &Filesystems,
    transaction: &mut Transaction,
    drift: &mut Vec<Drift>,
) -> Result<(), SettleError> {
    if transaction.phase == Phase::Committed {
        let standing = publish::publish(layout, &transaction.names.0, &transaction.begin)?;
        let mark = || publish::mark(layout, &transaction.begin, standing);
        let mut clean = || clean::after_commit(root, transaction, drift);
        // What is cleaned up needs the manifest to be published, and not the marker.
        if threads_for(transaction.steps.len()) == 1 {
            mark()?;
            clean()?;
        } else {
            let (marked, cleaned) = beside("marker", mark, clean);
            marked?;
            cleaned?;
        }
        apply::sync_targets(root, &transaction.steps, filesystems)?;
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

pub(super) fn transactions(layout: &Layout) -> Result<Vec<TransactionId>, disk::Error> {
    let dir = match Dir::open(layout.transactions()) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let id = |entry: &disk::Entry| TransactionId::parse(entry.name.to_str()?).ok();
    Ok(dir.entries()?.iter().filter_map(id).collect())
}

/// The mount point of a file system that is not there as it was, or that hides a path of the plan.
fn missing_filesystem(transaction: &Transaction) -> Result<Option<PathBuf>, disk::Error> {
    missing_of(&transaction.begin.filesystems, &transaction.steps)
}

/// The same, of these file systems and steps.
pub(super) fn missing_of(filesystems: &[Filesystem], steps: &[Step]) -> Result<Option<PathBuf>, disk::Error> {
    let mounts = Mounts::read()?;
    for known in filesystems {
        let mount = mounts.of(&known.mount_point).filter(|mount| mount.point == known.mount_point);
        let is_same = match mount {
            Some(mount) => mount.kind == known.kind && !differ(known, mount.volume()?),
            None => false,
        };
        if !is_same {
            return Ok(Some(known.mount_point.clone()));
        }
    }
    let points: Vec<&Path> = filesystems.iter().map(|known| known.mount_point.as_path()).collect();
    let hidden = |step: &Step| {
        let mount = mounts.of(step.path.parent()?)?;
        (!points.contains(&mount.point.as_path())).then(|| mount.point.clone())
    };
    Ok(steps.iter().find_map(hidden))
}

/// Volumes differ if both are named in the same way and the names are not the same: udev may not have
/// named them all yet.
fn differ(known: &Filesystem, found: Option<String>) -> bool {
    let scheme = |name: &str| name.split(':').next().map(str::to_owned);
    matches!((&known.volume, &found), (Some(one), Some(two)) if scheme(one) == scheme(two) && one != two)
}
