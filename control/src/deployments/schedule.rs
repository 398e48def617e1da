//! Which hosts of a fleet come next, and when a deployment has ended.

use super::{
    Deployment, DeploymentStatus, ErrorCode, EventStatus, Halt, Target, TargetStatus, by_id, commands, rollback,
};
use crate::error::ApiError;
use crate::health::{Progress, Step};
use crate::service::Change;

/// What AWS says when too many hosts failed.
const TOO_MANY_FAILED: &str = "The overall deployment failed because too many individual instances failed deployment, \
     too few healthy instances are available for deployment, or some instances in your deployment group are \
     experiencing problems.";

/// Lines of a script's output that go into a deployment's error.
const OUTPUT_LINES: usize = 5;

/// Takes a deployment one step further, and rolls it back if that ended it badly. Safe to call at
/// any time.
///
/// # Errors
/// Those of the database.
pub async fn advance(change: &mut Change<'_>, deployment_id: &str) -> Result<(), ApiError> {
    if let Some(ended) = step(change, deployment_id).await? {
        rollback::consider(change, &ended).await?;
    }
    Ok(())
}

/// Takes a deployment one step further, and gives it back if that ended it.
pub(super) async fn step(change: &mut Change<'_>, deployment_id: &str) -> Result<Option<Deployment>, ApiError> {
    let Some(deployment) = by_id(change.db(), deployment_id).await? else { return Ok(None) };
    if deployment.completed.is_some() {
        return Ok(None);
    }
    let mut progress = progress(change, &deployment).await?;
    if let Some(reason) = deployment.halt {
        skip_waiting(change, &deployment).await?;
        if progress.in_flight > 0 {
            return Ok(None);
        }
        let (status, code, message) = ending(reason);
        return finish(change, deployment, status, Some((code, message.to_owned()))).await.map(Some);
    }
    loop {
        match deployment.fleet.next(progress) {
            Step::Start(hosts) => {
                begin(change, &deployment, hosts).await?;
                return Ok(None);
            }
            Step::Wait => return Ok(None),
            Step::Abandon => {
                skip_waiting(change, &deployment).await?;
                progress.skipped += progress.waiting;
                progress.waiting = 0;
            }
            Step::Succeed => return finish(change, deployment, DeploymentStatus::Succeeded, None).await.map(Some),
            Step::Fail => {
                let error = (ErrorCode::HealthConstraints, failure_message(change, &deployment).await?);
                return finish(change, deployment, DeploymentStatus::Failed, Some(error)).await.map(Some);
            }
        }
    }
}

fn ending(reason: Halt) -> (DeploymentStatus, ErrorCode, &'static str) {
    match reason {
        Halt::Stop | Halt::StopAndRollBack | Halt::StopAndStay => {
            (DeploymentStatus::Stopped, ErrorCode::ManualStop, "The deployment was stopped by a user.")
        }
        Halt::Timeout => (
            DeploymentStatus::Failed,
            ErrorCode::Timeout,
            "The deployment did not end within its time; hosts that had not begun were skipped. See the events of the \
             hosts for what took so long.",
        ),
        Halt::GroupDeleted => (
            DeploymentStatus::Failed,
            ErrorCode::DeploymentGroupMissing,
            "The deployment group was deleted while it was being deployed to.",
        ),
        Halt::ApplicationDeleted => (
            DeploymentStatus::Failed,
            ErrorCode::ApplicationMissing,
            "The application was deleted while it was being deployed.",
        ),
    }
}

async fn progress(change: &mut Change<'_>, deployment: &Deployment) -> sqlx::Result<Progress> {
    let rows: Vec<(TargetStatus, u32)> =
        sqlx::query_as("SELECT status, count(*) FROM targets WHERE deployment_id = ? GROUP BY status")
            .bind(deployment.id.as_str())
            .fetch_all(change.db())
            .await?;
    let mut progress = Progress::default();
    for (status, count) in rows {
        match status {
            TargetStatus::Pending => progress.waiting += count,
            TargetStatus::InProgress | TargetStatus::Ready | TargetStatus::Unknown => progress.in_flight += count,
            TargetStatus::Succeeded => progress.succeeded += count,
            TargetStatus::Failed => progress.failed += count,
            TargetStatus::Skipped => progress.skipped += count,
        }
    }
    Ok(progress)
}

async fn begin(change: &mut Change<'_>, deployment: &Deployment, hosts: u32) -> Result<(), ApiError> {
    let targets: Vec<Target> =
        sqlx::query_as("SELECT * FROM targets WHERE deployment_id = ? AND status = ? ORDER BY rank LIMIT ?")
            .bind(deployment.id.as_str())
            .bind(TargetStatus::Pending)
            .bind(hosts)
            .fetch_all(change.db())
            .await?;
    let now = change.now();
    for target in &targets {
        sqlx::query("UPDATE targets SET status = ?, updated_ms = ? WHERE id = ?")
            .bind(TargetStatus::InProgress)
            .bind(now)
            .bind(target.id)
            .execute(change.db())
            .await?;
        commands::issue(change, deployment, target, 0).await?;
    }
    Ok(())
}

async fn skip_waiting(change: &mut Change<'_>, deployment: &Deployment) -> sqlx::Result<()> {
    let now = change.now();
    sqlx::query(
        "UPDATE events SET status = ? WHERE target_id IN (SELECT id FROM targets WHERE deployment_id = ? AND status = ?)",
    )
    .bind(EventStatus::Skipped)
    .bind(deployment.id.as_str())
    .bind(TargetStatus::Pending)
    .execute(change.db())
    .await?;
    sqlx::query("UPDATE targets SET status = ?, updated_ms = ? WHERE deployment_id = ? AND status = ?")
        .bind(TargetStatus::Skipped)
        .bind(now)
        .bind(deployment.id.as_str())
        .bind(TargetStatus::Pending)
        .execute(change.db())
        .await?;
    Ok(())
}

async fn finish(
    change: &mut Change<'_>,
    mut deployment: Deployment,
    status: DeploymentStatus,
    error: Option<(ErrorCode, String)>,
) -> Result<Deployment, ApiError> {
    let now = change.now();
    let (code, message) = error.clone().unzip();
    sqlx::query("UPDATE deployments SET status = ?, completed_ms = ?, error_code = ?, error_message = ? WHERE id = ?")
        .bind(status)
        .bind(now)
        .bind(code)
        .bind(message)
        .bind(deployment.id.as_str())
        .execute(change.db())
        .await?;
    tracing::info!(deployment = %deployment.id, %status, "deployment ended");
    (deployment.status, deployment.completed, deployment.error) = (status, Some(now), error);
    Ok(deployment)
}

#[derive(Debug)]
struct FirstFailure {
    host: String,
    event: String,
    error: Option<String>,
    script: Option<String>,
    message: Option<String>,
    output: Option<String>,
}

/// AWS's words, then which host failed first, at what, with which script and what it said last.
async fn failure_message(change: &mut Change<'_>, deployment: &Deployment) -> sqlx::Result<String> {
    type Row = (String, String, Option<String>, Option<String>, Option<String>, Option<String>);
    let row: Option<Row> = sqlx::query_as(
        "SELECT t.instance_name, e.name, e.error_code, e.script_name, e.message, e.log_tail \
         FROM targets t JOIN events e ON e.target_id = t.id \
         WHERE t.deployment_id = ? AND t.status = 'Failed' AND e.status = 'Failed' \
         ORDER BY t.updated_ms, t.rank, e.position DESC LIMIT 1",
    )
    .bind(deployment.id.as_str())
    .fetch_optional(change.db())
    .await?;
    let Some((host, event, error, script, message, output)) = row else { return Ok(TOO_MANY_FAILED.to_owned()) };
    let failure = FirstFailure { host, event, error, script, message, output };
    Ok(format!("{TOO_MANY_FAILED} {failure}"))
}

impl std::fmt::Display for FirstFailure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let filled = |text: &'_ Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        write!(out, "First failure: {}, {}", self.host, self.event)?;
        if let Some(script) = filled(&self.script) {
            write!(out, ", script {script}")?;
        }
        if let Some(error) = filled(&self.error) {
            write!(out, " ({error})")?;
        }
        if let Some(message) = filled(&self.message) {
            write!(out, ": {}", message.trim())?;
        }
        if let Some(output) = filled(&self.output) {
            let lines: Vec<&str> = output.trim_end().lines().collect();
            let last = lines[lines.len().saturating_sub(OUTPUT_LINES)..].join("\n");
            write!(out, "\nIts last output:\n{last}")?;
        }
        Ok(())
    }
}
