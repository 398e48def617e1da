//! The outbox: sends results until the service takes them, across restarts.

use std::sync::Arc;

use slipway_protocol::diagnostics::Diagnostics;

use super::Daemon;
use crate::http::Backoff;
use crate::ledger::{Entry, LedgerError};
use crate::outcome::Outcome;
use crate::service::ServiceError;

/// Why a pass over the outbox ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    /// The service did not take a result this time.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Daemon {
    /// Sends results as they come.
    pub(super) async fn report_for_ever(self: Arc<Self>) {
        let mut backoff = Backoff::standard();
        loop {
            match self.report_pending().await {
                Ok(()) => {
                    backoff.reset();
                    self.results.notified().await;
                }
                Err(error) => {
                    let wait = match &error {
                        ReportError::Service(ServiceError::Throttled(_)) => self.throttled(),
                        _ => backoff.pause(),
                    };
                    tracing::warn!(%error, wait = ?wait, "a result was not taken and is sent again");
                    self.board.error(format!("a result was not taken by the service: {error}"));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Sends every result that was not taken yet, oldest first.
    pub(super) async fn report_pending(&self) -> Result<(), ReportError> {
        for entry in self.ledger.pending()? {
            self.report(&entry).await?;
        }
        Ok(())
    }

    async fn report(&self, entry: &Entry) -> Result<(), ReportError> {
        let Some(outcome) = entry.outcome() else { return Ok(()) };
        let id = &entry.command.host_command_identifier;
        self.gate.pass().await;
        let answer = match self.service.complete(id, outcome.status(), &outcome.diagnostics()).await {
            // What the service dislikes may be the diagnostics and not the result.
            Err(ServiceError::Client { .. }) => self.service.complete(id, outcome.status(), &minimal(outcome)).await,
            other => other,
        };
        match answer {
            Ok(()) => {
                self.gate.succeeded();
                self.ledger.mark_reported(&entry.id())?;
                Ok(())
            }
            Err(ServiceError::Client { name, message }) => {
                tracing::error!(command = entry.command.command_name, name, message, "the service refused a result for good");
                self.board.error(format!("{}: the service refused the result ({name}): {message}", entry.command.command_name));
                self.ledger.mark_refused(&entry.id(), &format!("{name}: {message}"))?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn minimal(outcome: &Outcome) -> Diagnostics {
    let mut diagnostics = outcome.diagnostics();
    diagnostics.log = String::new();
    diagnostics.script_name = String::new();
    diagnostics.message = outcome.status_word().to_owned();
    diagnostics
}
