//! Installing a revision as a transaction: a failure, a crash or a power cut at any point leaves the
//! old state or the new one, whole.
//!
//! The order is: look at what is there ([`survey`](plan) and plan), write the plan to a journal, stage
//! the new state beside the old, write down which inodes are about to move, move them, commit, clean
//! up. [`settle`] finishes or undoes an install that was cut off; a failed one is undone by the same
//! code.

mod abandon;
mod accounts;
mod apply;
mod attempts;
mod attributes;
mod audit;
mod aws_record;
mod capability;
mod claims;
mod clean;
mod display;
mod error;
mod filesystems;
mod follow;
mod held_back;
mod holdings;
mod index;
mod inherited;
mod last_install;
mod lost;
mod moved;
mod names;
mod packages;
mod publish;
mod reach;
mod remember;
mod root;
mod rules;
mod settle;
mod sources;
mod space;
mod stage;
mod story;
mod survey;
mod surveyor;
mod threads;
mod transaction;
mod undo;
mod unsettled;

use std::sync::OnceLock;

pub use abandon::{AbandonError, Abandonment, abandon, look_before_abandoning};
pub use audit::{Additions, Audit, AuditError, Difference, Drifted, InstalledBy, audit};
pub use error::{Aftermath, Cause, InstallError};
pub use follow::link_not_followed;
pub use held_back::refusal;
pub use index::{contents, digest, everything};
pub use inherited::Inherited;
pub use last_install::{AwsInstall, LastInstall, installed_groups, last_install};
pub use reach::Reach;
pub use rules::RulesError;
pub use settle::{Drift, Ending, SettleError, Settled, settle, settle_all_the_same};
pub use sources::sources;
pub use space::{Amount, Shortage};
pub use unsettled::{Unsettled, count_unsettled, unsettled};

use crate::appspec::AppSpec;
use crate::deployment::FileExistsBehavior;
use crate::disk::{Lock, Mounts};
use crate::ids::{DeploymentId, GroupId, TransactionId};
use crate::layout::Layout;
use crate::plan::grounds::{FileOwner, Grounds, Owner, Owners};
use crate::plan::{self, Index, Plan, Refusals, Sources, Step};
use crate::revision::Revision;
use crate::store;
use attempts::Patience;
use holdings::Holdings;
use transaction::{Failed, Phase, Transaction};

/// What to install, and where.
#[derive(Clone, Copy, Debug)]
pub struct InstallRequest<'a> {
    /// Where the agent keeps its state.
    pub layout: &'a Layout,
    /// The group, which owns what is installed. The caller holds its lock.
    pub group: &'a GroupId,
    /// The deployment.
    pub deployment: &'a DeploymentId,
    /// Where the content comes from.
    pub revision: &'a Revision,
    /// What the author wants.
    pub appspec: &'a AppSpec,
    /// What the host and the service want.
    pub policy: InstallPolicy,
}

/// What is decided outside of the revision.
#[derive(Clone, Copy, Debug)]
pub struct InstallPolicy {
    /// What to do about paths that exist; the AppSpec's own value goes before it.
    pub file_exists: FileExistsBehavior,
    /// To whom files belong.
    pub ownership: Ownership,
    /// The user to whom everything belongs, where the configuration names one (uid and gid).
    pub default_owner: Option<(u32, u32)>,
    /// What the host does not install whoever asks for it.
    pub refusals: Refusals,
}

/// To whom files belong that no permission entry gives to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As the bundle has it. An agent that is not root owns everything itself.
    Preserve,
    /// To root.
    Root,
}

/// An install that was committed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// How many paths were added, changed and removed.
    pub changed: usize,
    /// What people should know.
    pub warnings: Vec<String>,
    /// What became of installs that had been cut off before.
    pub settled: Vec<Settled>,
    /// What somebody else changed in the meantime, and was left.
    pub drift: Vec<Drift>,
}

/// Says what [`run`] would do now. Changes nothing and takes no lock.
pub fn plan(request: &InstallRequest<'_>) -> Result<Plan, InstallError> {
    let (content, mut holdings) = read_inputs(request)?;
    Ok(planned(request, &content, &mut holdings)?)
}

/// Installs the revision. When this returns, every path has its old state or every path its new one.
/// Takes the lock on all paths, and first settles whatever was cut off.
pub fn run(request: &InstallRequest<'_>) -> Result<Installed, InstallError> {
    store::prepare(request.layout).map_err(Cause::from)?;
    run_under(request, Lock::wait(&request.layout.paths_lock()).map_err(Cause::from)?)
}

/// As [`run`], by a caller that has taken the lock on all paths; it is let go of at the end.
pub fn run_under(request: &InstallRequest<'_>, _paths: Lock) -> Result<Installed, InstallError> {
    store::prepare(request.layout).map_err(Cause::from)?;
    let settled = settle::settle_all(request.layout, Patience::Bounded).map_err(Cause::Leftover)?;
    held_back::check_group(&settled, request.group)?;
    let (content, mut holdings) = read_inputs(request)?;
    let plan = planned(request, &content, &mut holdings).map_err(|cause| held_back::explained(&settled, cause))?;
    drop(content);
    held_back::check_steps(&settled, holdings.root(), &plan.steps)?;
    let (changed, warnings) = (plan.changes().count(), plan.warnings.clone());
    let installed = |drift| Installed { changed, warnings, settled, drift };
    let id = TransactionId::random();
    let Failed { cause, phase } = match attempt(request, plan, &holdings.before, &id) {
        Ok(Attempt { drift, steps }) => {
            if let Err(error) = remember::remember(request, &holdings.digests, &steps) {
                tracing::debug!(%error, "digests were not put down: the next install reads every file again");
            }
            return Ok(installed(drift));
        }
        Err(failed) => failed,
    };
    let left = settle::settle_one(request.layout, id, Patience::Unbounded);
    let aftermath = match left.ending {
        Ending::Completed => return Ok(installed(left.drift)),
        // The journal itself was already removed, and only its directory was left.
        Ending::Discarded if phase == Phase::Done => return Ok(installed(left.drift)),
        Ending::Discarded => Aftermath::Untouched,
        Ending::RolledBack => Aftermath::PutBack(left.drift),
        Ending::Waiting { .. } | Ending::LeftAside { .. } | Ending::Failed { .. } | Ending::Abandoned { .. } => {
            Aftermath::Unsettled(left.to_string())
        }
    };
    Err(InstallError { cause, aftermath })
}

/// An attempt that succeeded.
struct Attempt {
    drift: Vec<Drift>,
    steps: Vec<Step>,
}

fn attempt(
    request: &InstallRequest<'_>,
    plan: Plan,
    before: &claims::Before,
    id: &TransactionId,
) -> Result<Attempt, Failed> {
    let (mut transaction, filesystems) = Transaction::begin(request, plan, before, id)?;
    if let Err(cause) = transaction.commit(&filesystems) {
        let phase = transaction.phase;
        drop(transaction);
        // The commit may be in the page cache without being on the disk. If it cannot be taken back
        // either, settling finds out what is on the disk, or says that it cannot.
        if phase == Phase::Prepared
            && let Err(error) = settle::retract_commit(request.layout, id)
        {
            tracing::warn!(%error, "a commit that failed could not be taken back");
        }
        return Err(Failed { cause, phase });
    }
    let mut drift = Vec::new();
    let completed = root::Root::open()
        .map_err(SettleError::from)
        .and_then(|root| settle::complete(request.layout, &root, &filesystems, &mut transaction, &mut drift));
    completed.map_err(|error| Failed { cause: Cause::Unfinished(error), phase: transaction.phase })?;
    Ok(Attempt { drift, steps: transaction.steps })
}

/// A revision as it was read.
struct Content {
    index: Index,
    sources: Sources,
}

/// Reads the revision, and what the host has of the group, both at once: each can be of a hundred thousand paths.
fn read_inputs(request: &InstallRequest<'_>) -> Result<(Content, Holdings), Cause> {
    let sources = sources(request.revision, request.appspec)?;
    let holdings = OnceLock::new();
    let read = || _ = holdings.get_or_init(|| Holdings::read(request));
    let look = || match holdings.get() {
        Some(Ok(holdings)) => holdings.look(),
        _ => Ok(()),
    };
    let index = index::read_beside(request.revision, (request.appspec, &sources), read, look)?;
    Ok((Content { index, sources }, holdings.into_inner().unwrap_or_else(|| Holdings::read(request))?))
}

fn planned(request: &InstallRequest<'_>, content: &Content, holdings: &mut Holdings) -> Result<Plan, Cause> {
    let mut conflicts = Vec::new();
    let targets = plan::expand(request.appspec, &content.sources, &content.index, &mut conflicts);
    let (survey, sites) = survey::survey(request.layout, request.appspec, targets, holdings)?;
    let grounds = Grounds {
        group: request.group,
        deployment: request.deployment,
        appspec: request.appspec,
        file_exists: request.policy.file_exists,
        owners: owners(request.policy),
        refusals: request.policy.refusals,
        claims: holdings.claims(),
        survey: &survey,
    };
    let plan = plan::build(&grounds, sites, conflicts).map_err(packages::name_owners)?;
    space::check(&root::Root::open()?, &plan, &Mounts::read()?)?;
    Ok(plan)
}

fn owners(policy: InstallPolicy) -> Owners {
    let uid = rustix::process::geteuid();
    let agent = Owner { uid: uid.as_raw(), gid: rustix::process::getegid().as_raw() };
    let configured = policy.default_owner.map(|(uid, gid)| Owner { uid, gid });
    let fixed = match policy.ownership {
        _ if configured.is_some() => configured,
        // Whoever is not root cannot give files away.
        Ownership::Preserve => (!uid.is_root()).then_some(agent),
        Ownership::Root => Some(agent),
    };
    Owners { files: fixed.map_or(FileOwner::Bundle, FileOwner::Fixed), directories: configured.unwrap_or(agent) }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests;
