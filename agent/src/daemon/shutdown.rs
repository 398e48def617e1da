//! The end of the daemon, asked for by a signal.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells every task when to stop.
#[derive(Clone, Debug)]
pub struct Shutdown {
    asked: watch::Receiver<bool>,
}

impl Shutdown {
    /// Ends on SIGTERM or SIGINT.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (tell, asked) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => tracing::info!("SIGTERM: taking no new work, what runs goes on"),
                _ = interrupt.recv() => tracing::info!("SIGINT: taking no new work, what runs goes on"),
            }
            // Nobody is left to tell where this fails.
            let _ = tell.send(true);
        });
        Ok(Self { asked })
    }

    /// Returns once the end was asked for.
    pub async fn asked(&self) {
        let mut asked = self.asked.clone();
        // A sender that is gone has told, or can never tell.
        if asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
