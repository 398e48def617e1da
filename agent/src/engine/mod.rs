//! Carries out one order. The daemon, local deploys and rollback all come through here.

mod custody;
mod admission;
mod download;
mod event;
mod events;
mod failure;
mod plan;
mod proof;
mod restore;
mod reuse;
mod revisions;
mod scripts_ahead;
mod turn;
mod update;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::appspec::AppSpec;
use crate::bundle::{GitHub, Requirement, S3, TrustedKeys};
use crate::deployment::{DeploymentSpec, FileExistsBehavior};
use crate::hooks::{self, HookSettings, Wish, Wishes};
use crate::ids::{DeploymentId, EventName, GroupId, HostCommandId, TransactionId};
use crate::install::{self, Settled};
use crate::layout::Layout;
use crate::lifecycle::Command;
use crate::outcome::{Outcome, WarningKind, Warnings};
use crate::plan::Refusals;
use crate::revision::Revision;
use crate::unpack;
use turn::Turn;

use events::check_events;
pub use failure::StageError;
pub use plan::Planned;
pub use restore::OnFailure;
pub use reuse::Reuse;
pub use update::Updates;

/// One thing to do for one deployment.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whose order it is; local deploys make up their own.
    pub id: HostCommandId,
    /// What to do.
    pub command: Command,
    /// For which deployment.
    pub spec: DeploymentSpec,
    /// Whether an earlier life of the agent began it.
    pub life: Life,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Execution {
    /// It has this outcome.
    Over(Outcome),
    /// A script of it goes on without the agent, as was wished: the agent's next life takes it up.
    HandedOver,
}

/// Whether an order is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nobody began it before.
    First,
    /// It was begun and cut off.
    Again,
}

/// What the host's configuration says about deployments.
#[derive(Clone, Debug)]
pub struct Policy {
    /// For a deployment and an AppSpec that do not say.
    pub file_exists: FileExistsBehavior,
    /// Who owns installed files that no permission entry names.
    pub ownership: install::Ownership,
    /// To whom everything belongs instead, where the configuration names a user: uid and gid.
    pub default_owner: Option<(u32, u32)>,
    /// Revisions kept for each group, at least one.
    pub max_revisions: NonZeroUsize,
    /// Bytes that all revisions of the host may take, where that is limited.
    pub retain_bytes: Option<u64>,
    /// Whether the bundle stays beside the revision.
    pub bundles: KeepBundles,
    /// Whether an unpacked revision is used again where the service asks for that.
    pub reuse: Reuse,
    /// What must be known of a bundle before it is fetched.
    pub requirement: Requirement,
    /// Who must have signed it.
    pub trusted_keys: TrustedKeys,
    /// What a bundle may hold.
    pub unpack: unpack::Policy,
    /// Who may look into the deployments' directories.
    pub access: Access,
    /// What is not installed whoever asks for it.
    pub refusals: Refusals,
    /// What to do when an event after Install fails.
    pub on_failure: OnFailure,
    /// What becomes of a request to update the agent.
    pub updates: Updates,
    /// How scripts run.
    pub hooks: HookSettings,
}

/// Who may look into the deployments' directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Root, and who has a script to run there: `restrict_agent_dir_permissions`.
    Restricted,
}

/// What becomes of a bundle once it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepBundles {
    /// It stays.
    Yes,
    /// It goes.
    No,
}

/// What is done for one group, when it is its turn.
enum Stage<'a> {
    Download,
    Install,
    Event(&'a EventName),
}

/// The engine of one root directory.
#[derive(Debug)]
pub struct Engine {
    layout: Layout,
    policy: Policy,
    /// The way to S3; it is asked for credentials only once something is fetched.
    s3: S3,
    github: GitHub,
    fetched: AtomicU64,
    /// What was said of installs that are not settled.
    told: Mutex<BTreeMap<TransactionId, String>>,
    /// The deployment that missed an earlier one's revision last, and that one.
    gone: Mutex<Option<(DeploymentId, DeploymentId)>>,
}

impl Engine {
    /// An engine over `layout`.
    pub fn new(layout: Layout, policy: Policy, s3: S3, github: GitHub) -> Self {
        let (told, gone) = (Mutex::default(), Mutex::default());
        Self { layout, policy, s3, github, fetched: AtomicU64::new(0), told, gone }
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes of bundles that were fetched since this engine was made.
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Carries out an order, one at a time for each deployment group: waits for whoever else works on
    /// the group, settles what an earlier life left, and does what the order says.
    pub fn execute(&self, order: &Order, wishes: &Wishes) -> Execution {
        let mut warnings = Warnings::default();
        let execution =
            self.attempt(order, wishes, &mut warnings).unwrap_or_else(|error| Execution::Over(error.into()));
        match execution {
            Execution::Over(outcome) => {
                let outcome = outcome.warned(warnings);
                self.log_warnings(&order.spec, outcome.warnings());
                Execution::Over(outcome)
            }
            Execution::HandedOver => {
                self.log_warnings(&order.spec, &warnings);
                Execution::HandedOver
            }
        }
    }

    /// Leaves warnings where the operator looks for the output of a deployment's scripts.
    fn log_warnings(&self, spec: &DeploymentSpec, warnings: &Warnings) {
        let about = (&spec.group_id, &spec.deployment_id);
        if let Err(error) = hooks::log_warnings(&self.layout, &self.policy.hooks, about, warnings) {
            tracing::warn!(%error, "warnings are missing in the deployment's log");
        }
    }

    /// Whether there is nothing to do: an event whose revision has no scripts for it. Whatever cannot
    /// be read is something to do, since doing it tells what is wrong.
    pub fn is_noop(&self, order: &Order) -> bool {
        match &order.command {
            Command::Hook(name) => matches!(self.scripts(&order.spec, name), Ok(event::Scripts::None)),
            _ => false,
        }
    }

    fn attempt(&self, order: &Order, wishes: &Wishes, warnings: &mut Warnings) -> Result<Execution, StageError> {
        let work = match &order.command {
            // It needs every group's turn, and takes them itself.
            Command::UpdateAgent => return self.update_agent(order, wishes),
            Command::DownloadBundle => Stage::Download,
            Command::Install => Stage::Install,
            Command::Hook(name) => Stage::Event(name),
        };
        let spec = &order.spec;
        let Turn::Come(_group) = turn::wait(&self.layout.group_lock(&spec.group_id), &spec.deployment_id, wishes)?
        else {
            return Ok(Execution::HandedOver);
        };
        self.settle(&spec.group_id)?;
        if let Some(Wish::Cancel(reason)) = wishes.made() {
            return Err(StageError::Cancelled(reason));
        }
        match work {
            Stage::Download => self.download(spec, wishes, warnings),
            Stage::Install => self.install(spec, wishes, warnings),
            Stage::Event(name) => Ok(self.event(order, name, wishes)),
        }
    }

    /// Finishes or undoes installs that were cut off. One of this group that is not settled keeps the group waiting;
    /// one of another group is that group's, and Install looks after the paths.
    fn settle(&self, group: &GroupId) -> Result<(), StageError> {
        let mut waiting = None;
        for settled in install::settle(&self.layout)? {
            if settled.holds_back(group) {
                waiting = Some(StageError::Waiting(settled.to_string()));
            } else {
                self.tell(&settled);
            }
        }
        waiting.map_or(Ok(()), Err)
    }

    /// Settles what was cut off, for nobody's deployment, and says what is new. Returns what is not settled.
    pub fn settle_leftovers(&self) -> Result<Vec<Settled>, StageError> {
        let settled = install::settle(&self.layout)?;
        settled.iter().for_each(|one| self.tell(one));
        Ok(settled.into_iter().filter(Settled::is_unsettled).collect())
    }

    /// Logs what became of an install; of one that is tried again and again, only what was not said before.
    fn tell(&self, settled: &Settled) {
        let text = settled.to_string();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = settled.is_unsettled() && told.get(&settled.transaction) == Some(&text);
        if is_known {
            tracing::debug!("{text}");
        } else {
            tracing::warn!("{text}");
        }
        if settled.is_unsettled() {
            told.insert(settled.transaction.clone(), text);
        } else {
            told.remove(&settled.transaction);
        }
    }

    fn install(
        &self,
        spec: &DeploymentSpec,
        wishes: &Wishes,
        warnings: &mut Warnings,
    ) -> Result<Execution, StageError> {
        let revision = self.current_revision(spec)?;
        let appspec = self.appspec(&revision, spec)?;
        check_events(&appspec, spec)?;
        let Turn::Come(paths) = turn::wait(&self.layout.paths_lock(), &spec.deployment_id, wishes)? else {
            return Ok(Execution::HandedOver);
        };
        let installed = install::run_under(&self.install_request(spec, &revision, &appspec), paths)?;
        installed.warnings.iter().for_each(|warning| warnings.add(WarningKind::Install, warning));
        installed.drift.iter().for_each(|drift| warnings.add(WarningKind::Install, drift));
        self.put_on_trial(spec)?;
        Ok(Execution::Over(Outcome::succeeded()))
    }

    fn install_request<'a>(
        &'a self,
        spec: &'a DeploymentSpec,
        revision: &'a Revision,
        appspec: &'a AppSpec,
    ) -> install::InstallRequest<'a> {
        install::InstallRequest {
            layout: &self.layout,
            group: &spec.group_id,
            deployment: &spec.deployment_id,
            revision,
            appspec,
            policy: install::InstallPolicy {
                file_exists: appspec
                    .file_exists_behavior
                    .or(spec.file_exists_behavior)
                    .unwrap_or(self.policy.file_exists),
                ownership: self.policy.ownership,
                default_owner: self.policy.default_owner,
                refusals: self.policy.refusals,
            },
        }
    }
}
