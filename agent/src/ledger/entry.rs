use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{DeploymentId, GroupId, HostCommandId};
use crate::outcome::Outcome;
use crate::store::Stored;

/// One host command and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As the service gave it; ours for local deploys.
    pub command: HostCommandId,
    /// The command's name: `Install`, `ApplicationStart`…
    pub name: String,
    /// The service's name of the deployment's run on this host; empty for local deploys.
    pub execution: String,
    /// What it is about. Absent where the command failed before that was known.
    pub work: Option<Work>,
    /// When it was taken.
    pub begun: Timestamp,
    /// How many lives of the agent took it up again from its beginning.
    #[serde(default)]
    pub lives: u32,
    /// How far it is.
    pub progress: Progress,
}

/// What a host command is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its group.
    pub group: GroupId,
    /// SHA-256 of the specification's signed content, in hexadecimal; empty for local deploys, which nobody signs.
    pub spec_sha256: String,
}

/// How far a host command is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It runs, or was cut off.
    Begun,
    /// It has a result that the service has not taken yet.
    Finished {
        /// When.
        at: Timestamp,
        /// The result.
        outcome: Outcome,
    },
    /// Its result needs no more sending.
    Reported {
        /// When it ended.
        finished: Timestamp,
        /// When that was settled.
        at: Timestamp,
        /// The result.
        outcome: Outcome,
        /// What became of the report.
        delivery: Delivery,
    },
}

/// What became of a result's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The service took it.
    Accepted,
    /// The service will never take it.
    Refused {
        /// What it said.
        answer: String,
    },
    /// The service had settled the command itself, and it was not run.
    Settled {
        /// What the service answered to the acknowledgement.
        answer: String,
    },
    /// Nobody was to be told: a local deploy.
    Local,
}

impl Entry {
    /// The result, once there is one.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.progress {
            Progress::Begun => None,
            Progress::Finished { outcome, .. } | Progress::Reported { outcome, .. } => Some(outcome),
        }
    }

    /// Whether it is of a deployment that no service knows.
    pub fn is_local(&self) -> bool {
        self.execution.is_empty()
    }

    /// When it ended, once it has.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match &self.progress {
            Progress::Begun => None,
            Progress::Finished { at, .. } => Some(*at),
            Progress::Reported { finished, .. } => Some(*finished),
        }
    }
}

impl Stored for Entry {
    const WHAT: &'static str = "the record of a host command";
    const FORMAT: u32 = 1;
}

/// A line of the outbox: which entry has something to send. The result itself is in the entry, so the
/// two cannot disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pointer {
    pub command: HostCommandId,
}

impl Stored for Pointer {
    const WHAT: &'static str = "a result that waits to be reported";
    const FORMAT: u32 = 1;
}
