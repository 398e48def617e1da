//! Waiting for one's turn: for a lock that other work holds, while somebody may wish for something else.

use std::path::Path;
use std::time::Duration;

use super::failure::StageError;
use crate::disk::{Lock, LockError};
use crate::hooks::{Wish, Wishes};
use crate::ids::DeploymentId;

/// The first pause between two looks at a lock that is held, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// How a wait for a lock ended.
pub(super) enum Turn {
    /// It is had.
    Come(Lock),
    /// The agent ends first.
    HandedOver,
}

/// Takes a lock for a deployment, and tells behind whom it waits where it is held. The lock says for whom it is
/// held from then on.
pub(super) fn wait(path: &Path, deployment: &DeploymentId, wishes: &Wishes) -> Result<Turn, StageError> {
    let (mut pause, mut behind) = (PAUSES.0, None);
    let mut lock = loop {
        match Lock::try_now(path) {
            Ok(lock) => break lock,
            Err(LockError::Disk(error)) => return Err(error.into()),
            Err(LockError::Held(_)) => {}
        }
        match wishes.made() {
            Some(Wish::Cancel(reason)) => return Err(StageError::Cancelled(reason)),
            Some(Wish::HandOver) => return Ok(Turn::HandedOver),
            None => {}
        }
        // A lock that changed hands between the two looks is nobody's for an instant.
        let holder = Lock::holder(path)?.unwrap_or_else(|| "another command of slipway-agent".to_owned());
        if behind.as_deref() != Some(holder.as_str()) && pause > PAUSES.0 {
            wishes.waits_behind(Some(&holder));
            behind = Some(holder);
        }
        wishes.wait(pause);
        pause = (pause * 2).min(PAUSES.1);
    };
    if behind.is_some() {
        wishes.waits_behind(None);
    }
    if let Err(error) = lock.note(deployment.as_str()) {
        tracing::debug!(%error, "others will not know behind whom they wait");
    }
    Ok(Turn::Come(lock))
}
