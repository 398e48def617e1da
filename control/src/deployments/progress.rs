//! What the end of an event means for its host.

use super::commands::{self, Command, CommandState};
use super::{
    APPLICATION_STOP, Deployment, EVENTS, EventError, EventStatus, Target, TargetStatus, by_id, history, schedule,
};
use crate::error::ApiError;
use crate::service::Change;

/// What is known about the end of an event. Its texts come from hosts, and are cut to size before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What kind of end.
    pub error: EventError,
    /// The script that failed.
    pub script_name: String,
    /// For people.
    pub message: String,
    /// End of the scripts' output.
    pub log_tail: String,
}

impl Report {
    /// A report of the service's own.
    pub fn own(error: EventError, message: impl Into<String>) -> Self {
        Self { error, script_name: String::new(), message: message.into(), log_tail: String::new() }
    }
}

/// How an event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Succeeded(Report),
    /// Badly, as the host says.
    Failed(Report),
    /// The host said nothing in time.
    TimedOut(Report),
}

/// Takes the end of an event: the first one counts, any later one changes nothing.
///
/// # Errors
/// Those of the database.
pub async fn settle(change: &mut Change<'_>, command: &Command, outcome: Outcome) -> Result<(), ApiError> {
    if command.state.is_terminal() {
        return Ok(());
    }
    let (state, status, report) = match outcome {
        Outcome::Succeeded(report) => (CommandState::Succeeded, EventStatus::Succeeded, report),
        Outcome::Failed(report) => (CommandState::Failed, EventStatus::Failed, report),
        Outcome::TimedOut(report) => (CommandState::TimedOut, EventStatus::Failed, report),
    };
    commands::end(change, command, state).await?;
    end_event(change, command, status, &report).await?;
    let (deployment, target) = owner(change, command).await?;

    let ended = if status == EventStatus::Failed && !is_ignored(&deployment, command, state) {
        Some(TargetStatus::Failed)
    } else {
        let next = usize::try_from(command.position + 1).unwrap_or(EVENTS.len());
        if next >= EVENTS.len() {
            Some(TargetStatus::Succeeded)
        } else if deployment.halt.is_some() {
            Some(TargetStatus::Failed)
        } else {
            commands::issue(change, &deployment, &target, next).await?;
            None
        }
    };
    if let Some(status) = ended {
        end_target(change, &deployment, &target, status).await?;
        schedule::advance(change, deployment.id.as_str()).await?;
    }
    Ok(())
}

/// A failing ApplicationStop can be ignored; but a host that never took it is not there for the
/// next event either.
fn is_ignored(deployment: &Deployment, command: &Command, ended: CommandState) -> bool {
    let was_taken = ended == CommandState::Failed || command.state == CommandState::Acknowledged;
    deployment.options.ignore_application_stop_failures && command.name == APPLICATION_STOP && was_taken
}

/// Shows what a command that runs has said last. Its result replaces that.
pub async fn show_output(change: &mut Change<'_>, command: &Command, output: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE events SET log_tail = ? WHERE target_id = ? AND position = ? AND ended_ms IS NULL")
        .bind(output)
        .bind(command.target_id)
        .bind(command.position)
        .execute(change.db())
        .await
        .map(drop)
}

async fn end_event(
    change: &mut Change<'_>,
    command: &Command,
    status: EventStatus,
    report: &Report,
) -> sqlx::Result<()> {
    let now = change.now();
    sqlx::query(
        "UPDATE events SET status = ?, started_ms = coalesce(started_ms, ?), ended_ms = ?, error_code = ?, \
         script_name = ?, message = ?, log_tail = ? WHERE target_id = ? AND position = ?",
    )
    .bind(status)
    .bind(now)
    .bind(now)
    .bind(report.error)
    .bind(&report.script_name)
    .bind(&report.message)
    .bind(&report.log_tail)
    .bind(command.target_id)
    .bind(command.position)
    .execute(change.db())
    .await?;
    sqlx::query("UPDATE targets SET updated_ms = ? WHERE id = ?")
        .bind(now)
        .bind(command.target_id)
        .execute(change.db())
        .await?;
    Ok(())
}

/// Takes a command back that its host has not begun, because its deployment gives out nothing more.
pub(super) async fn take_back(change: &mut Change<'_>, command: &Command, why: &str) -> Result<(), ApiError> {
    commands::end(change, command, CommandState::Cancelled).await?;
    let (deployment, target) = owner(change, command).await?;
    sqlx::query("UPDATE events SET message = ? WHERE target_id = ? AND position = ?")
        .bind(why)
        .bind(command.target_id)
        .bind(command.position)
        .execute(change.db())
        .await?;
    let status = if command.position == 0 { TargetStatus::Skipped } else { TargetStatus::Failed };
    end_target(change, &deployment, &target, status).await?;
    Ok(())
}

async fn end_target(
    change: &mut Change<'_>,
    deployment: &Deployment,
    target: &Target,
    status: TargetStatus,
) -> sqlx::Result<()> {
    let now = change.now();
    sqlx::query("UPDATE targets SET status = ?, updated_ms = ? WHERE id = ?")
        .bind(status)
        .bind(now)
        .bind(target.id)
        .execute(change.db())
        .await?;
    sqlx::query("UPDATE events SET status = ? WHERE target_id = ? AND status = ?")
        .bind(EventStatus::Skipped)
        .bind(target.id)
        .bind(EventStatus::Pending)
        .execute(change.db())
        .await?;
    if status != TargetStatus::Skipped {
        history::note(change.db(), deployment, target, status).await?;
    }
    Ok(())
}

async fn owner(change: &mut Change<'_>, command: &Command) -> sqlx::Result<(Deployment, Target)> {
    let deployment = by_id(change.db(), &command.deployment_id).await?.ok_or(sqlx::Error::RowNotFound)?;
    let target =
        sqlx::query_as("SELECT * FROM targets WHERE id = ?").bind(command.target_id).fetch_one(change.db()).await?;
    Ok((deployment, target))
}
