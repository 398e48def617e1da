//! SIGHUP: reads the configuration and the identity again, and takes what can change while the daemon runs.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Daemon;
use crate::causes::with_causes;
use crate::identity::CurrentIdentity;
use crate::store::{self, RunningSettings};

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
    /// All settings that count from now on.
    pub settings: RunningSettings,
    /// What in the files has no effect.
    pub warnings: Vec<String>,
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
    /// Reads the configuration and the on-premises file again whenever the signal comes, for ever.
    pub(super) async fn reload_on(self: Arc<Self>, mut signals: Signal) {
        while signals.recv().await.is_some() {
            match self.reload().await {
                Ok(Reloaded { at_next_start, warnings, .. }) => {
                    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
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
                    tracing::error!("SIGHUP: the configuration stays as it was: {}", with_causes(&error));
                    self.board
                        .error(format!("the configuration was not read again at SIGHUP: {}", with_causes(&error)));
                }
            }
            self.read_identity_again().await;
        }
    }

    async fn read_identity_again(&self) {
        let trouble = match self.service.provider().read_again().await {
            Ok(CurrentIdentity { trouble: None, host, access_key }) => {
                let host = host.as_ref().map(|host| tracing::field::display(&host.identifier));
                tracing::info!(host, access_key, "SIGHUP: the identity was read again");
                self.show_identity().await;
                None
            }
            Ok(CurrentIdentity { trouble, .. }) => trouble,
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = trouble {
            tracing::error!("SIGHUP: the identity stays as it was: {trouble}");
            self.board.error(format!("the identity was not read again at SIGHUP: {trouble}"));
        }
        self.reloaded.notify_one();
    }

    /// Reads the configuration again and takes of it what can change now.
    pub(super) async fn reload(self: &Arc<Self>) -> anyhow::Result<Reloaded> {
        let daemon = self.clone();
        let reloaded = tokio::task::spawn_blocking(move || {
            let reloaded = (daemon.options.reload.0)()?;
            daemon.put_down(&reloaded.settings);
            anyhow::Ok(reloaded)
        });
        let reloaded = reloaded.await??;
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = reloaded.pace;
        Ok(reloaded)
    }

    /// Puts the settings down, for commands that compare them with the files; nothing else depends on it.
    pub(super) fn put_down(&self, settings: &RunningSettings) {
        let layout = self.engine.layout();
        let known = store::read_running_settings(layout);
        if !matches!(&known, Ok(Some(known)) if known == settings)
            && let Err(error) = store::write_running_settings(layout, settings)
        {
            tracing::warn!(%error, "`status` and `doctor` cannot compare the settings with the files");
        }
    }

    /// How things are paced now.
    pub(super) fn pace(&self) -> Pace {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
