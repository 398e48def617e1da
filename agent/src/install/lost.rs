//! Whether a journal lost records that had been synced. Its frames show damage in the middle; that its end
//! is gone, only what the missing records led to can show.

use std::path::{Path, PathBuf};

use super::names::Names;
use super::publish;
use super::root::Root;
use super::settle::{Seen, SettleError, look};
use super::transaction::{Phase, Transaction};
use crate::disk;
use crate::journal::JournalError;
use crate::layout::Layout;
use crate::plan::{Manifest, trees};
use crate::store::{self, StoreError};

/// Refuses a journal that ends before something that was done: whoever settles by it would delete the old
/// state, or forget where it is kept.
pub(super) fn check(layout: &Layout, root: &Root, transaction: &Transaction) -> Result<(), SettleError> {
    let names = &transaction.names;
    let evidence = match transaction.phase {
        Phase::Begun => return check_begun(layout, root, names),
        Phase::Planned => moved(root, transaction)?
            .map(|path| format!("it ends before anything was moved, and what was at {} has been", path.display())),
        Phase::Prepared => is_published(layout, transaction)?
            .then(|| "it ends before the commit, and the commit has been published".to_owned()),
        Phase::Committed | Phase::RolledBack | Phase::Done => None,
    };
    evidence.map_or(Ok(()), |evidence| Err(refusal(layout, names, &evidence).into()))
}

/// As [`check`], where not even the plan is readable.
pub(super) fn check_begun(layout: &Layout, root: &Root, names: &Names) -> Result<(), SettleError> {
    match staged(layout, root, names)? {
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
         .NAME.{id}.old: check the disk, put those back, then move {} away",
        layout.transaction(id).display()
    );
    JournalError::Nonsense { path: layout.journal(id), problem }
}

/// A name of the transaction that exists, beside what any group owns or is about to own. What one is about to own is
/// known only once its manifest waits: where that is written while steps are staged, new paths may have none yet.
fn staged(layout: &Layout, root: &Root, names: &Names) -> Result<Option<PathBuf>, SettleError> {
    let mut manifests: Vec<Manifest> = store::read(&publish::ahead(layout, &names.0))?.into_iter().collect();
    for group in store::groups(layout)? {
        manifests.extend(store::read_manifest(layout, &group)?);
    }
    for owned in manifests.iter().flat_map(|manifest| &manifest.entries) {
        for name in [names.staged(&owned.path), names.old(&owned.path)] {
            if exists(root, &name)? {
                return Ok(Some(name));
            }
        }
    }
    Ok(None)
}

/// A target whose old state is under a name of the transaction.
fn moved(root: &Root, transaction: &Transaction) -> Result<Option<PathBuf>, disk::Error> {
    for (_, step, _) in trees(&transaction.steps).filter(|(_, step, _)| step.identity.is_some()) {
        for kept in [transaction.names.staged(&step.path), transaction.names.old(&step.path)] {
            if look(root, &kept, step.identity.as_deref().copied(), None)? == Seen::Old {
                return Ok(Some(step.path.clone()));
            }
        }
    }
    Ok(None)
}

/// The manifest waits in the transaction's directory for the commit, and is the group's after it.
fn is_published(layout: &Layout, transaction: &Transaction) -> Result<bool, StoreError> {
    if publish::is_ahead(layout, &transaction.names.0)? {
        return Ok(false);
    }
    let published = store::read_manifest(layout, &transaction.begin.group)?;
    Ok(published.is_some_and(|manifest| manifest.deployment == transaction.begin.deployment))
}

fn exists(root: &Root, path: &Path) -> Result<bool, disk::Error> {
    Ok(root.facts(path)?.is_some())
}
