//! Every path under the root directory, in one place.

use std::path::{Path, PathBuf};

use crate::ids::{DeploymentId, EventName, GroupId, HostCommandId, TransactionId};

/// The root directory and what is where in it. The same places as AWS's agent uses, so that either
/// can take over from the other; `.slipway` is ours alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

const ARCHIVE: &str = "deployment-archive";
const ARCHIVE_STAGING: &str = ".deployment-archive.new";
const BUNDLE: &str = "bundle.tar";

impl Layout {
    /// Names of which a deployment's directory has at least one while it holds a revision, or is about to.
    pub const OF_A_REVISION: [&str; 3] = [ARCHIVE, ARCHIVE_STAGING, BUNDLE];

    /// The layout below `root`, an absolute path.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All deployments of a group.
    pub fn group(&self, group: &GroupId) -> PathBuf {
        self.root.join(group.as_str())
    }

    /// One deployment: its revision and its logs.
    pub fn deployment(&self, group: &GroupId, deployment: &DeploymentId) -> PathBuf {
        self.group(group).join(deployment.as_str())
    }

    /// The unpacked revision.
    pub fn archive(&self, group: &GroupId, deployment: &DeploymentId) -> PathBuf {
        self.deployment(group, deployment).join(ARCHIVE)
    }

    /// Where a revision is unpacked before it is renamed to [`Self::archive`].
    pub fn archive_staging(&self, group: &GroupId, deployment: &DeploymentId) -> PathBuf {
        self.deployment(group, deployment).join(ARCHIVE_STAGING)
    }

    /// The bundle as it was fetched.
    pub fn bundle(&self, group: &GroupId, deployment: &DeploymentId) -> PathBuf {
        self.deployment(group, deployment).join(BUNDLE)
    }

    /// A deployment's script log.
    pub fn scripts_log(&self, group: &GroupId, deployment: &DeploymentId) -> PathBuf {
        self.deployment(group, deployment).join("logs/scripts.log")
    }

    /// The log of all deployments' scripts.
    pub fn deployments_log(&self) -> PathBuf {
        self.root.join("deployment-logs/codedeploy-agent-deployments.log")
    }

    /// The directory of the files that AWS's agent reads and writes.
    pub fn instructions(&self) -> PathBuf {
        self.root.join("deployment-instructions")
    }

    /// What AWS's agent would remove before the group's next install.
    pub fn cleanup_file(&self, group: &GroupId) -> PathBuf {
        self.instructions().join(format!("{group}-cleanup"))
    }

    /// A path: the group's revision whose Install succeeded last.
    pub fn last_successful_file(&self, group: &GroupId) -> PathBuf {
        self.instructions().join(format!("{group}_last_successful_install"))
    }

    /// A path: the group's revision that was unpacked last.
    pub fn most_recent_file(&self, group: &GroupId) -> PathBuf {
        self.instructions().join(format!("{group}_most_recent_install"))
    }

    /// What was installed, for people.
    pub fn install_file(&self, group: &GroupId) -> PathBuf {
        self.instructions().join(format!("{group}-install.json"))
    }

    /// Slipway's own state, mode 0700.
    pub fn own(&self) -> PathBuf {
        self.root.join(".slipway")
    }

    /// The manifests of all groups.
    pub fn manifests(&self) -> PathBuf {
        self.own().join("manifests")
    }

    /// What a group owns.
    pub fn manifest(&self, group: &GroupId) -> PathBuf {
        self.manifests().join(format!("{group}.json"))
    }

    /// When a group's files were last held against what was installed.
    pub fn drift_check(&self, group: &GroupId) -> PathBuf {
        self.own().join("drift").join(format!("{group}.json"))
    }

    /// Digests of the files that a group installed, as long as nobody touches them.
    pub fn digests(&self, group: &GroupId) -> PathBuf {
        self.own().join("digests").join(group.as_str())
    }

    /// A group's markers: last successful, last good, most recent.
    pub fn markers(&self, group: &GroupId) -> PathBuf {
        self.own().join("groups").join(format!("{group}.json"))
    }

    /// The record of each script that was run.
    pub fn audit(&self) -> PathBuf {
        self.own().join("audit").join("scripts.jsonl")
    }

    /// Held while something is appended to that.
    pub fn audit_lock(&self) -> PathBuf {
        self.locks().join("audit")
    }

    /// The newest deployment that a group was given, by the service's numbers.
    pub fn latest(&self, group: &GroupId) -> PathBuf {
        self.own().join("latest").join(format!("{group}.json"))
    }

    /// The newest signed bundles that a group was given, by their signers' numbers.
    pub fn floors(&self, group: &GroupId) -> PathBuf {
        self.own().join("floors").join(format!("{group}.json"))
    }

    /// Host commands that were begun.
    pub fn ledger(&self) -> PathBuf {
        self.own().join("ledger")
    }

    /// One host command.
    pub fn ledger_entry(&self, command: &HostCommandId) -> PathBuf {
        self.ledger().join(format!("{}.json", command.file_stem()))
    }

    /// Results that were not accepted yet.
    pub fn outbox(&self) -> PathBuf {
        self.own().join("outbox")
    }

    /// What operators asked the daemon for.
    pub fn requests(&self) -> PathBuf {
        self.own().join("requests")
    }

    /// Is there as long as a deployment is cancelled.
    pub fn cancel_request(&self, deployment: &DeploymentId) -> PathBuf {
        self.requests().join(format!("cancel-{deployment}"))
    }

    /// Is there as long as no new work is to be taken.
    pub fn pause_request(&self) -> PathBuf {
        self.requests().join("pause")
    }

    /// All install transactions.
    pub fn transactions(&self) -> PathBuf {
        self.own().join("tx")
    }

    /// One install transaction.
    pub fn transaction(&self, transaction: &TransactionId) -> PathBuf {
        self.transactions().join(transaction.as_str())
    }

    /// The journal of one install transaction.
    pub fn journal(&self, transaction: &TransactionId) -> PathBuf {
        self.transaction(transaction).join("journal")
    }

    /// Why an install transaction is not settled, and since when.
    pub fn unsettled_record(&self, transaction: &TransactionId) -> PathBuf {
        self.transaction(transaction).join("unsettled.json")
    }

    /// Is there once an install transaction is given up.
    pub fn abandonment(&self, transaction: &TransactionId) -> PathBuf {
        self.transaction(transaction).join("abandoned.json")
    }

    /// Install transactions that were given up, kept for whoever asks what happened.
    pub fn abandoned(&self) -> PathBuf {
        self.own().join("abandoned")
    }

    /// Runner directories of all hooks.
    pub fn hooks(&self) -> PathBuf {
        self.own().join("hooks")
    }

    /// The runner's directory of one script, `n` counting the event's scripts from 0.
    pub fn hook(&self, deployment: &DeploymentId, event: &EventName, n: usize) -> PathBuf {
        self.hooks().join(deployment.as_str()).join(format!("{event}-{n}"))
    }

    /// All locks.
    pub fn locks(&self) -> PathBuf {
        self.own().join("locks")
    }

    /// Held by the one daemon on this root.
    pub fn daemon_lock(&self) -> PathBuf {
        self.locks().join("daemon")
    }

    /// Held while anything is done for a group.
    pub fn group_lock(&self, group: &GroupId) -> PathBuf {
        self.locks().join(format!("group-{group}"))
    }

    /// Held while destinations change.
    pub fn paths_lock(&self) -> PathBuf {
        self.locks().join("paths")
    }

    /// Which host the state is of.
    pub fn host(&self) -> PathBuf {
        self.own().join("host.json")
    }

    /// The name of the object that was fetched last.
    pub fn last_object(&self) -> PathBuf {
        self.own().join("object.json")
    }

    /// The settings that the daemon runs with.
    pub fn running_settings(&self) -> PathBuf {
        self.own().join("settings.json")
    }

    /// What the daemon is doing, for `status`.
    pub fn status(&self) -> PathBuf {
        self.own().join("status.json")
    }
}
