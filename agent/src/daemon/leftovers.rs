//! What an earlier life, or a deployment that is over, left: installs that were cut off, and services of hooks.

use std::sync::Arc;
use std::time::Duration;

use super::Daemon;
use crate::hooks;
use crate::install;

/// How often services of hooks are looked at that stay for what scripts have left running, and installs that are not
/// settled.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

impl Daemon {
    /// Brings the disk in order before anything new is taken: installs that were cut off are finished or undone. What
    /// is not settled then holds back what it concerns, and nothing else.
    pub(super) fn recover(&self) {
        self.settle_leftovers();
        // Before anything is taken up or polled for.
        self.look_at_requests();
        if let Err(error) = self.sweep_requests() {
            tracing::warn!(%error, "requests for deployments that are gone could not be removed");
        }
        match hooks::sweep(self.engine.layout()) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "services of hooks in which nothing runs any more were let go"),
            Err(error) => tracing::warn!(%error, "services of hooks that are over could not be let go"),
        }
    }

    /// Settles what was cut off, and shows what is not settled.
    fn settle_leftovers(&self) {
        match self.engine.settle_leftovers() {
            Ok(unsettled) => {
                let unsettled: Vec<String> = unsettled.iter().map(ToString::to_string).collect();
                if let Some(first) = unsettled.first()
                    && self.board.read().unsettled != unsettled
                {
                    self.board.error(first.clone());
                }
                self.board.update(|status| status.unsettled = unsettled);
            }
            Err(error) => {
                tracing::error!(%error, "installs that were cut off could not be looked for");
                self.board.error(format!("installs that were cut off could not be looked for: {error}"));
            }
        }
    }

    /// Tries again to settle what is not settled: what kept it from that may be over.
    fn settle_again(&self) {
        match install::count_unsettled(self.engine.layout()) {
            Ok(0) if self.board.read().unsettled.is_empty() => {}
            Ok(_) => self.settle_leftovers(),
            Err(error) => tracing::debug!(%error, "installs that were cut off could not be looked for"),
        }
    }

    /// Lets go, now and then, of services of hooks in which the last background process has ended, and tries again to
    /// settle what is not settled.
    pub(super) async fn sweep_for_ever(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let daemon = self.clone();
            let sweep = move || {
                daemon.settle_again();
                hooks::sweep(daemon.engine.layout())
            };
            let swept = tokio::task::spawn_blocking(sweep).await;
            if let Ok(Err(error)) = swept {
                tracing::debug!(%error, "services of hooks that are over could not be let go");
            }
        }
    }
}
