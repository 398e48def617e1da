//! What happens because time passed: hosts that are late, deployments that take too long, and the
//! record of when hosts were heard.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::{Moment, spoken};
use crate::deployments::commands::{self, Command, CommandState};
use crate::deployments::progress::{Outcome, Report, settle};
use crate::deployments::{EventError, Halt, halt, overdue, schedule, unfinished, waiting};
use crate::error::ApiError;
use crate::instances;
use crate::service::{Change, Service};

/// How often it looks.
const TICK: Duration = Duration::from_secs(1);
/// How often the hosts' last contacts are stored.
const STORE_SEEN: Duration = Duration::from_secs(10);
/// How many milliseconds the wall clock may run from the monotonic one between two ticks before it
/// counts as set.
const JUMP: i64 = 5_000;
/// What a host has at least, after the service was away, to report what it runs.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// The task that keeps the time. Ends with [`Timekeeper::stop`].
#[derive(Debug)]
pub struct Timekeeper {
    service: Service,
    task: JoinHandle<()>,
}

/// Begins to keep the time of a service: picks up the deployments that an earlier one left, then
/// watches.
///
/// # Errors
/// Those of the database.
pub async fn start(service: &Service) -> Result<Timekeeper, ApiError> {
    recover(service).await?;
    let task = tokio::spawn(watch(service.clone()));
    Ok(Timekeeper { service: service.clone(), task })
}

impl Timekeeper {
    /// Closes the service: held polls are answered, the hosts' last contacts stored.
    pub async fn stop(self) {
        self.service.close();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the timekeeper ended early");
        }
    }
}

/// Goes on with what an earlier service left. Hosts get their time anew: it was the service that
/// was away.
async fn recover(service: &Service) -> Result<(), ApiError> {
    let mut change = service.change().await?;
    commands::forgive(&mut change, GRACE).await?;
    change.commit().await?;
    for id in unfinished(service.pool()).await? {
        tracing::info!(deployment = %id, "going on with a deployment");
        let mut change = service.change().await?;
        schedule::advance(&mut change, id.as_str()).await?;
        change.commit().await?;
    }
    Ok(())
}

async fn watch(service: Service) {
    let mut closing = service.closing();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Reading::now();
    let mut stored = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = closing.wait_for(|closing| *closing) => break,
        }
        let now = Reading::now();
        // A tick that failed is made up for by the next one: nothing was changed.
        if let Err(error) = tick(&service, now.jump_since(last)).await {
            tracing::error!(%error, "the time could not be kept; trying again");
        } else {
            last = now;
        }
        if stored.elapsed() >= STORE_SEEN {
            stored = Instant::now();
            store_seen(&service).await;
        }
    }
    store_seen(&service).await;
}

/// Both clocks at one time.
#[derive(Clone, Copy, Debug)]
struct Reading {
    monotonic: Instant,
    wall: Moment,
}

impl Reading {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: Moment::now() }
    }

    /// By how many milliseconds the wall clock was set since an earlier reading.
    fn jump_since(self, earlier: Self) -> Option<i64> {
        let passed = self.monotonic.duration_since(earlier.monotonic).as_millis();
        let expected = earlier.wall.millis().saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        let jump = self.wall.millis().saturating_sub(expected);
        (jump.saturating_abs() > JUMP).then_some(jump)
    }
}

async fn tick(service: &Service, jump: Option<i64>) -> Result<(), ApiError> {
    if let Some(millis) = jump {
        tracing::warn!(millis, "the wall clock was set; the deadlines move with it");
        let mut change = service.change().await?;
        commands::shift_deadlines(change.db(), millis).await?;
        change.commit().await?;
    }
    expire(service, Moment::now()).await
}

/// Ends what is overdue at `now`.
///
/// # Errors
/// Those of the database; what was ended before stays so.
pub(crate) async fn expire(service: &Service, now: Moment) -> Result<(), ApiError> {
    let patience = service.options().acknowledge_within;
    let mut reader = service.pool().acquire().await?;
    let late = commands::overdue(&mut reader, now, patience).await?;
    let long = overdue(&mut reader, now).await?;
    drop(reader);
    for command in late {
        let mut change = service.change().await?.at(now);
        // What ended, or was taken, since it was looked at is not late any more.
        let Some(current) = commands::by_id(change.db(), &command.id).await? else { continue };
        if current.state != command.state {
            continue;
        }
        let report = Report::own(EventError::UnknownError, lateness(&mut change, &current).await?);
        settle(&mut change, &current, Outcome::TimedOut(report)).await?;
        change.commit().await?;
    }
    for deployment in long {
        let mut change = service.change().await?.at(now);
        halt::halt(&mut change, &deployment, Halt::Timeout).await?;
        change.commit().await?;
    }
    Ok(())
}

/// What an operator has to know about a host that is late.
async fn lateness(change: &mut Change<'_>, command: &Command) -> sqlx::Result<String> {
    let (now, service) = (change.now(), change.service().clone());
    let heard = waiting::last_heard(change.db(), &service, &command.host_identifier, now).await?;
    let options = service.options();
    Ok(match command.state {
        CommandState::Acknowledged => format!(
            "The host did not report the end of {} within {}; {heard}. The agent or the host went away, or a script \
             hangs: see the host's log of this deployment.",
            command.name,
            spoken(options.complete_within)
        ),
        _ => format!(
            "The host did not take {} within {}; {heard}. See that the agent runs there (`systemctl status \
             slipway-agent`), that it reaches this service, and that its identity is {}.",
            command.name,
            spoken(options.acknowledge_within),
            command.host_identifier
        ),
    })
}

/// Stores the hosts' last contacts in one go: they are no reason to write at every poll.
async fn store_seen(service: &Service) {
    let seen = service.take_seen();
    if seen.is_empty() {
        return;
    }
    let stored = async {
        let mut change = service.change().await?;
        for (host, seen) in &seen {
            instances::store_seen(change.db(), host, seen).await?;
        }
        change.commit().await
    };
    if let Err(error) = stored.await {
        tracing::warn!(%error, "the hosts' last contacts could not be stored");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let start = Reading { monotonic: Instant::now(), wall: Moment::from_millis(1_000_000) };
        let after = |passed: u64, wall: i64| Reading {
            monotonic: start.monotonic + Duration::from_millis(passed),
            wall: Moment::from_millis(1_000_000 + wall),
        };
        for (passed, wall, jump) in [
            (1000, 1000, None),
            (1000, 4000, None),
            (60_000, 60_010, None),
            (1000, 1000 + 86_400_000, Some(86_400_000)),
            (1000, 1000 - 86_400_000, Some(-86_400_000)),
        ] {
            assert_eq!(after(passed, wall).jump_since(start), jump, "{passed} {wall}");
        }
    }
}
