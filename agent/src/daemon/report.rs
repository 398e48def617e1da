//! What the daemon tells others of itself while it runs: systemd, and whoever reads its metrics file.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::figures::{self, Usage};
use super::status::{Board, Connection, Status};
use super::{Daemon, notify_systemd};
use crate::causes::with_causes;
use crate::disk;
use crate::layout::Layout;

/// The metrics file is at most this old.
const METRICS_AGE: Duration = Duration::from_secs(15);
/// Shortest time between two writes of the metrics file.
const METRICS_PACE: Duration = Duration::from_secs(1);

/// Writes the metrics file as things change, for ever. A write that fails is logged once in a row.
pub(super) async fn keep_metrics(board: Board, layout: Layout, path: PathBuf) {
    let mut changes = board.changes();
    let (mut usage, mut failed) = (Usage::default(), false);
    loop {
        let (status, layout, path) = (board.read(), layout.clone(), path.clone());
        let written = tokio::task::spawn_blocking(move || {
            let text = figures::text(&layout, figures::Daemon::Runs, Some(&status), &mut usage);
            let written = text.and_then(|text| Ok(disk::write_unsynced(&path, text.as_bytes(), 0o644)?));
            (usage, written)
        });
        let Ok((used, written)) = written.await else { return };
        usage = used;
        match written {
            Ok(()) => failed = false,
            Err(error) if !failed => {
                failed = true;
                tracing::warn!("metrics_file could not be written: {}", with_causes(&error));
            }
            Err(_) => {}
        }
        tokio::time::sleep(METRICS_PACE).await;
        // Either way it is time.
        let _ = tokio::time::timeout(METRICS_AGE - METRICS_PACE, changes.changed()).await;
    }
}

/// Tells systemd what the daemon does as that changes, for ever.
pub(super) async fn keep_systemd_told(board: Board) {
    let mut changes = board.changes();
    let mut told = String::new();
    loop {
        let text = in_a_line(&board.read());
        if text != told {
            notify_systemd(&[sd_notify::NotifyState::Status(&text)]);
            told = text;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

impl Daemon {
    /// Feeds systemd's watchdog, where systemd wants that. This runs on the one thread of the poll loop, so it is
    /// sent only while that turns; and not while a poll takes longer than any can.
    pub(super) async fn feed_watchdog(self: Arc<Self>) {
        let Some(interval) = sd_notify::watchdog_enabled() else { return };
        loop {
            let polling = *self.polling_since.lock().unwrap_or_else(PoisonError::into_inner);
            match polling.map(|since| since.elapsed()).filter(|elapsed| *elapsed > self.options.longest_poll) {
                None => notify_systemd(&[sd_notify::NotifyState::Watchdog]),
                Some(elapsed) => tracing::error!(?elapsed, "a poll hangs; systemd's watchdog is left to see that"),
            }
            tokio::time::sleep(interval / 2).await;
        }
    }
}

/// What `systemctl status` shows.
fn in_a_line(status: &Status) -> String {
    let mut parts = Vec::new();
    if status.paused.is_some() {
        parts.push("paused".to_owned());
    }
    for running in &status.running {
        let deployment = running.deployment.as_deref().unwrap_or("a deployment");
        parts.push(match &running.behind {
            Some(holder) => format!("{} of {deployment} waits behind {holder}", running.command),
            None => format!("running {} of {deployment}", running.command),
        });
    }
    match &status.connection {
        Connection::Connecting => parts.push("connecting to the service".to_owned()),
        Connection::Connected { .. } if parts.is_empty() => parts.push("polling".to_owned()),
        Connection::Connected { .. } => {}
        Connection::Failing { why, .. } => parts.push(format!("cannot reach the service: {why}")),
        Connection::Stopped { .. } => parts.push("stopped".to_owned()),
    }
    // A line, and not a long one: what the service answers can be both.
    parts.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeploymentId, GroupId};

    #[test]
    fn systemd_is_told_in_one_line() {
        let temp = tempfile::tempdir().unwrap();
        let board = Board::new(temp.path().join("status.json"));
        assert_eq!(in_a_line(&board.read()), "connecting to the service");
        board.connected();
        assert_eq!(in_a_line(&board.read()), "polling");
        let shown = board.show("Install");
        shown.is_about(&DeploymentId::parse("d-1").unwrap(), &GroupId::parse("g").unwrap());
        assert_eq!(in_a_line(&board.read()), "running Install of d-1");
        shown.listener()(Some("d-0"));
        board.failing("HTTP 500\nout of order".to_owned(), Duration::ZERO);
        assert_eq!(
            in_a_line(&board.read()),
            "Install of d-1 waits behind d-0; cannot reach the service: HTTP 500 out of order"
        );
    }
}
