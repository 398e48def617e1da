//! The poll loop.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Daemon;
use crate::ids::HostCommandId;
use crate::service::ServiceError;

/// A poll that found nothing and took longer than this was held open by the service.
const HELD: Duration = Duration::from_secs(2);
/// Between polls of a service that holds them.
const WAIT_AFTER_HELD: Duration = Duration::from_secs(1);
/// Between polls of a service that answers at once.
const WAIT_AFTER_ANSWERED: Duration = Duration::from_secs(30);

impl Daemon {
    /// Polls while there is capacity, and hands over each command that comes.
    pub(super) async fn poll_for_ever(self: Arc<Self>) {
        let mut backoff = self.backoff();
        loop {
            self.unpaused().await;
            let Ok(permit) = self.capacity.clone().acquire_owned().await else { return };
            self.gate.pass().await;
            let asked = Instant::now();
            self.set_polling(Some(asked));
            let answer = tokio::select! {
                answer = self.service.poll() => answer,
                // What the service offers to nobody is offered again.
                () = self.paused() => {
                    self.set_polling(None);
                    continue;
                }
            };
            self.set_polling(None);
            self.show_identity().await;
            match answer {
                Ok(found) => {
                    self.gate.succeeded();
                    self.board.connected();
                    backoff = self.backoff();
                    match found {
                        Some(command) => {
                            let id = HostCommandId::new(&command.host_command_identifier);
                            match self.take_in_hand(&id) {
                                Some(in_hand) => {
                                    tokio::spawn(self.clone().carry_out(command, in_hand, permit));
                                }
                                None => {
                                    tracing::debug!(event = command.command_name, "offered again while it runs");
                                    drop(permit);
                                    tokio::time::sleep(WAIT_AFTER_HELD).await;
                                }
                            }
                        }
                        None => {
                            drop(permit);
                            tokio::time::sleep(self.pause(asked.elapsed())).await;
                        }
                    }
                }
                Err(error) => {
                    drop(permit);
                    let wait = match &error {
                        ServiceError::Throttled(_) => self.throttled(),
                        _ => backoff.pause(),
                    };
                    tracing::warn!(%error, wait = ?wait, "the poll failed");
                    self.board.failing(error.to_string(), wait);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn set_polling(&self, since: Option<Instant>) {
        *self.polling_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// How long to wait after a poll that found nothing, with up to 20 % more so that hosts that
    /// started together drift apart.
    fn pause(&self, answered_after: Duration) -> Duration {
        let base = match self.pace().wait_between_runs {
            Some(configured) => configured,
            None if answered_after >= HELD => WAIT_AFTER_HELD,
            None => WAIT_AFTER_ANSWERED,
        };
        base.mul_f64(1.0 + 0.2 * fastrand::f64())
    }
}
