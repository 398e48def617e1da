//! PollHostCommand: held open until there is work.

use std::time::Duration;

use slipway_protocol::commands::{HostCommand, PollHostCommandInput, PollHostCommandOutput};
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

use super::{client, require_own};
use crate::clock::Moment;
use crate::deployments::commands::{self, Command, Exclusion};
use crate::deployments::specification::execution_id;
use crate::error::ApiError;
use crate::instances;
use crate::service::Service;

/// How often a held poll looks by itself: leases run out, and other processes write too.
const LOOK: Duration = Duration::from_secs(1);

/// Answers with a command as soon as there is one, and with nothing when the time is up, the
/// service closes, or the host polls anew.
pub(super) async fn handle(
    service: &Service,
    host: &str,
    exclusion: Exclusion,
    input: PollHostCommandInput,
) -> Result<PollHostCommandOutput, ApiError> {
    require_own(host, &input.host_identifier)?;
    require_registered(&mut *service.pool().acquire().await?, host).await?;
    let (mut line, number) = service.enter_line(host);
    let mut closing = service.closing();
    let until = Instant::now() + service.options().poll_hold;
    loop {
        line.mark_unchanged();
        if line.borrow().newest != number {
            return Ok(PollHostCommandOutput::default());
        }
        if let Some(command) = take(service, host, exclusion).await? {
            return Ok(PollHostCommandOutput { host_command: Some(offered(service, command)) });
        }
        let now = Instant::now();
        if now >= until || *closing.borrow() {
            return Ok(PollHostCommandOutput::default());
        }
        tokio::select! {
            _ = line.changed() => {}
            _ = closing.changed() => {}
            () = tokio::time::sleep_until(until.min(now + LOOK)) => {}
        }
    }
}

async fn require_registered(db: &mut SqliteConnection, host: &str) -> Result<(), ApiError> {
    if instances::by_identity(db, host).await?.is_some() {
        return Ok(());
    }
    Err(client(format!(
        "{host} is not registered as an on-premises instance: `aws deploy register-on-premises-instance \
         --instance-name NAME --iam-user-arn {host}`, or `slipway-control host-config NAME`."
    )))
}

/// Takes what there is for the host. Looks without the write lock first: most often there is nothing.
async fn take(service: &Service, host: &str, exclusion: Exclusion) -> Result<Option<Command>, ApiError> {
    let mut reader = service.pool().acquire().await?;
    if commands::available(&mut reader, host, exclusion, Moment::now()).await?.is_none() {
        return Ok(None);
    }
    drop(reader);
    let mut change = service.change().await?;
    // It may have been deregistered since the poll began.
    require_registered(change.db(), host).await?;
    let now = change.now();
    let Some(command) = commands::available(change.db(), host, exclusion, now).await? else { return Ok(None) };
    commands::offer(&mut change, &command, service.options().lease).await?;
    change.commit().await?;
    Ok(Some(command))
}

fn offered(service: &Service, command: Command) -> HostCommand {
    tracing::debug!(
        host = command.host_identifier,
        deployment = command.deployment_id,
        event = command.name,
        "offered"
    );
    HostCommand {
        deployment_execution_id: execution_id(service.realm(), &command.deployment_id),
        host_command_identifier: command.id,
        host_identifier: command.host_identifier,
        command_name: command.name,
        nonce: None,
    }
}
