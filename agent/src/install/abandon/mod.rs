//! Giving up an install that cannot be settled: every path stays as it is, and the group is free again.
//!
//! The decision is a file beside the journal. From then on whoever settles finishes the giving up, so that a crash
//! in between changes nothing. It ends when the journal is moved away, to where it can be looked at later.

mod examine;
mod owned;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attempts::Patience;
use super::names::Names;
use super::root::{Root, name};
use super::settle::{self, Drift, Seen, SettleError, Settled, look};
use super::story::Story;
use super::transaction::Phase;
use super::{clean, publish};
use crate::disk::{self, Dir, Lock};
use crate::ids::{DeploymentId, GroupId, TransactionId};
use crate::layout::Layout;
use crate::plan::{Change, trees};
use crate::store::{self, Stored};
use examine::Scene;

/// How many journals of installs that were given up are kept.
const KEPT: usize = 10;

/// What an install that is given up leaves.
#[derive(Clone, Debug)]
pub struct Abandonment {
    /// Its transaction.
    pub transaction: TransactionId,
    /// Whose install it is, where that can be read.
    pub install: Option<(GroupId, DeploymentId)>,
    /// How many paths are as they were before it.
    pub old: usize,
    /// How many paths are as the install wants them.
    pub new: usize,
    /// Paths that are neither, with what is there.
    pub neither: Vec<Drift>,
    /// Where old states are kept that are not put back, each beside its target.
    pub kept: Vec<PathBuf>,
    /// Where the journal is kept.
    pub record: PathBuf,
}

/// Why an install was not given up.
#[derive(Debug, thiserror::Error)]
pub enum AbandonError {
    /// There is no such transaction.
    #[error("there is no transaction {transaction} that is not settled; {}", listed(known))]
    Unknown {
        /// What was asked for.
        transaction: TransactionId,
        /// Those that there are.
        known: Vec<TransactionId>,
    },
    /// It was given up before.
    #[error("transaction {} was given up before; its record is kept in {}", record.file_name().unwrap_or_default().display(), record.display())]
    Done {
        /// Where its journal is kept.
        record: PathBuf,
    },
    /// It could be settled after all.
    #[error("nothing was given up: {0}")]
    Settled(Box<Settled>),
    /// It could not be given up; it can be tried again.
    #[error("transaction {transaction} could not be given up: {source}; mend that, then run the command again")]
    Failed {
        /// Which.
        transaction: TransactionId,
        /// Why.
        source: SettleError,
    },
    /// The agent's own state could not be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

fn listed(known: &[TransactionId]) -> String {
    let known: Vec<&str> = known.iter().map(TransactionId::as_str).collect();
    if known.is_empty() { "all installs are settled".to_owned() } else { format!("there is {}", known.join(", ")) }
}

/// The state file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Decision {
    at: Timestamp,
}

impl Stored for Decision {
    const WHAT: &'static str = "the decision to give an install up";
    const FORMAT: u32 = 1;
}

/// Says what giving the install up would leave, after one more try to settle it. Waits for an install that is under
/// way.
pub fn look_before_abandoning(layout: &Layout, id: &TransactionId) -> Result<Abandonment, AbandonError> {
    let _paths = lock(layout, id)?;
    if !is_decided(layout, id)? {
        let settled = settle::settle_one(layout, id.clone(), Patience::Bounded);
        if !settled.is_unsettled() {
            return Err(AbandonError::Settled(Box::new(settled)));
        }
    }
    examined(layout, id).map_err(|source| failed(id, source))
}

/// Gives the install up: its paths stay as they are, and nothing is held back any more.
pub fn abandon(layout: &Layout, id: &TransactionId) -> Result<Abandonment, AbandonError> {
    let _paths = lock(layout, id)?;
    let decide = || {
        let left = examined(layout, id)?;
        store::write(&layout.abandonment(id), &Decision { at: Timestamp::now() })?;
        finish(layout, id)?;
        Ok(left)
    };
    decide().map_err(|source| failed(id, source))
}

fn failed(id: &TransactionId, source: SettleError) -> AbandonError {
    AbandonError::Failed { transaction: id.clone(), source }
}

fn lock(layout: &Layout, id: &TransactionId) -> Result<Lock, AbandonError> {
    let known = || settle::transactions(layout);
    let unknown = |known| match Dir::open(kept_at(layout, id)) {
        Ok(kept) => AbandonError::Done { record: kept.path().to_owned() },
        Err(_) => AbandonError::Unknown { transaction: id.clone(), known },
    };
    let before = known()?;
    if !before.contains(id) {
        return Err(unknown(before));
    }
    let lock = Lock::wait(&layout.paths_lock())?;
    // Whoever held the lock may have settled it.
    let now = known()?;
    if now.contains(id) { Ok(lock) } else { Err(unknown(now)) }
}

fn examined(layout: &Layout, id: &TransactionId) -> Result<Abandonment, SettleError> {
    let (root, story) = (Root::open()?, Story::read(layout, id));
    let names = Names(id.clone());
    Ok(Scene::new(layout, &root, &story, &names)?.abandonment(kept_at(layout, id)))
}

/// Whether somebody has given the install up.
pub(super) fn is_decided(layout: &Layout, id: &TransactionId) -> Result<bool, disk::Error> {
    disk::exists(&layout.abandonment(id))
}

/// Finishes what was decided; answers where the journal is kept. Can be done again from wherever it was cut off.
pub(super) fn finish(layout: &Layout, id: &TransactionId) -> Result<PathBuf, SettleError> {
    let (root, story) = (Root::open()?, Story::read(layout, id));
    let names = Names(id.clone());
    let scene = Scene::new(layout, &root, &story, &names)?;
    match (&story.begin, story.phase) {
        (Some(begin), Phase::Committed) if scene.is_certain() => {
            let standing = publish::publish(layout, id, begin)?;
            publish::mark(layout, begin, standing)?;
        }
        (Some(begin), _) if scene.may_have_moved() => owned::own_what_is_there(layout, begin, &scene)?,
        (None, _) if !scene.is_certain() => owned::own_what_was_listed(layout, id, &root)?,
        _ => {}
    }
    if scene.is_certain() {
        remove_staged(&root, &story, &names);
        if let (Some(begin), Phase::Committed) = (&story.begin, story.phase) {
            owned::own_what_was_not_removed(layout, begin, &scene)?;
        }
    }
    keep_aside(layout, id)
}

/// Removes what the transaction made and nobody needs, as far as that is possible: on the volume in question it may
/// not be.
fn remove_staged(root: &Root, story: &Story, names: &Names) {
    let tell = |path: &Path, done: Result<(), disk::Error>| {
        if let Err(error) = done {
            tracing::warn!(path = %path.display(), %error, "what an install that is given up had staged stays");
        }
    };
    for (number, step, _) in trees(&story.steps).filter(|(_, step, _)| step.changes_something()) {
        let inodes = story.staged.iter().find(|staged| staged.step == number);
        for at in [names.staged(&step.path), names.old(&step.path)] {
            let removed = match (story.phase, inodes) {
                // Nothing had been moved: what has the name is new.
                (Phase::Begun | Phase::Planned, _) if step.is_staged() => clean::remove(root, &at),
                (Phase::Prepared | Phase::RolledBack, Some(inodes)) => look(root, &at, inodes.old, inodes.new)
                    .and_then(|seen| match seen {
                        Seen::New if step.want.is_directory() => {
                            clean::remove_members(root, &at, &story.steps, number).map(drop)
                        }
                        Seen::New => clean::remove(root, &at),
                        Seen::Nothing | Seen::Old | Seen::Strange => Ok(()),
                    }),
                (Phase::Committed | Phase::Done, Some(inodes)) => look(root, &at, inodes.old, inodes.new)
                    .and_then(|seen| if seen == Seen::Old { clean::remove(root, &at) } else { Ok(()) }),
                _ => Ok(()),
            };
            tell(&at, removed);
        }
    }
    if matches!(story.phase, Phase::Committed | Phase::Done) {
        for step in story.steps.iter().rev().filter(|step| step.change == Change::RemoveDirectory) {
            // One that somebody put something into stays, as after any install.
            let _ = root.parent(&step.path).and_then(|parent| parent.remove_dir(name(&step.path)));
        }
    }
}

fn kept_at(layout: &Layout, id: &TransactionId) -> PathBuf {
    layout.abandoned().join(id.as_str())
}

/// Moves the transaction out of the way, which ends it, and lets the oldest of those that are kept go.
fn keep_aside(layout: &Layout, id: &TransactionId) -> Result<PathBuf, SettleError> {
    let all = Dir::open_or_create(layout.abandoned(), 0o700)?;
    let (transactions, record) = (Dir::open(layout.transactions())?, kept_at(layout, id));
    let own = Dir::open(layout.own())?;
    let relative = |path: &Path| path.strip_prefix(layout.own()).unwrap_or(path).to_owned();
    own.rename(relative(&layout.transaction(id)), relative(&record))?;
    all.sync()?;
    transactions.sync()?;
    if let Err(error) = prune(&all) {
        tracing::debug!(%error, "journals of installs that were given up long ago stay");
    }
    Ok(record)
}

fn prune(all: &Dir) -> Result<(), disk::Error> {
    let mut kept = Vec::new();
    for entry in all.entries()? {
        kept.push((all.stat(&entry.name)?.modified, entry.name));
    }
    kept.sort();
    for (_, name) in kept.iter().take(kept.len().saturating_sub(KEPT)) {
        all.remove_tree(name)?;
    }
    Ok(())
}
