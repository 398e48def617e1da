//! What is known of installs that are not settled, kept beside their journals for `status` and for people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::reach::Reach;
use super::settle::{Settled, transactions};
use super::story::Story;
use crate::disk::{self, Lock};
use crate::ids::{DeploymentId, GroupId, TransactionId};
use crate::journal::Journal;
use crate::layout::Layout;
use crate::store::{self, Stored};

/// An install that was cut off and is not settled.
#[derive(Clone, Debug, Serialize)]
pub struct Unsettled {
    /// Its transaction.
    pub transaction: TransactionId,
    /// The group, where it is known.
    pub group: Option<GroupId>,
    /// The deployment, where it is known.
    pub deployment: Option<DeploymentId>,
    /// Why it could not be settled, where that was tried.
    pub why: Option<String>,
    /// Since when it cannot be settled, where that was tried.
    pub since: Option<Timestamp>,
    /// How many paths it holds back.
    pub paths: usize,
    /// Some of these.
    pub examples: Vec<String>,
    /// What it holds back.
    #[serde(skip)]
    pub reach: Reach,
}

/// The state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    why: String,
    since: Timestamp,
}

impl Stored for Record {
    const WHAT: &'static str = "the record of an install that is not settled";
    const FORMAT: u32 = 1;
}

/// Writes down why an install is not settled, for whoever asks later.
pub(super) fn note(layout: &Layout, settled: &Settled) {
    let path = layout.unsettled_record(&settled.transaction);
    let known = record(layout, &settled.transaction);
    let why = settled.trouble();
    if known.as_ref().is_some_and(|known| known.why == why) {
        return;
    }
    let since = known.map_or_else(Timestamp::now, |known| known.since);
    if let Err(error) = store::write(&path, &Record { why, since }) {
        tracing::debug!(%error, "`status` will not know why an install is not settled");
    }
}

/// The installs that are not settled. Changes nothing, and does not wait for an install that is under way.
pub fn unsettled(layout: &Layout) -> Result<Vec<Unsettled>, disk::Error> {
    let told = |transaction: TransactionId| {
        let record = record(layout, &transaction);
        let story = Story::read(layout, &transaction);
        let reach = Reach::of(layout, &transaction, &story);
        let (group, deployment) = story.install().unzip();
        Unsettled {
            group: group.or_else(|| reach.groups().next().cloned()),
            deployment,
            why: record.as_ref().map(|record| record.why.clone()),
            since: record.map(|record| record.since),
            paths: reach.count(),
            examples: reach.examples().iter().map(|path| path.display().to_string()).collect(),
            reach,
            transaction,
        }
    };
    Ok(left(layout)?.into_iter().map(told).collect())
}

/// How many installs are not settled; without reading what they are about.
pub fn count_unsettled(layout: &Layout) -> Result<usize, disk::Error> {
    Ok(left(layout)?.len())
}

fn left(layout: &Layout) -> Result<Vec<TransactionId>, disk::Error> {
    let mut ids = transactions(layout)?;
    // Whoever holds the lock installs or settles now; what that leaves is told later.
    let is_in_hand = !ids.is_empty() && Lock::is_held(&layout.paths_lock())?;
    ids.retain(|id| {
        let journal = layout.journal(id);
        let is_known = || record(layout, id).is_some() || (!is_in_hand && disk::exists(&journal).unwrap_or(true));
        !Journal::is_held(&journal).unwrap_or(false) && is_known()
    });
    Ok(ids)
}

fn record(layout: &Layout, id: &TransactionId) -> Option<Record> {
    store::read(&layout.unsettled_record(id)).ok().flatten()
}

impl std::fmt::Display for Unsettled {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "transaction {}", self.transaction)?;
        if let Some(deployment) = &self.deployment {
            write!(out, " (deployment {deployment})")?;
        }
        match &self.why {
            Some(why) => write!(out, " cannot be settled: {}", why.trim_end_matches('.'))?,
            None => out.write_str(" was cut off and is not settled yet")?,
        }
        write!(
            out,
            ". It holds back {}. `slipway-agent recover` tries again, `slipway-agent recover --abandon {}` gives it up",
            self.reach, self.transaction
        )
    }
}
