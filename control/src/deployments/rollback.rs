//! Returns a group to its last successful deployment, by a new deployment.

use super::launch::{self, Order, Source};
use super::{Deployment, DeploymentOptions, DeploymentStatus, Halt, Mode, last_successful};
use crate::apps::rollback_rule::{AutoRollback, RollbackEvent};
use crate::apps::{Application, configs, groups};
use crate::error::ApiError;
use crate::ids::DeploymentId;
use crate::service::Change;

/// Rolls a deployment back that has just ended, if its rule or the user who stopped it says so.
pub(super) async fn consider(change: &mut Change<'_>, ended: &Deployment) -> Result<(), ApiError> {
    if !is_wanted(ended) {
        return Ok(());
    }
    match roll_back(change, ended).await? {
        Ok(id) => {
            tracing::info!(deployment = %ended.id, rollback = %id, "rolling back");
            sqlx::query("UPDATE deployments SET rollback_deployment_id = ? WHERE id = ?")
                .bind(id.as_str())
                .bind(ended.id.as_str())
                .execute(change.db())
                .await?;
        }
        Err(reason) => {
            tracing::warn!(deployment = %ended.id, reason, "not rolled back");
            sqlx::query("UPDATE deployments SET rollback_message = ? WHERE id = ?")
                .bind(reason)
                .bind(ended.id.as_str())
                .execute(change.db())
                .await?;
        }
    }
    Ok(())
}

/// A rollback has no rule, so that it is rolled back only if somebody asks for it.
fn is_wanted(ended: &Deployment) -> bool {
    let rule = &ended.options.auto_rollback;
    match (ended.status, ended.halt) {
        (DeploymentStatus::Failed, None | Some(Halt::Timeout)) => rule.covers(RollbackEvent::Failure),
        (DeploymentStatus::Stopped, Some(Halt::Stop)) => rule.covers(RollbackEvent::StopOnRequest),
        (DeploymentStatus::Stopped, Some(Halt::StopAndRollBack)) => true,
        _ => false,
    }
}

/// The new deployment's id, or why there is none.
async fn roll_back(
    change: &mut Change<'_>,
    ended: &Deployment,
) -> Result<Result<DeploymentId, &'static str>, ApiError> {
    let touched: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM targets t JOIN commands c ON c.target_id = t.id \
         WHERE t.deployment_id = ? AND (c.deadline_ms IS NOT NULL OR c.state IN ('Succeeded', 'Failed')) LIMIT 1",
    )
    .bind(ended.id.as_str())
    .fetch_optional(change.db())
    .await?;
    if touched.is_none() {
        return Ok(Err("Not rolled back: no host had begun with the deployment."));
    }
    let Some(group) = groups::by_id(change.db(), &ended.group_id).await? else {
        return Ok(Err("Not rolled back: the deployment group is gone."));
    };
    let Some(good) = last_successful(change.db(), &group.id).await? else {
        return Ok(Err("Not rolled back: the deployment group has no successful deployment to return to."));
    };
    let application: Application = sqlx::query_as("SELECT * FROM applications WHERE id = ?")
        .bind(&group.application_id)
        .fetch_one(change.db())
        .await?;
    let config = match configs::by_name(change.db(), &ended.config_name).await? {
        Some(config) => config,
        None => configs::find(change.db(), configs::DEFAULT).await?,
    };
    let options = DeploymentOptions {
        description: None,
        ignore_application_stop_failures: ended.options.ignore_application_stop_failures,
        update_outdated_instances_only: false,
        file_exists: good.options.file_exists,
        auto_rollback: AutoRollback::default(),
        mode: Mode::Deploy,
    };
    let revision = good.revision.clone();
    let source = Source::Rollback { of: Box::new(ended.clone()), to: Box::new(good) };
    launch::launch(change, Order { application, group, config, revision, options, source }).await.map(Ok)
}
