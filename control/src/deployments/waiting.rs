//! Hosts that keep a deployment waiting, for those who look at it.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::Deployment;
use crate::clock::{Moment, spoken};
use crate::instances;
use crate::service::Service;

/// Hosts that are named.
const MOST: i64 = 5;
/// A host that takes its event within this time is not worth a word.
const PATIENCE: Duration = Duration::from_secs(15);

/// One sentence for each host that has left its event untaken for some time.
///
/// # Errors
/// Those of the database.
pub async fn messages(
    db: &mut SqliteConnection,
    service: &Service,
    deployment: &Deployment,
    now: Moment,
) -> sqlx::Result<Vec<String>> {
    let rows: Vec<(String, String, String, Moment)> = sqlx::query_as(
        "SELECT t.instance_name, c.name, c.host_identifier, c.waiting_ms \
         FROM commands c JOIN targets t ON t.id = c.target_id \
         WHERE c.deployment_id = ? AND c.state IN ('Pending', 'Offered') ORDER BY c.waiting_ms LIMIT ?",
    )
    .bind(deployment.id.as_str())
    .bind(MOST)
    .fetch_all(&mut *db)
    .await?;
    let mut messages = Vec::new();
    for (name, event, host, since) in rows {
        let waiting = now.since(since);
        if waiting >= PATIENCE {
            let heard = last_heard(db, service, &host, now).await?;
            messages.push(format!("{name} has not taken {event} for {}; {heard}.", spoken(waiting)));
        }
    }
    Ok(messages)
}

/// When a host's agent was last heard, in words.
///
/// # Errors
/// Those of the database.
pub async fn last_heard(db: &mut SqliteConnection, service: &Service, host: &str, now: Moment) -> sqlx::Result<String> {
    let stored = instances::by_identity(db, host).await?.and_then(|instance| instance.last_seen);
    Ok(match service.seen(host).max(stored) {
        Some(seen) => format!("its agent was last heard at {seen}, {} ago", spoken(now.since(seen))),
        None => "its agent has never been heard".to_owned(),
    })
}
