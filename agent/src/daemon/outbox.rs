//! The outbox: sends results until the service takes them, across restarts.

use std::sync::Arc;

use slipway_protocol::diagnostics::Diagnostics;

use super::Daemon;
use crate::causes::with_causes;
use crate::ledger::{Delivery, Entry, Ledger};
use crate::service::ServiceError;

/// Why a pass over the outbox ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    /// The service did not take a result this time.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The ledger could not be read or written.
    #[error("{}", with_causes(.0))]
    Ledger(anyhow::Error),
}

impl Daemon {
    /// Sends results as they come, until the end is asked for.
    pub(super) async fn report_until_end(self: Arc<Self>) {
        let mut backoff = self.backoff();
        while !*self.ending.borrow() {
            match self.report_pending().await {
                Ok(()) => {
                    backoff = self.backoff();
                    tokio::select! {
                        () = self.results.notified() => {}
                        () = self.ending() => {}
                    }
                }
                Err(error) => {
                    let wait = match &error {
                        ReportError::Service(ServiceError::Throttled(_)) => self.throttled(),
                        _ => backoff.pause(),
                    };
                    tracing::warn!(%error, wait = ?wait, "a result was not taken and is sent again");
                    self.board.error(format!("a result was not taken by the service: {error}"));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.ending() => {}
                    }
                }
            }
        }
    }

    /// Sends every result that was not taken yet, oldest first.
    pub(super) async fn report_pending(&self) -> Result<(), ReportError> {
        let pending = self.on_ledger(Ledger::pending).await.map_err(ReportError::Ledger)?;
        for error in pending.unreadable {
            tracing::error!(%error, "a result that waits to be reported is left aside");
            self.board.error(error.to_string());
        }
        for entry in pending.entries {
            self.report(&entry).await?;
        }
        Ok(())
    }

    async fn report(&self, entry: &Entry) -> Result<(), ReportError> {
        let Some(outcome) = entry.outcome() else { return Ok(()) };
        let id = entry.command.as_str();
        self.gate.pass().await;
        let answer = match self.service.complete(id, outcome.status(), &outcome.diagnostics()).await {
            // What the service dislikes may be the diagnostics and not the result.
            Err(ServiceError::Client { .. }) => {
                self.service.complete(id, outcome.status(), &minimal(outcome.diagnostics())).await
            }
            other => other,
        };
        let delivery = match answer {
            Ok(()) => Delivery::Accepted,
            Err(ServiceError::Client { name, message }) => {
                let answer = format!("{name}: {message}");
                let deployment = entry.work.as_ref().map(|work| tracing::field::display(&work.deployment));
                tracing::error!(
                    event = entry.name,
                    deployment_id = deployment,
                    answer,
                    "the service refused a result for good"
                );
                self.board.error(format!("{}: the service refused the result: {answer}", entry.name));
                Delivery::Refused { answer }
            }
            Err(error) => return Err(error.into()),
        };
        self.gate.succeeded();
        let command = entry.command.clone();
        self.on_ledger(move |ledger| ledger.mark_reported(&command, delivery)).await.map_err(ReportError::Ledger)
    }
}

/// The result alone, without what a service could dislike about it.
fn minimal(diagnostics: Diagnostics) -> Diagnostics {
    Diagnostics { script_name: String::new(), message: String::new(), log: String::new(), ..diagnostics }
}
