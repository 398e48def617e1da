//! The last output of a script that runs, told to services that take it. Nothing waits for that, and nothing fails
//! by it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slipway_protocol::diagnostics::Diagnostics;

use super::Daemon;
use crate::disk;
use crate::ids::{DeploymentId, GroupId, HostCommandId};
use crate::outcome::{ErrorCode, MAX_LOG, tail};
use crate::service::ServiceError;

/// Between two reports of one command.
const PACE: Duration = Duration::from_secs(3);
/// How long one report may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether progress is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressReports {
    /// As long as the service takes it.
    Sent,
    /// It is not.
    Off,
}

/// Reports until it is dropped.
pub(super) struct Reporting(tokio::task::JoinHandle<()>);

impl Drop for Reporting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Daemon {
    /// Reports the progress of an event of that deployment, until what is returned goes.
    pub(super) fn report_progress(
        self: &Arc<Self>,
        command: &HostCommandId,
        deployment: &DeploymentId,
        group: &GroupId,
    ) -> Reporting {
        let log = self.engine.layout().scripts_log(group, deployment);
        Reporting(tokio::spawn(self.clone().send_progress(command.clone(), log)))
    }

    async fn send_progress(self: Arc<Self>, command: HostCommandId, log: PathBuf) {
        let before = last_output(log.clone()).await;
        let mut sent = before;
        while self.options.progress == ProgressReports::Sent && !self.progress_is_refused.load(Ordering::Relaxed) {
            tokio::time::sleep(PACE).await;
            let output = last_output(log.clone()).await;
            if output.is_empty() || output == sent {
                continue;
            }
            let diagnostics = Diagnostics {
                error_code: ErrorCode::Success,
                script_name: String::new(),
                message: String::new(),
                log: output.clone(),
            };
            match tokio::time::timeout(PATIENCE, self.service.update(command.as_str(), &diagnostics)).await {
                Ok(Ok(())) => sent = output,
                Ok(Err(error @ (ServiceError::Client { .. } | ServiceError::Unusable(_)))) => {
                    tracing::info!(%error, "the service takes no reports of progress, so none are sent any more");
                    self.progress_is_refused.store(true, Ordering::Relaxed);
                }
                Ok(Err(error)) => tracing::debug!(%error, "a report of progress was not taken"),
                Err(_) => tracing::debug!("a report of progress took too long"),
            }
        }
    }
}

/// The end of what the event that is logged last has said; empty where that cannot be read.
async fn last_output(log: PathBuf) -> String {
    // Stamps make a line longer than it is in the report's own log.
    let read = move || disk::read_tail(&log, 2 * MAX_LOG as u64);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(bytes)) => own_part(&String::from_utf8_lossy(&bytes)).to_owned(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the output of a script could not be read");
            String::new()
        }
        Err(_) => String::new(),
    }
}

/// Whole lines of the last event, as much as a report takes.
fn own_part(text: &str) -> &str {
    let begun = text.rfind("LifecycleEvent - ").and_then(|at| text[at..].find('\n').map(|end| at + end + 1));
    let end = text.rfind('\n').map_or(0, |end| end + 1);
    tail(text.get(begun.unwrap_or(0)..end).unwrap_or_default(), MAX_LOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_whole_lines_are_told() {
        assert_eq!(own_part(""), "");
        let text = "t LifecycleEvent - A\nt [stdout]old\nt LifecycleEvent - B\nt Script - s\nt [stdout]new\nt [std";
        assert_eq!(own_part(text), "t Script - s\nt [stdout]new\n");
        assert_eq!(own_part("t [stdout]x\n"), "t [stdout]x\n");
        assert_eq!(own_part("t LifecycleEvent - A"), "");
    }
}
