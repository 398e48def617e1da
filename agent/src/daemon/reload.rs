//! SIGHUP: reads the configuration again, and takes what can change while the daemon runs.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Daemon;

/// How often and how long things are tried and waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between polls that found nothing; by default it depends on whether the service holds polls.
    pub wait_between_runs: Option<Duration>,
    /// Longest pause after errors, where one is configured.
    pub longest_backoff: Option<Duration>,
    /// How long what runs may go on after the end was asked for.
    pub max_wait_at_end: Duration,
}

/// What reading the configuration again brought.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// From now on.
    pub pace: Pace,
    /// Settings that have changed and wait for the next start.
    pub at_next_start: Vec<&'static str>,
}

/// Reads the configuration again. A configuration that is bad changes nothing.
pub struct Reload(pub Box<dyn Fn() -> anyhow::Result<Reloaded> + Send + Sync>);

impl fmt::Debug for Reload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reload")
    }
}

/// The signal, from now on: by default it would end the process.
pub(super) fn signals() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

impl Daemon {
    /// Reads the configuration again whenever the signal comes, for ever.
    pub(super) async fn reload_on(self: Arc<Self>, mut signals: Signal) {
        while signals.recv().await.is_some() {
            let daemon = self.clone();
            let read = tokio::task::spawn_blocking(move || (daemon.options.reload.0)()).await;
            match read.map_err(anyhow::Error::from).and_then(|read| read) {
                Ok(Reloaded { pace, at_next_start }) => {
                    *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
                    if at_next_start.is_empty() {
                        tracing::info!("SIGHUP: the configuration was read again");
                    } else {
                        let keys = at_next_start.join(", ");
                        tracing::warn!(
                            "SIGHUP: the configuration was read again; these wait for the next start: {keys}"
                        );
                    }
                }
                Err(error) => {
                    tracing::error!("SIGHUP: the configuration stays as it was: {error:#}");
                    self.board.error(format!("the configuration was not read again at SIGHUP: {error:#}"));
                }
            }
        }
    }

    /// How things are paced now.
    pub(super) fn pace(&self) -> Pace {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
