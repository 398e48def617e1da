//! Commands that an earlier life of the agent began and did not end.

use std::sync::Arc;

use slipway_protocol::commands::{Acknowledgement, CommandStatus, HostCommand};
use tracing::{Instrument as _, Span};

use super::command::{self, Unrecorded};
use super::{Daemon, InHand};
use crate::causes::with_causes;
use crate::engine::Execution;
use crate::hooks::Wish;
use crate::identity::Host;
use crate::ledger::{Entry, LedgerError, Work};
use crate::lifecycle::Command;
use crate::outcome::{ErrorCode, Failure, Outcome};

/// How often a command is begun again that the agent did not outlive.
const MOST_LIVES: u32 = 5;

impl Daemon {
    /// Takes them up again, each in a task of its own.
    pub(super) fn resume(self: Arc<Self>, host: &Host) -> Result<(), LedgerError> {
        let unfinished = self.ledger.unfinished()?;
        for error in unfinished.unreadable {
            tracing::error!(%error, "a record of a host command is left aside");
        }
        for entry in unfinished.entries {
            let Some(in_hand) = self.take_in_hand(&entry.command) else { continue };
            tracing::warn!(event = entry.name, begun = %entry.begun, "an earlier life of the agent did not end this");
            let command = HostCommand {
                host_command_identifier: entry.command.as_str().to_owned(),
                host_identifier: host.identifier.clone(),
                deployment_execution_id: entry.execution.clone(),
                command_name: entry.name.clone(),
                nonce: None,
            };
            let daemon = self.clone();
            tokio::spawn(async move {
                let Ok(permit) = daemon.capacity.clone().acquire_owned().await else { return };
                let span = command::span_of(&command.command_name);
                match daemon.take_up(&entry, &command, &in_hand).instrument(span).await {
                    Ok(true) => {}
                    Ok(false) => daemon.carry_out(command, in_hand, permit).await,
                    Err(unrecorded) => daemon.report_unrecorded(&command, unrecorded).await,
                }
            });
        }
        Ok(())
    }

    /// Waits for a script that goes on, or for a package manager, by what its runner left, which needs no network.
    /// Whether that was all: else the command is carried out as if it had just been polled, and the service and the
    /// engine say whether anything is left to do.
    async fn take_up(
        self: &Arc<Self>,
        entry: &Entry,
        command: &HostCommand,
        in_hand: &InHand,
    ) -> Result<bool, Unrecorded> {
        match (&entry.work, Command::parse(&entry.name)) {
            (Some(work), Ok(its @ (Command::Hook(_) | Command::UpdateAgent))) => {
                self.attend(work, &its, command, in_hand).await
            }
            _ => Ok(false),
        }
    }

    /// Counts the lives that a command has had, just before it is executed again: one that ends the agent each
    /// time must not do so for ever.
    pub(super) async fn one_life_more(&self, in_hand: &InHand, name: &str) -> Result<(), Failure> {
        let id = in_hand.id.clone();
        let lives = match self.on_ledger(move |ledger| ledger.count_life(&id)).await {
            Ok(lives) => lives,
            // What cannot be counted is not tried.
            Err(error) => {
                return Err(Failure::unknown(format!("{name} was not taken up again: {}", with_causes(&error))));
            }
        };
        if lives <= MOST_LIVES {
            return Ok(());
        }
        let message = format!(
            "{name} was begun {lives} times, and each time the agent was ended before it was over: killed, out of \
             memory, or by a fault of its own (`journalctl -u slipway-agent` tells). It is not tried again; deploy \
             again once that is mended"
        );
        Err(Failure::new(ErrorCode::FailedAfterRestart, message))
    }

    /// Waits for the scripts of a command that have begun. Whether the command is settled with that.
    async fn attend(
        self: &Arc<Self>,
        work: &Work,
        its: &Command,
        command: &HostCommand,
        in_hand: &InHand,
    ) -> Result<bool, Unrecorded> {
        let shown = self.board.show(&command.command_name);
        in_hand.wishes.listen(shown.listener());
        shown.is_about(&work.deployment, &work.group);
        in_hand.is_about(&work.deployment);
        command::is_about(&work.deployment, &work.group);
        if let Some(reason) = self.cancelled(&work.deployment) {
            in_hand.cancel(reason);
        }
        let (daemon, work, its, wishes) = (self.clone(), work.clone(), its.clone(), in_hand.wishes.clone());
        let (deployment, group) = (work.deployment.clone(), work.group.clone());
        let span = Span::current();
        let wait = move || {
            span.in_scope(|| {
                let recovered = daemon.engine.recover(&work, &its, &wishes);
                if matches!(recovered, Some(Execution::Over(Outcome::Succeeded { .. }))) {
                    daemon.engine.note_success(&work.group, &work.deployment, &its);
                }
                recovered
            })
        };
        let mut waiting = tokio::task::spawn_blocking(wait);
        let _progress = self.report_progress(&in_hand.id, &deployment, &group);
        let (mut settled, mut asking) = (None, true);
        let execution = loop {
            tokio::select! {
                done = &mut waiting => break done,
                answer = self.is_settled(command), if asking => {
                    asking = false;
                    let Some(answer) = answer else { continue };
                    let reason = format!("the service has settled the command without it ({answer})");
                    tracing::warn!(reason, "a script is ended");
                    if let Err(error) = in_hand.wishes.make(Wish::Cancel(reason)) {
                        tracing::warn!(%error, "the script goes on");
                    }
                    settled = Some(answer);
                }
            }
        };
        let outcome = match execution {
            Ok(None) => return Ok(false),
            Ok(Some(Execution::HandedOver)) => return Ok(true),
            Ok(Some(Execution::Over(outcome))) => outcome,
            Err(error) => {
                let message = format!(
                    "the agent failed inside while it waited for {}: {error}; its log says more",
                    command.command_name
                );
                Outcome::from(Failure::unknown(message))
            }
        };
        tracing::warn!(status = ?outcome.status(), "recovered");
        match settled {
            // Nobody waits for it; the record is kept, and `status` shows it.
            Some(answer) => {
                let (id, kept) = (in_hand.id.clone(), outcome.clone());
                let done = self.on_ledger(move |ledger| ledger.skip(&id, kept, &answer)).await;
                done.map_err(|error| Unrecorded { outcome, error })?;
            }
            None => self.finish(&in_hand.id, &command.command_name, outcome).await?,
        }
        Ok(true)
    }

    /// What the service says of a command that it does not wait for any more; nothing if it does, or cannot
    /// be asked.
    async fn is_settled(&self, command: &HostCommand) -> Option<String> {
        let acknowledgement = Acknowledgement { is_command_noop: false };
        match self.persist("the acknowledgement", || self.service.acknowledge(command, acknowledgement)).await {
            Ok(Some(status @ (CommandStatus::Succeeded | CommandStatus::Failed))) => Some(format!("{status:?}")),
            // A refusal too: the script goes on and its result is told, which who does not know the command refuses as well.
            Ok(_) | Err(_) => None,
        }
    }
}
