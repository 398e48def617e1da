//! Commands that an earlier life of the agent began and did not end.

use std::sync::Arc;

use slipway_protocol::commands::HostCommand;

use super::Daemon;
use crate::ledger::LedgerError;
use crate::lifecycle::Command;

impl Daemon {
    /// Ends what cut-off hooks left running, and gives those that are over their result. Needs no
    /// network.
    pub(super) fn recover_hooks(&self) -> Result<(), LedgerError> {
        for entry in self.ledger.unfinished()?.entries {
            let (Some(work), Ok(Command::Hook(event))) = (&entry.work, Command::parse(&entry.name)) else { continue };
            if let Some(outcome) = self.engine.recover_event(&work.group, &work.deployment, &event) {
                tracing::warn!(command = entry.name, deployment = %work.deployment, status = ?outcome.status(), "recovered");
                self.ledger.finish(&entry.command, outcome)?;
            }
        }
        Ok(())
    }

    /// Takes them up again, each in a task of its own. Whether anything is left to do is for the
    /// service and the engine to say, exactly as for a command that was just polled.
    pub(super) fn resume(self: Arc<Self>) -> Result<(), LedgerError> {
        let unfinished = self.ledger.unfinished()?;
        for error in unfinished.unreadable {
            tracing::error!(%error, "a record of a host command is left aside");
        }
        for entry in unfinished.entries {
            let Some(in_hand) = self.take_in_hand(&entry.command) else { continue };
            tracing::warn!(command = entry.name, begun = %entry.begun, "an earlier life of the agent did not end this");
            let command = HostCommand {
                host_command_identifier: entry.command.as_str().to_owned(),
                host_identifier: self.service.identity().host_identifier.clone(),
                deployment_execution_id: entry.execution,
                command_name: entry.name,
                nonce: None,
            };
            let daemon = self.clone();
            tokio::spawn(async move {
                if let Ok(permit) = daemon.capacity.clone().acquire_owned().await {
                    daemon.carry_out(command, in_hand, permit).await;
                }
            });
        }
        Ok(())
    }
}
