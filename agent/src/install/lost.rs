//! Whether a journal lost records that had been synced. Its frames show damage in the middle; that its end
//! is gone, only what the missing records led to can show.

use std::path::{Path, PathBuf};

use super::names::Names;
use super::publish;
use super::root::Root;
use super::settle::{Seen, SettleError, look};
use super::transaction::{Phase, Transaction};
use crate::disk;
use crate::journal::{Begin, JournalError};
use crate::layout::Layout;
use crate::plan::{Manifest, Step, trees};
use crate::store::{self, StoreError};

/// What a journal tells.
pub(super) struct Told<'a> {
    pub(super) phase: Phase,
    pub(super) names: &'a Names,
    pub(super) begin: &'a Begin,
    pub(super) steps: &'a [Step],
}

impl<'a> Told<'a> {
    pub(super) fn by(transaction: &'a Transaction) -> Self {
        let Transaction { phase, names, begin, steps, .. } = transaction;
        Self { phase: *phase, names, begin, steps }
    }
}

/// Refuses a journal that ends before something that was done: whoever settles by it would delete the old
/// state, or forget where it is kept.
pub(super) fn check(layout: &Layout, root: &Root, told: &Told<'_>) -> Result<(), SettleError> {
    let names = told.names;
    let evidence = match told.phase {
        Phase::Begun => return check_begun(layout, root, names),
        Phase::Planned => moved(root, told)?
            .map(|path| format!("it ends before anything was moved, and what was at {} has been", path.display())),
        Phase::Prepared => is_published(layout, told)?
            .then(|| "it ends before the commit, and the commit has been published".to_owned()),
        Phase::Committed | Phase::RolledBack | Phase::Done => None,
    };
    evidence.map_or(Ok(()), |evidence| Err(refusal(layout, names, &evidence).into()))
}

/// As [`check`], where not even the plan is readable.
pub(super) fn check_begun(layout: &Layout, root: &Root, names: &Names) -> Result<(), SettleError> {
    match names_beside(layout, root, names)?.first() {
        None => Ok(()),
        Some(path) => {
            let evidence = format!("it ends before anything was staged, and {} has been", path.display());
            Err(refusal(layout, names, &evidence).into())
        }
    }
}

fn refusal(layout: &Layout, names: &Names, evidence: &str) -> JournalError {
    let id = &names.0;
    let problem = format!(
        "{evidence}, so the disk has lost its end; the old state of a target may be beside it, as .NAME.{id}.new or \
         .NAME.{id}.old: check the disk; `slipway-agent recover --abandon {id}` gives it up and lists them"
    );
    JournalError::Nonsense { path: layout.journal(id), problem }
}

/// Names of the transaction that exist, beside what any group owns or is about to own. What one is about to own is
/// known only once its manifest waits: where that is written while steps are staged, new paths may have none yet.
pub(super) fn names_beside(layout: &Layout, root: &Root, names: &Names) -> Result<Vec<PathBuf>, SettleError> {
    let mut manifests: Vec<Manifest> = store::read(&publish::ahead(layout, &names.0))?.into_iter().collect();
    for group in store::groups(layout)? {
        manifests.extend(store::read_manifest(layout, &group)?);
    }
    let mut found = Vec::new();
    for owned in manifests.iter().flat_map(|manifest| &manifest.entries) {
        for name in [names.staged(&owned.path), names.old(&owned.path)] {
            if exists(root, &name)? {
                found.push(name);
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// A target whose old state is under a name of the transaction.
fn moved(root: &Root, told: &Told<'_>) -> Result<Option<PathBuf>, disk::Error> {
    for (_, step, _) in trees(told.steps).filter(|(_, step, _)| step.identity.is_some()) {
        for kept in [told.names.staged(&step.path), told.names.old(&step.path)] {
            if look(root, &kept, step.identity.as_deref().copied(), None)? == Seen::Old {
                return Ok(Some(step.path.clone()));
            }
        }
    }
    Ok(None)
}

/// The manifest waits in the transaction's directory for the commit, and is the group's after it.
fn is_published(layout: &Layout, told: &Told<'_>) -> Result<bool, StoreError> {
    if publish::is_ahead(layout, &told.names.0)? {
        return Ok(false);
    }
    let published = store::read_manifest(layout, &told.begin.group)?;
    Ok(published.is_some_and(|manifest| manifest.deployment == told.begin.deployment))
}

fn exists(root: &Root, path: &Path) -> Result<bool, disk::Error> {
    Ok(root.facts(path)?.is_some())
}
