//! Commands that an earlier life of the agent began and did not end.

use std::sync::Arc;

use super::Daemon;

impl Daemon {
    /// Takes them up again, each in a task of its own. Whether anything is left to do is for the
    /// service and the engine to say, exactly as for a command that was just polled.
    pub(super) fn resume(self: Arc<Self>) -> anyhow::Result<()> {
        for entry in self.ledger.unfinished()? {
            let Some(in_hand) = self.take_in_hand(&entry.id()) else { continue };
            tracing::warn!(command = entry.command.command_name, "an earlier life of the agent began this and did not end it");
            let daemon = self.clone();
            tokio::spawn(async move {
                if let Ok(permit) = daemon.capacity.clone().acquire_owned().await {
                    daemon.carry_out(entry.command, in_hand, permit).await;
                }
            });
        }
        Ok(())
    }
}
