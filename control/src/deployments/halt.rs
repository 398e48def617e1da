//! Ends a deployment before its time.

use super::{Deployment, DeploymentStatus, Halt, by_id, commands, progress, schedule};
use crate::error::ApiError;
use crate::service::Change;

/// What a halt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halted {
    /// The deployment has ended.
    Ended,
    /// Hosts are still running an event; the deployment ends with the last of them.
    Ending,
}

/// Has a deployment give out nothing more: what a host has begun ends by itself, what it has not
/// begun is taken back.
///
/// # Errors
/// Those of the database.
pub async fn halt(change: &mut Change<'_>, deployment: &Deployment, reason: Halt) -> Result<Halted, ApiError> {
    if deployment.completed.is_some() {
        return Ok(Halted::Ended);
    }
    sqlx::query("UPDATE deployments SET halt = coalesce(halt, ?) WHERE id = ?")
        .bind(reason)
        .bind(deployment.id.as_str())
        .execute(change.db())
        .await?;
    let why = match reason {
        Halt::Stop | Halt::StopAndRollBack | Halt::StopAndStay => "Stopped before the host began with this event.",
        Halt::Timeout => "The deployment's time was up before the host began with this event.",
        Halt::GroupDeleted => "The deployment group was deleted before the host began with this event.",
        Halt::ApplicationDeleted => "The application was deleted before the host began with this event.",
    };
    for command in commands::not_begun(change.db(), deployment).await? {
        progress::take_back(change, &command, why).await?;
    }
    schedule::advance(change, deployment.id.as_str()).await?;
    let ended = by_id(change.db(), deployment.id.as_str())
        .await?
        .is_none_or(|deployment| deployment.status != DeploymentStatus::InProgress);
    Ok(if ended { Halted::Ended } else { Halted::Ending })
}
