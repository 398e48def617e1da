//! One host command, from the poll to its result in the ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use slipway_protocol::commands::{Acknowledgement, CommandStatus, HostCommand};
use tokio::sync::OwnedSemaphorePermit;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::{Daemon, InHand};
use crate::causes::with_causes;
use crate::deployment::binding::{Misplaced, is_of_execution};
use crate::deployment::envelope::Opened;
use crate::deployment::{DeploymentSpec, envelope};
use crate::engine::{Execution, Life, Order};
use crate::ids::{DeploymentId, GroupId, HostCommandId};
use crate::ledger::{Entry, Known, Received, Work};
use crate::lifecycle::Command;
use crate::outcome::{Failure, Outcome};
use crate::process;
use crate::service::ServiceError;
use crate::store;

/// How long a specification and an acknowledgement are tried for; the service gives a command up
/// after five minutes.
const PATIENCE: Duration = Duration::from_secs(270);

/// What came of a command that was acknowledged.
enum Answer {
    /// It is settled, and nobody waits for a report.
    Settled {
        /// As what it counts from now on.
        outcome: Outcome,
        /// In the service's words.
        answer: String,
    },
    /// It has this result, which is to be reported.
    Ended(Outcome),
    /// It goes on without this life of the agent; the next one takes it up.
    HandedOver,
}

impl From<Execution> for Answer {
    fn from(execution: Execution) -> Self {
        match execution {
            Execution::Over(outcome) => Self::Ended(outcome),
            Execution::HandedOver => Self::HandedOver,
        }
    }
}

/// A result that could not be written down.
pub(super) struct Unrecorded {
    pub(super) outcome: Outcome,
    pub(super) error: anyhow::Error,
}

impl Unrecorded {
    /// Nothing was run, since what cannot be written down is not begun.
    fn not_run(error: anyhow::Error) -> Self {
        let message = format!(
            "nothing was run, since the agent could not write down that it begins: {}; free space below its root \
             directory, or mend what is said",
            with_causes(&error)
        );
        Self { outcome: Failure::unknown(message).into(), error }
    }
}

/// What is logged about a command carries its event, and the deployment once that is known.
pub(super) fn span_of(command: &str) -> Span {
    tracing::info_span!("command", event = command, deployment_id = Empty, group = Empty)
}

/// Says what the current command is about, for all that is logged from now on.
pub(super) fn is_about(deployment: &DeploymentId, group: &GroupId) {
    Span::current().record("deployment_id", deployment.as_str()).record("group", group.as_str());
}

impl Daemon {
    /// Carries out one command and leaves its result to the outbox.
    pub(super) async fn carry_out(
        self: Arc<Self>,
        command: HostCommand,
        in_hand: InHand,
        permit: OwnedSemaphorePermit,
    ) {
        let span = span_of(&command.command_name);
        let work = async {
            tokio::select! {
                done = self.clone().run(&in_hand, &command) => {
                    if let Err(unrecorded) = done {
                        self.report_unrecorded(&command, unrecorded).await;
                    }
                }
                // The next life takes it up, or is offered it again.
                () = in_hand.ends_before_work() => {}
            }
        };
        work.instrument(span).await;
        drop(in_hand);
        drop(permit);
    }

    async fn run(self: Arc<Self>, in_hand: &InHand, command: &HostCommand) -> Result<(), Unrecorded> {
        let id = &in_hand.id;
        let shown = self.board.show(&command.command_name);
        in_hand.wishes.listen(shown.listener());
        let asked = id.clone();
        let life = match self.on_ledger(move |ledger| ledger.lookup(&asked)).await.map_err(Unrecorded::not_run)? {
            Known::New => Life::First,
            Known::Begun(_) => Life::Again,
            Known::Finished(_, outcome) => return self.send_again(id, outcome).await,
        };
        let name = &command.command_name;
        let received =
            Received { command: id.clone(), name: name.clone(), execution: command.deployment_execution_id.clone() };
        let (order, spec_sha256) = match self.order(id, command, life).await {
            Ok(understood) => understood,
            Err(failure) => {
                self.tell(name, &failure);
                let outcome = Outcome::from(failure);
                let recorded = outcome.clone();
                let done = self.on_ledger(move |ledger| ledger.finish_at_once(received, recorded)).await;
                self.results.notify_one();
                return done.map(drop).map_err(|error| Unrecorded { outcome, error });
            }
        };
        let (deployment, group) = (order.spec.deployment_id.clone(), order.spec.group_id.clone());
        shown.is_about(&deployment, &group);
        is_about(&deployment, &group);
        in_hand.is_about(&deployment);
        if let Some(reason) = self.cancelled(&deployment) {
            in_hand.cancel(reason);
        }
        // Before the acknowledgement: once the service has that, it waits for a result.
        let work = Work { deployment, group, spec_sha256 };
        self.on_ledger(move |ledger| ledger.begin(received, work)).await.map_err(Unrecorded::not_run)?;
        let outcome = match self.acknowledge(command, &Arc::new(order), in_hand).await {
            Answer::Ended(outcome) => outcome,
            Answer::HandedOver => return Ok(()),
            Answer::Settled { outcome, answer } => {
                tracing::info!(answer, "the service has settled it");
                let id = id.clone();
                if let Err(error) = self.on_ledger(move |ledger| ledger.skip(&id, outcome, &answer)).await {
                    // Nobody waits for it; the next start finds it begun and asks the service again.
                    tracing::warn!("the ledger could not be written: {}", with_causes(&error));
                }
                return Ok(());
            }
        };
        self.finish(id, name, outcome).await
    }

    /// Leaves a result to the outbox.
    pub(super) async fn finish(&self, id: &HostCommandId, name: &str, outcome: Outcome) -> Result<(), Unrecorded> {
        if let Outcome::Failed(failure) = &outcome {
            self.tell(name, failure);
        }
        let (id, recorded) = (id.clone(), outcome.clone());
        let done = self.on_ledger(move |ledger| ledger.finish(&id, recorded)).await;
        self.results.notify_one();
        if let Ok(entry) = &done {
            self.count(entry);
        }
        done.map(drop).map_err(|error| Unrecorded { outcome, error })
    }

    fn count(&self, entry: &Entry) {
        let (Some(outcome), Some(ended)) = (entry.outcome(), entry.finished_at()) else { return };
        let outcome = match outcome {
            Outcome::Succeeded { .. } => "succeeded",
            Outcome::Failed(_) => "failed",
        };
        let seconds = ended.duration_since(entry.begun).as_secs_f64();
        let fetched = self.engine.fetched_bytes();
        self.board.update(|status| {
            status.counters.fetched_bytes = fetched;
            status.counters.ended(&entry.name, outcome, seconds);
        });
    }

    async fn send_again(&self, id: &HostCommandId, outcome: Outcome) -> Result<(), Unrecorded> {
        tracing::info!("offered again after it ended; the same result is sent again");
        let id = id.clone();
        let done = self.on_ledger(move |ledger| ledger.report_again(&id)).await;
        self.results.notify_one();
        done.map_err(|error| Unrecorded { outcome, error })
    }

    /// Reports past the ledger: a disk that holds no result must not leave the service without one.
    pub(super) async fn report_unrecorded(&self, command: &HostCommand, unrecorded: Unrecorded) {
        let Unrecorded { outcome, error } = unrecorded;
        let name = &command.command_name;
        tracing::error!("the ledger could not be written: {}", with_causes(&error));
        self.board.error(format!("{name}: the ledger could not be written: {}", with_causes(&error)));
        let (status, diagnostics) = (outcome.status(), outcome.diagnostics());
        let id = &command.host_command_identifier;
        if let Err(error) = self.persist("the result", || self.service.complete(id, status, &diagnostics)).await {
            tracing::error!(%error, "the result could not be reported either");
        }
    }

    fn tell(&self, command: &str, failure: &Failure) {
        let script = Some(failure.script.as_str()).filter(|script| !script.is_empty());
        tracing::error!(code = ?failure.code, script, "{}", failure.message);
        self.board.error(format!("{command}: {}", failure.message));
    }

    async fn execute(self: &Arc<Self>, order: Arc<Order>, in_hand: &InHand) -> Execution {
        in_hand.at_work.store(true, Ordering::Release);
        let (daemon, running, wishes) = (self.clone(), order.clone(), in_hand.wishes.clone());
        let name = order.command.name();
        tracing::info!("begun");
        let _progress = match &order.command {
            Command::Hook(_) | Command::UpdateAgent => {
                Some(self.report_progress(&order.id, &order.spec.deployment_id, &order.spec.group_id))
            }
            Command::DownloadBundle | Command::Install => None,
        };
        let started = Instant::now();
        let span = Span::current();
        let work = tokio::task::spawn_blocking(move || {
            let ended = span.in_scope(|| {
                let ended = daemon.engine.execute(&running, &wishes);
                if matches!(ended, Execution::Over(Outcome::Succeeded { .. })) {
                    daemon.note_success(&running);
                }
                ended
            });
            process::give_heap_back();
            ended
        });
        let execution = if order.command == Command::DownloadBundle {
            tokio::select! {
                done = work => done,
                // What was fetched is fetched again: waiting for it could take as long as a network does.
                () = self.ending() => return Execution::HandedOver,
            }
        } else {
            work.await
        };
        let execution = execution.unwrap_or_else(|error| {
            let message = format!("the agent failed inside while it carried out {name}: {error}; its log says more");
            Execution::Over(Failure::unknown(message).into())
        });
        let status = match &execution {
            Execution::Over(outcome) => format!("{:?}", outcome.status()),
            Execution::HandedOver => "handed over to the agent's next life".to_owned(),
        };
        if let Execution::Over(outcome) = &execution {
            for warning in outcome.warnings().lines() {
                tracing::warn!("{warning}");
            }
        }
        tracing::info!(elapsed = ?started.elapsed(), status, "ended");
        execution
    }

    /// Acknowledges a command and runs it where the service wants it run.
    async fn acknowledge(self: &Arc<Self>, command: &HostCommand, order: &Arc<Order>, in_hand: &InHand) -> Answer {
        let (asking, question) = (self.clone(), order.clone());
        let noop = tokio::task::spawn_blocking(move || asking.engine.is_noop(&question)).await.unwrap_or(false)
            // Nothing of a cancelled deployment succeeds, not even where there is nothing to do.
            && in_hand.cancelled().is_none();
        let acknowledgement = Acknowledgement { is_command_noop: noop };
        let answer = self.persist("the acknowledgement", || self.service.acknowledge(command, acknowledgement)).await;
        let settled = |outcome, answer: &str| Answer::Settled { outcome, answer: answer.to_owned() };
        match answer {
            Ok(None | Some(CommandStatus::InProgress | CommandStatus::Pending)) => {
                if let Some(reason) = in_hand.cancelled() {
                    return Answer::Ended(Failure::unknown(format!("nothing was begun: {reason}")).into());
                }
                if order.life == Life::Again
                    && let Err(failure) = self.one_life_more(in_hand, &command.command_name).await
                {
                    return Answer::Ended(failure.into());
                }
                self.execute(order.clone(), in_hand).await.into()
            }
            Ok(Some(CommandStatus::Succeeded)) => {
                self.noted_success(order).await;
                settled(Outcome::succeeded(), "Succeeded")
            }
            Ok(Some(CommandStatus::Failed)) if noop => {
                self.noted_success(order).await;
                Answer::Ended(Outcome::succeeded_with("Succeeded: CompletedNoopCommand", ""))
            }
            Ok(Some(CommandStatus::Failed)) => {
                let why = "the service gave the command up before it began; the deployment was most likely stopped";
                settled(Failure::unknown(why).into(), "Failed")
            }
            // A refusal too: a service that knows the command must not have to wait until it times out, and
            // one that does not know it refuses the report as well, which ends it.
            Err(error) => {
                let why = format!("the command could not be acknowledged, so nothing was run: {error}");
                Answer::Ended(Failure::unknown(why).into())
            }
        }
    }

    fn note_success(&self, order: &Order) {
        self.engine.note_success(&order.spec.group_id, &order.spec.deployment_id, &order.command);
    }

    /// The same, where nothing was run.
    async fn noted_success(self: &Arc<Self>, order: &Arc<Order>) {
        let (daemon, order) = (self.clone(), order.clone());
        // What it says it has logged.
        let _ = tokio::task::spawn_blocking(move || daemon.note_success(&order)).await;
    }

    /// Fetches and verifies what a command is about; with it the digest of what was signed.
    async fn order(&self, id: &HostCommandId, command: &HostCommand, life: Life) -> Result<(Order, String), Failure> {
        let own = self.service.provider().host().await.map_err(|error| Failure::unknown(error.to_string()))?;
        if command.host_identifier != own.identifier {
            return Err(Failure::unknown(format!(
                "the service sent this host, {}, a command for {:?}; it was not run",
                own.identifier, command.host_identifier
            )));
        }
        let parsed = Command::parse(&command.command_name).map_err(|error| Failure::unknown(error.to_string()))?;
        let envelope = self
            .persist("the deployment specification", || self.service.specification(command))
            .await
            .map_err(|error| Failure::unknown(format!("the deployment specification could not be fetched: {error}")))?;
        let Opened { content, signer } =
            envelope::open(&envelope, &self.options.trust).map_err(|error| Failure::unknown(error.to_string()))?;
        let mut spec = DeploymentSpec::from_json(&content).map_err(|error| Failure::unknown(error.to_string()))?;
        spec.signer = Some(signer);
        self.check_place(&spec, command, &own.identifier).await?;
        Ok((Order { id: id.clone(), command: parsed, spec, life }, hex::encode(Sha256::digest(&content))))
    }

    /// Holds a specification that is rightly signed to what it was asked for: this deployment, this host, now, and none that is
    /// older than the newest of its group.
    async fn check_place(&self, spec: &DeploymentSpec, command: &HostCommand, own: &str) -> Result<(), Failure> {
        let (found, execution) = (spec.deployment_id.clone(), command.deployment_execution_id.clone());
        if !is_of_execution(&found, &execution) {
            return Err(Failure::unknown(Misplaced::OtherDeployment { found, execution }.to_string()));
        }
        if let Some(binding) = &spec.binding {
            binding.check(own, jiff::Timestamp::now()).map_err(|error| Failure::unknown(error.to_string()))?;
        }
        let (layout, group) = (self.engine.layout().clone(), spec.group_id.clone());
        let sequence = spec.binding.as_ref().map(|binding| binding.sequence);
        let noted = tokio::task::spawn_blocking(move || store::follow_on(&layout, &group, &found, sequence)).await;
        let noted = noted.map_err(|error| Failure::unknown(error.to_string()))?;
        noted.map_err(|error| Failure::unknown(error.to_string()))
    }

    /// Calls the service until it answers, with backoff, for as long as the service waits too.
    pub(super) async fn persist<T, F>(&self, what: &str, call: impl Fn() -> F) -> Result<T, ServiceError>
    where
        F: Future<Output = Result<T, ServiceError>>,
    {
        let begun = Instant::now();
        let mut backoff = self.backoff();
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
