//! Who this host is: the first thing that the daemon has to know, and the last that may end it.

use std::sync::Arc;

use anyhow::Context as _;

use super::Daemon;
use crate::identity::Host;
use crate::store::{self, HostRecord};

impl Daemon {
    /// Finds out who this host is, however long that takes, and makes the state this host's. Returns an error only
    /// for state that cannot be read.
    pub(super) async fn know_host(&self) -> anyhow::Result<Arc<Host>> {
        let mut backoff = self.backoff();
        let host = loop {
            match self.service.provider().host().await {
                Ok(host) => break host,
                Err(error) => {
                    let wait = backoff.pause();
                    tracing::warn!(%error, ?wait, "it is asked again who this host is");
                    self.board.failing(error.to_string(), wait);
                    tokio::time::sleep(wait).await;
                }
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
        Ok(host)
    }
}
