//! Host commands: an event on its way to a host and back.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row};

use super::{Deployment, EVENTS, EventStatus, Target};
use crate::clock::Moment;
use crate::error::ApiError;
use crate::ids;
use crate::service::Change;
use crate::text::words;

/// Asked by every poll, at least once a second for each host.
const AVAILABLE: &str = "SELECT c.* FROM commands c WHERE c.host_identifier = ?1 \
     AND c.state IN ('Pending', 'Offered', 'Acknowledged') \
     AND (c.state = 'Pending' OR (c.state = 'Offered' AND c.lease_ms <= ?2)) \
     AND NOT EXISTS (SELECT 1 FROM commands o WHERE o.host_identifier = ?1 AND o.seq <> c.seq \
         AND o.state IN ('Pending', 'Offered', 'Acknowledged') \
         AND (o.state = 'Acknowledged' OR (o.state = 'Offered' AND o.lease_ms > ?2)) \
         AND (?3 OR o.group_id = c.group_id)) \
     ORDER BY c.seq LIMIT 1";

/// Asked once a second.
const OVERDUE: &str = "SELECT c.* FROM commands c INDEXED BY commands_outstanding WHERE c.state IN ('Pending', 'Offered', 'Acknowledged') \
     AND CASE c.state WHEN 'Acknowledged' THEN c.deadline_ms <= ?1 \
         ELSE c.waiting_ms <= ?2 AND NOT EXISTS ( \
         SELECT 1 FROM commands o WHERE o.host_identifier = c.host_identifier AND o.seq <> c.seq \
         AND o.state IN ('Pending', 'Offered', 'Acknowledged') AND o.state = 'Acknowledged') END \
     ORDER BY c.seq LIMIT 500";

/// Done at the end of every command.
const WAIT_ANEW: &str = "UPDATE commands SET waiting_ms = ? WHERE host_identifier = ? \
     AND state IN ('Pending', 'Offered', 'Acknowledged')";

words! {
    /// State of a host command.
    pub enum CommandState {
        /// Waits for the host's poll.
        Pending = "Pending",
        /// Given out, not acknowledged.
        Offered = "Offered",
        /// The host runs it.
        Acknowledged = "Acknowledged",
        /// Ended well.
        Succeeded = "Succeeded",
        /// Ended badly.
        Failed = "Failed",
        /// Given up.
        TimedOut = "TimedOut",
        /// Taken back before the host began.
        Cancelled = "Cancelled",
    }
}

impl CommandState {
    /// Whether nothing can change it any more.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Offered | Self::Acknowledged => false,
            Self::Succeeded | Self::Failed | Self::TimedOut | Self::Cancelled => true,
        }
    }
}

/// A host command as stored.
#[derive(Clone, Debug)]
pub struct Command {
    /// Opaque and unguessable.
    pub id: String,
    /// The host in its deployment.
    pub target_id: i64,
    /// Place of its event.
    pub position: i64,
    /// Its deployment.
    pub deployment_id: String,
    /// Whose command it is.
    pub host_identifier: String,
    /// Name of its event.
    pub name: String,
    /// State.
    pub state: CommandState,
}

impl FromRow<'_, SqliteRow> for Command {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            target_id: row.try_get("target_id")?,
            position: row.try_get("position")?,
            deployment_id: row.try_get("deployment_id")?,
            host_identifier: row.try_get("host_identifier")?,
            name: row.try_get("name")?,
            state: row.try_get("state")?,
        })
    }
}

/// Which other commands of a host keep one back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Those of the same deployment group: for Slipway's own agents.
    PerGroup,
    /// All: other agents' threads collide over their working directory.
    PerHost,
}

/// The command of this identifier, if there is one.
///
/// # Errors
/// Those of the database.
pub async fn by_id(db: &mut SqliteConnection, id: &str) -> sqlx::Result<Option<Command>> {
    sqlx::query_as("SELECT * FROM commands WHERE id = ?").bind(id).fetch_optional(db).await
}

/// Makes the command of an event ready for the host's next poll.
pub(super) async fn issue(
    change: &mut Change<'_>,
    deployment: &Deployment,
    target: &Target,
    position: usize,
) -> Result<(), ApiError> {
    let now = change.now();
    sqlx::query(
        "INSERT INTO commands (id, target_id, position, deployment_id, group_id, host_identifier, name, state, waiting_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(ids::host_command_identifier()?)
    .bind(target.id)
    .bind(i64::try_from(position).unwrap_or(i64::MAX))
    .bind(deployment.id.as_str())
    .bind(&deployment.group_id)
    .bind(&target.host_identifier)
    .bind(EVENTS[position])
    .bind(CommandState::Pending)
    .bind(now)
    .execute(change.db())
    .await?;
    change.stir(&target.host_identifier);
    Ok(())
}

/// The command that a host may be given now, if there is one: pending, or offered before and left.
///
/// # Errors
/// Those of the database.
pub async fn available(
    db: &mut SqliteConnection,
    host: &str,
    exclusion: Exclusion,
    now: Moment,
) -> sqlx::Result<Option<Command>> {
    sqlx::query_as(AVAILABLE).bind(host).bind(now).bind(exclusion == Exclusion::PerHost).fetch_optional(db).await
}

/// Marks a command as given out. Its host keeps the time that it had left to take it.
///
/// # Errors
/// Those of the database.
pub async fn offer(change: &mut Change<'_>, command: &Command, lease: Duration) -> sqlx::Result<()> {
    let until = change.now().after(lease);
    sqlx::query("UPDATE commands SET state = ?, lease_ms = ? WHERE id = ?")
        .bind(CommandState::Offered)
        .bind(until)
        .bind(&command.id)
        .execute(change.db())
        .await?;
    Ok(())
}

/// Marks a command as taken by its host: the event begins.
///
/// # Errors
/// Those of the database.
pub async fn acknowledge(change: &mut Change<'_>, command: &Command, within: Duration) -> sqlx::Result<()> {
    let now = change.now();
    sqlx::query("UPDATE commands SET state = ?, deadline_ms = ? WHERE id = ?")
        .bind(CommandState::Acknowledged)
        .bind(now.after(within))
        .bind(&command.id)
        .execute(change.db())
        .await?;
    sqlx::query("UPDATE events SET status = ?, started_ms = ? WHERE target_id = ? AND position = ?")
        .bind(EventStatus::InProgress)
        .bind(now)
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

/// Commands that were left for too long: not taken within `patience`, or taken and not ended by
/// their deadline. A host that is busy with another command is not late.
///
/// # Errors
/// Those of the database.
pub async fn overdue(db: &mut SqliteConnection, now: Moment, patience: Duration) -> sqlx::Result<Vec<Command>> {
    let latest =
        Moment::from_millis(now.millis().saturating_sub(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX)));
    sqlx::query_as(OVERDUE).bind(now).bind(latest).fetch_all(db).await
}

/// Ends a command; the host's other commands count as waiting from now on, since it could not take
/// them before.
pub(super) async fn end(change: &mut Change<'_>, command: &Command, state: CommandState) -> sqlx::Result<()> {
    let now = change.now();
    sqlx::query("UPDATE commands SET state = ?, ended_ms = ? WHERE id = ?")
        .bind(state)
        .bind(now)
        .bind(&command.id)
        .execute(change.db())
        .await?;
    sqlx::query(WAIT_ANEW).bind(now).bind(&command.host_identifier).execute(change.db()).await?;
    change.stir(&command.host_identifier);
    Ok(())
}

/// Commands of a deployment that no host has begun.
pub(super) async fn not_begun(db: &mut SqliteConnection, deployment: &Deployment) -> sqlx::Result<Vec<Command>> {
    sqlx::query_as("SELECT * FROM commands WHERE deployment_id = ? AND state IN ('Pending', 'Offered') ORDER BY seq")
        .bind(deployment.id.as_str())
        .fetch_all(db)
        .await
}

/// Moves the times by which hosts and deployments are late, after the wall clock was set.
///
/// # Errors
/// Those of the database.
pub async fn shift_deadlines(db: &mut SqliteConnection, millis: i64) -> sqlx::Result<()> {
    for statement in [
        "UPDATE commands SET waiting_ms = waiting_ms + ?1, lease_ms = lease_ms + ?1, deadline_ms = deadline_ms + ?1 \
         WHERE state IN ('Pending', 'Offered', 'Acknowledged')",
        "UPDATE deployments SET deadline_ms = deadline_ms + ?1 WHERE completed_ms IS NULL",
    ] {
        sqlx::query(statement).bind(millis).execute(&mut *db).await?;
    }
    Ok(())
}

/// Gives every host its full time to take what waits for it, and at least `grace` to report what
/// it runs: the service was not there to hear them.
///
/// # Errors
/// Those of the database.
pub async fn forgive(change: &mut Change<'_>, grace: Duration) -> sqlx::Result<()> {
    let now = change.now();
    sqlx::query(
        "UPDATE commands SET waiting_ms = ?1, lease_ms = CASE WHEN lease_ms > ?1 THEN lease_ms ELSE ?1 END, \
         deadline_ms = CASE WHEN deadline_ms > ?2 THEN deadline_ms ELSE ?2 END \
         WHERE state IN ('Pending', 'Offered', 'Acknowledged')",
    )
    .bind(now)
    .bind(now.after(grace))
    .execute(change.db())
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row};

    use super::*;

    /// The table keeps every command that there ever was: what is asked all the time must not read
    /// all of it.
    #[tokio::test]
    async fn outstanding_commands_are_found_by_their_index() {
        let dir = tempfile::tempdir().unwrap();
        let pool = crate::db::open(dir.path()).await.unwrap();
        for query in [AVAILABLE, OVERDUE, WAIT_ANEW] {
            let rows =
                sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"))).fetch_all(&pool).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let reads: Vec<&String> =
                plan.iter().filter(|step| step.starts_with("SCAN") || step.starts_with("SEARCH")).collect();
            assert!(!reads.is_empty() && reads.iter().all(|step| step.contains("commands_outstanding")), "{plan:?}");
        }
    }
}
