//! One host command, from the poll to its result in the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use slipway_protocol::commands::{Acknowledgement, CommandStatus, HostCommand};
use tokio::sync::OwnedSemaphorePermit;

use super::status::Running;
use super::{Daemon, InHand};
use crate::deployment::{DeploymentSpec, Origin, envelope};
use crate::engine::{Life, Order};
use crate::http::Backoff;
use crate::ids::HostCommandId;
use crate::ledger::{Begun, State};
use crate::lifecycle::Command;
use crate::outcome::{Failure, Outcome};
use crate::service::ServiceError;

/// How long a specification and an acknowledgement are tried for; the service gives a command up
/// after five minutes.
const PATIENCE: Duration = Duration::from_secs(270);

/// What came of a command.
enum Verdict {
    /// It has this result, which is to be reported.
    Ended(Outcome),
    /// The service does not want it any more: nothing is reported.
    Skipped(&'static str),
}

impl Daemon {
    /// Carries out one command and leaves its result to the outbox.
    pub(super) async fn carry_out(self: Arc<Self>, command: HostCommand, in_hand: InHand, permit: OwnedSemaphorePermit) {
        let id = in_hand.id.clone();
        let since = Timestamp::now();
        self.board.update(|status| {
            status.running.push(Running { command: command.command_name.clone(), deployment: None, group: None, since });
        });
        if let Err(error) = self.clone().begin_and_run(&id, &command, since).await {
            // The ledger itself cannot be written: nothing was acknowledged, so nothing may be claimed.
            tracing::error!(command = command.command_name, error = format!("{error:#}"), "the command was not taken");
            self.board.error(format!("{}: {error:#}", command.command_name));
        }
        self.board.update(|status| status.running.retain(|running| running.since != since));
        drop(in_hand);
        drop(permit);
    }

    async fn begin_and_run(
        self: Arc<Self>,
        id: &HostCommandId,
        command: &HostCommand,
        since: Timestamp,
    ) -> anyhow::Result<()> {
        let life = match self.ledger.find(id)?.map(|entry| entry.state) {
            Some(State::Finished { .. } | State::Reported { .. }) => {
                tracing::info!(command = command.command_name, "offered again after it ended; the same result is sent again");
                self.ledger.report_again(id)?;
                self.results.notify_one();
                return Ok(());
            }
            Some(State::Begun) => Life::Again,
            None => {
                self.ledger.begin(&Begun::of(command))?;
                Life::First
            }
        };
        match self.clone().run(id, command, life, since).await {
            Verdict::Ended(outcome) => {
                if let Outcome::Failed(failure) = &outcome {
                    tracing::error!(command = command.command_name, code = ?failure.code, "{}", failure.message);
                    self.board.error(format!("{}: {}", command.command_name, failure.message));
                }
                self.ledger.finish(id, &outcome)?;
                self.results.notify_one();
            }
            Verdict::Skipped(why) => {
                tracing::info!(command = command.command_name, why, "skipped");
                self.ledger.skip(id, why)?;
            }
        }
        Ok(())
    }

    async fn run(self: Arc<Self>, id: &HostCommandId, command: &HostCommand, life: Life, since: Timestamp) -> Verdict {
        let order = match self.order(id, command, life).await {
            Ok(order) => order,
            Err(failure) => return Verdict::Ended(failure.into()),
        };
        self.board.update(|status| {
            if let Some(running) = status.running.iter_mut().find(|running| running.since == since) {
                running.deployment = Some(order.spec.deployment_id.to_string());
                running.group = Some(order.spec.group_id.to_string());
            }
        });
        let order = Arc::new(order);
        let (asking, question) = (self.clone(), order.clone());
        let noop = tokio::task::spawn_blocking(move || asking.engine.is_noop(&question)).await.unwrap_or(false);
        let answer = self.persist("the acknowledgement", || {
            self.service.acknowledge(command, Acknowledgement { is_command_noop: noop })
        });
        match answer.await {
            Ok(None | Some(CommandStatus::InProgress | CommandStatus::Pending)) => {}
            Ok(Some(CommandStatus::Succeeded)) => return Verdict::Skipped("the service has it as succeeded already"),
            Ok(Some(CommandStatus::Failed)) if noop => {
                return Verdict::Ended(Outcome::Succeeded {
                    message: "Succeeded: CompletedNoopCommand".to_owned(),
                    log: String::new(),
                });
            }
            Ok(Some(CommandStatus::Failed)) => return Verdict::Skipped("the service has given it up"),
            Err(ServiceError::Client { name, message }) => {
                tracing::warn!(name, message, "the service refused the acknowledgement");
                return Verdict::Skipped("the service does not know the command any more");
            }
            Err(error) => {
                return Verdict::Ended(Failure::unknown(format!("the command could not be acknowledged: {error}")).into());
            }
        }
        let started = Instant::now();
        let (running, name) = (self.clone(), command.command_name.clone());
        tracing::info!(command = name, deployment = %order.spec.deployment_id, group = %order.spec.group_id, "begun");
        let outcome = tokio::task::spawn_blocking(move || running.engine.execute(&order)).await.unwrap_or_else(|error| {
            Failure::unknown(format!("the agent failed inside while it carried out {name}: {error}; its log says more")).into()
        });
        tracing::info!(command = command.command_name, elapsed = ?started.elapsed(), status = ?outcome.status(), "ended");
        Verdict::Ended(outcome)
    }

    /// Fetches and verifies what a command is about.
    async fn order(&self, id: &HostCommandId, command: &HostCommand, life: Life) -> Result<Order, Failure> {
        let own = &self.service.identity().host_identifier;
        if command.host_identifier != *own {
            return Err(Failure::unknown(format!(
                "the service sent this host, {own}, a command for {:?}; it was not run",
                command.host_identifier
            )));
        }
        let parsed = Command::parse(&command.command_name).map_err(|error| Failure::unknown(error.to_string()))?;
        let envelope = self
            .persist("the deployment specification", || self.service.specification(command))
            .await
            .map_err(|error| Failure::unknown(format!("the deployment specification could not be fetched: {error}")))?;
        let content = envelope::open(&envelope, &self.options.trust).map_err(|error| Failure::unknown(error.to_string()))?;
        let spec =
            DeploymentSpec::from_json(&content, Origin::Service).map_err(|error| Failure::unknown(error.to_string()))?;
        self.ledger
            .name(id, &spec.group_id, &spec.deployment_id)
            .map_err(|error| Failure::unknown(format!("the ledger could not be written: {error}")))?;
        Ok(Order { id: id.clone(), command: parsed, spec, life })
    }

    /// Calls the service until it answers, with backoff, for as long as the service waits too.
    async fn persist<T, F>(&self, what: &str, call: impl Fn() -> F) -> Result<T, ServiceError>
    where
        F: Future<Output = Result<T, ServiceError>>,
    {
        let begun = Instant::now();
        let mut backoff = Backoff::standard();
        loop {
            self.gate.pass().await;
            let error = match call().await {
                Ok(answer) => {
                    self.gate.succeeded();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let wait = match &error {
                ServiceError::Throttled(_) => self.throttled(),
                _ => backoff.pause(),
            };
            if !error.is_passing() || begun.elapsed() + wait > PATIENCE {
                return Err(error);
            }
            tracing::warn!(%error, wait = ?wait, "{what} failed and is tried again");
            tokio::time::sleep(wait).await;
        }
    }
}
