//! What the ledger says of whole deployments.

use std::collections::HashMap;

use super::{Entry, Progress};
use crate::ids::{DeploymentId, GroupId};
use crate::outcome::Outcome;

/// One deployment, as far as it happened on this host and is remembered.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Absent where its specification was never read.
    pub deployment: Option<DeploymentId>,
    /// Its group, by the same rule.
    pub group: Option<GroupId>,
    /// Its commands, the oldest first; at least one.
    pub entries: Vec<Entry>,
}

/// How a deployment stands on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// All its commands so far have succeeded.
    Succeeded,
    /// One has failed, which ends it.
    Failed,
    /// One has begun and has no result.
    Open,
}

impl Past {
    /// How it stands.
    pub fn standing(&self) -> Standing {
        if self.failed().is_some() {
            Standing::Failed
        } else if self.entries.iter().any(|entry| entry.progress == Progress::Begun) {
            Standing::Open
        } else {
            Standing::Succeeded
        }
    }

    /// Its first command that failed.
    pub fn failed(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| matches!(entry.outcome(), Some(Outcome::Failed(_))))
    }
}

/// Puts entries together, the oldest first; deployments come in the order of their first commands.
pub fn deployments(entries: Vec<Entry>) -> Vec<Past> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut found: Vec<Past> = Vec::new();
    for entry in entries {
        let (deployment, group) = entry.work.clone().map(|work| (work.deployment, work.group)).unzip();
        // What failed before its specification was read has the service's name of the same run.
        let own = deployment.as_ref().filter(|_| entry.is_local());
        let key = own.map_or_else(|| entry.execution.clone(), ToString::to_string);
        let place = *places.entry(key).or_insert_with(|| {
            found.push(Past::default());
            found.len() - 1
        });
        let past = &mut found[place];
        past.deployment = past.deployment.take().or(deployment);
        past.group = past.group.take().or(group);
        past.entries.push(entry);
    }
    found
}
