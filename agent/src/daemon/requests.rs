//! What operators ask for while the daemon runs, by files below `.slipway/requests`.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Daemon;
use crate::disk::{Dir, Watch};
use crate::hooks::Wish;
use crate::ids::DeploymentId;
use crate::store::{self, Request};

/// How often the directory is looked at where the kernel tells nothing of it.
const LOOK: Duration = Duration::from_secs(1);

impl Daemon {
    /// Does what was asked for, now and as it changes, for ever.
    pub(super) async fn heed_requests(self: Arc<Self>) {
        let path = self.engine.layout().requests();
        let told = Dir::open_or_create(&path, 0o700)
            .and_then(|_| Watch::directory(&path))
            .map_err(anyhow::Error::from)
            // SAFETY: the watch owns its descriptor as long as it lives, and gives it to nobody.
            .and_then(|watch| Ok(unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }?))
            .inspect_err(|error| tracing::info!(%error, "requests are looked for each second"))
            .ok();
        loop {
            let daemon = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || daemon.look_at_requests()).await {
                tracing::error!(%error, "what operators ask for could not be read");
            }
            match &told {
                Some(told) => match told.readable().await {
                    Ok(mut ready) => {
                        told.get_ref().forget();
                        ready.clear_ready();
                    }
                    Err(_) => tokio::time::sleep(LOOK).await,
                },
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// One look: whether to pause, and what to end.
    pub(super) fn look_at_requests(&self) {
        match store::read_pause(self.engine.layout()) {
            Ok(pause) => self.set_paused(pause),
            Err(error) => self.complain(&error),
        }
        match store::cancels(self.engine.layout()) {
            Ok(cancels) => {
                cancels.unreadable.iter().for_each(|error| self.complain(error));
                let ids = cancels.found.iter().map(|(id, _)| id.to_string()).collect();
                self.board.update(|status| status.cancelled = ids);
                for (deployment, request) in &cancels.found {
                    self.cancel(deployment, request);
                }
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Forgets requests for deployments of which nothing is left here.
    pub(super) fn sweep_requests(&self) -> anyhow::Result<()> {
        let layout = self.engine.layout();
        for (deployment, _) in store::cancels(layout)?.found {
            if !self.ledger.knows(&deployment)? && !store::is_kept(layout, &deployment)? {
                store::withdraw_cancel(layout, &deployment)?;
            }
        }
        Ok(())
    }

    /// Why commands of a deployment are not to be run, if somebody asked for its end.
    pub(super) fn cancelled(&self, deployment: &DeploymentId) -> Option<String> {
        match store::read_cancel(self.engine.layout(), deployment) {
            Ok(request) => request.map(|request| because(&request)),
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    /// Returns once work is taken again; at once where it is.
    pub(super) async fn unpaused(&self) {
        // The sender lives as long as the daemon.
        let _ = self.paused.subscribe().wait_for(Option::is_none).await;
    }

    /// Returns once no new work is to be taken.
    pub(super) async fn paused(&self) {
        let _ = self.paused.subscribe().wait_for(Option::is_some).await;
    }

    fn set_paused(&self, pause: Option<Request>) {
        let changed = self.paused.send_if_modified(|now| {
            let changed = *now != pause;
            now.clone_from(&pause);
            changed
        });
        if changed {
            match &pause {
                Some(request) => tracing::warn!("paused {request}; no new work is taken"),
                None => tracing::info!("not paused; work is taken"),
            }
            self.board.update(|status| status.paused = pause);
        }
    }

    fn cancel(&self, deployment: &DeploymentId, request: &Request) {
        let in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        for held in in_hand.values().filter(|held| held.deployment.as_ref() == Some(deployment)) {
            if held.wishes.made().is_some() {
                continue;
            }
            tracing::warn!(deployment_id = %deployment, "cancelled {request}");
            if let Err(error) = held.wishes.make(Wish::Cancel(because(request))) {
                tracing::error!(deployment_id = %deployment, %error, "a command could not be told that it is cancelled");
            }
        }
    }

    fn complain(&self, error: &(impl std::fmt::Display + ?Sized)) {
        tracing::error!(%error, "what operators ask for could not be read");
        self.board.error(error.to_string());
    }
}

/// The reason that the service is told.
fn because(request: &Request) -> String {
    format!("the deployment was cancelled on this host {request}")
}
