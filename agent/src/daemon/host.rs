//! Who this host is: the first thing that the daemon has to know, and the last that may end it.

use std::sync::Arc;

use anyhow::Context as _;

use super::Daemon;
use super::reload::Reloaded;
use crate::causes::with_causes;
use crate::identity::{CurrentIdentity, Host};
use crate::store::{self, HostRecord};

impl Daemon {
    /// Finds out who this host is, however long that takes, and makes the state this host's. Returns an error only
    /// for state that cannot be read.
    ///
    /// The configuration may come after the package, and with the identity: as long as nobody was asked for work, the
    /// daemon does not go on with another one than that of the files.
    pub(super) async fn know_host(self: &Arc<Self>) -> anyhow::Result<Knowledge> {
        let mut backoff = self.backoff();
        let host = loop {
            let found = self.service.provider().host().await;
            let why = match (self.reload().await, found) {
                (Ok(Reloaded { at_next_start, .. }), _) if !at_next_start.is_empty() => {
                    tracing::info!(
                        settings = at_next_start.join(", "),
                        "the configuration has changed before it was known who this host is: the daemon starts anew"
                    );
                    return Ok(Knowledge::Outdated);
                }
                (Ok(_), Ok(host)) => break host,
                (Ok(_), Err(error)) => error.to_string(),
                (Err(error), _) => format!("the configuration has changed and cannot be used: {}", with_causes(&error)),
            };
            let wait = backoff.pause();
            tracing::warn!(error = why, ?wait, "it is asked again who this host is");
            self.board.failing(why, wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.reloaded.notified() => {}
            }
        };
        let (layout, instance) = (self.engine.layout().clone(), host.instance.clone());
        let claim = move || {
            let record = HostRecord::of_this_host(instance.as_deref())?;
            store::claim(&layout, record)
        };
        let claimed = tokio::task::spawn_blocking(claim).await.context("making the state this host's was cut off")?;
        if let Some(disowned) = claimed.context("it cannot be told whether the agent's state is this host's")? {
            tracing::warn!(
                "{disowned}. Its host commands, its results that nobody had taken and its hooks were dropped; what is \
                 installed, and the revisions to go back to, are kept"
            );
        }
        // Without an address the polls say why.
        let endpoint = self.service.endpoint(&host).ok().map(String::from);
        tracing::info!(
            host = host.identifier,
            endpoint = endpoint.as_deref().map(tracing::field::display),
            "it is known who this host is"
        );
        self.board.update(|status| {
            status.host = Some(host.identifier.clone());
            status.endpoint = endpoint;
        });
        Ok(Knowledge::Host(host))
    }

    /// Shows who asks by now: the on-premises file can be replaced while the daemon runs.
    pub(super) async fn show_identity(&self) {
        let CurrentIdentity { host, access_key, .. } = self.service.provider().known().await;
        let Some(host) = host else { return };
        let endpoint = self.service.endpoint(&host).ok().map(String::from);
        self.board.update(|status| {
            status.host = Some(host.identifier.clone());
            status.endpoint = endpoint;
            status.access_key = access_key;
        });
    }
}

/// What is known before work is asked for.
pub(super) enum Knowledge {
    /// Who this host is.
    Host(Arc<Host>),
    /// The files say something else than what this daemon was started with.
    Outdated,
}
