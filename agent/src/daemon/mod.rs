//! The daemon: settle what an earlier life left, poll, carry out, report, end in order.
//!
//! ```text
//!            ┌────────────┐   host command   ┌───────────────┐  blocking thread  ┌────────┐
//! service ◄──┤ poll loop  ├─────────────────►│ one command   ├──────────────────►│ engine │
//!            └────────────┘                  │ spec, ack     │◄──────────────────┤        │
//!            ┌────────────┐   ledger+notify  │               │      outcome      └────────┘
//! service ◄──┤ outbox     │◄─────────────────┴───────────────┘
//!            └────────────┘
//! ```
//!
//! Every result is in the ledger before anybody is told, and stays there until the service took it.

mod command;
pub mod figures;
mod host;
mod leftovers;
mod outbox;
mod poll;
pub mod progress;
pub mod reload;
mod report;
mod requests;
mod resume;
mod shutdown;
pub mod status;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{Notify, Semaphore, watch};

use crate::deployment::envelope::Trust;
use crate::disk::{Lock, LockError};
use crate::engine::Engine;
use crate::hooks::{Wish, Wishes};
use crate::http::{Backoff, ThrottleGate};
use crate::identity::Host;
use crate::ids::{DeploymentId, HostCommandId};
use crate::ledger::{Ledger, LedgerError};
use crate::service::CommandsService;
use crate::store::{Request, RunningSettings};

use host::Knowledge;
use progress::ProgressReports;
use reload::{Pace, Reload};
use shutdown::Shutdown;
use status::Board;

/// How long the daemon's lock may be held by somebody who is about to let go of it.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The first pause after an error, at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long the end waits for the service to take the last results.
const LAST_REPORTS: Duration = Duration::from_secs(15);

/// What the daemon needs to know beyond its engine and its service.
#[derive(Debug)]
pub struct Options {
    /// Whose specifications are believed.
    pub trust: Trust,
    /// How often and how long things are tried and waited for, until it is changed.
    pub pace: Pace,
    /// Reads the configuration again.
    pub reload: Reload,
    /// The settings that the daemon has, for commands that compare them with the files.
    pub settings: RunningSettings,
    /// Deployment groups that are worked on at once, at least one.
    pub max_parallel_groups: usize,
    /// No poll takes longer than this, connections that do not come about included.
    pub longest_poll: Duration,
    /// Whether progress is told to the service.
    pub progress: ProgressReports,
    /// Where the figures for a monitoring system are kept, if anywhere.
    pub metrics_file: Option<PathBuf>,
}

/// What all tasks of the daemon share.
#[derive(Debug)]
struct Daemon {
    service: CommandsService,
    engine: Engine,
    ledger: Arc<Ledger>,
    options: Options,
    gate: Arc<ThrottleGate>,
    board: Board,
    results: Notify,
    capacity: Arc<Semaphore>,
    in_hand: Mutex<HashMap<HostCommandId, Held>>,
    ending: watch::Sender<bool>,
    paused: watch::Sender<Option<Request>>,
    /// Since when the service has been asked for work, while it is.
    polling_since: Mutex<Option<Instant>>,
    pace: Mutex<Pace>,
    /// The configuration and the identity were read again.
    reloaded: Notify,
    progress_is_refused: AtomicBool,
}

/// What is known of a command in hand.
#[derive(Debug)]
struct Held {
    wishes: Arc<Wishes>,
    deployment: Option<DeploymentId>,
}

/// Why the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The configuration has changed before work was asked for: the daemon has to be started anew.
    Outdated,
}

/// Runs until a signal asks for the end, or the configuration changes before anything is done. Returns an error only for what makes a start pointless:
/// another daemon on the same root, or state that this version cannot read.
pub async fn run(
    engine: Engine,
    service: CommandsService,
    gate: Arc<ThrottleGate>,
    options: Options,
) -> anyhow::Result<Ended> {
    let layout = engine.layout().clone();
    let _only_one = only_one(&layout.daemon_lock())?;
    let shutdown = Shutdown::on_signals().context("signals cannot be received")?;
    let hangups = reload::signals().context("signals cannot be received")?;
    let board = Board::new(layout.status());
    let ledger = Arc::new(Ledger::open(&layout).context("the ledger of host commands cannot be read")?);
    let daemon = Arc::new(Daemon {
        service,
        engine,
        ledger,
        capacity: Arc::new(Semaphore::new(options.max_parallel_groups)),
        pace: Mutex::new(options.pace),
        reloaded: Notify::new(),
        progress_is_refused: AtomicBool::new(false),
        options,
        gate,
        board: board.clone(),
        results: Notify::new(),
        in_hand: Mutex::default(),
        ending: watch::Sender::new(false),
        paused: watch::Sender::new(None),
        polling_since: Mutex::default(),
    });
    daemon.put_down(&daemon.options.settings);
    let mut tellers = vec![
        tokio::spawn(board.clone().keep_written()),
        tokio::spawn(report::keep_systemd_told(board.clone())),
        tokio::spawn(daemon.clone().feed_watchdog()),
        tokio::spawn(daemon.clone().reload_on(hangups)),
    ];
    if let Some(path) = daemon.options.metrics_file.clone() {
        tellers.push(tokio::spawn(report::keep_metrics(board.clone(), layout, path)));
    }
    notify_systemd(&[sd_notify::NotifyState::Ready]);

    let recovering = daemon.clone();
    tokio::task::spawn_blocking(move || recovering.recover()).await.context("the recovery was cut off")?;
    // Nothing of an earlier life is taken up or reported before it is known to be this host's.
    let host = tokio::select! {
        host = daemon.know_host() => Some(host?),
        () = shutdown.asked() => None,
    };
    let ended = match host {
        Some(Knowledge::Outdated) => Ended::Outdated,
        Some(Knowledge::Host(host)) => {
            daemon.serve(&host, &shutdown).await?;
            Ended::Stopped
        }
        None => Ended::Stopped,
    };
    tellers.iter().for_each(tokio::task::JoinHandle::abort);
    board.update(|status| status.connection = status::Connection::Stopped { at: jiff::Timestamp::now() });
    board.write().context("the status file cannot be written")?;
    Ok(ended)
}

fn only_one(path: &Path) -> anyhow::Result<Lock> {
    let begun = Instant::now();
    loop {
        match Lock::try_now(path) {
            Ok(lock) => return Ok(lock),
            // `status` looks at the lock for an instant, and a daemon that was killed just now may not be gone yet.
            Err(LockError::Held(_)) if begun.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_PATIENCE / 50),
            Err(LockError::Held(path)) => anyhow::bail!(
                "another slipway-agent runs on this root directory: it holds {}; `slipway-agent status` shows it",
                path.display()
            ),
            Err(error) => return Err(error.into()),
        }
    }
}

fn notify_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

impl Daemon {
    /// Takes up what was begun, polls, and reports, until the end is asked for; then brings that about.
    async fn serve(self: &Arc<Self>, host: &Host, shutdown: &Shutdown) -> anyhow::Result<()> {
        let outbox = tokio::spawn(self.clone().report_until_end());
        let sweeper = tokio::spawn(self.clone().sweep_for_ever());
        let requests = tokio::spawn(self.clone().heed_requests());
        self.clone().resume(host)?;
        tokio::select! {
            () = self.clone().poll_for_ever() => {}
            () = shutdown.asked() => {}
        }

        notify_systemd(&[sd_notify::NotifyState::Stopping]);
        self.finish_running().await;
        sweeper.abort();
        requests.abort();
        // It ends by itself, between two results: one that is cut off while it is sent would be sent twice.
        let abort = outbox.abort_handle();
        if tokio::time::timeout(LAST_REPORTS, outbox).await.is_err() {
            abort.abort();
        }
        self.send_last_reports().await;
        Ok(())
    }

    /// Leaves scripts that run to their runners, for the agent's next life to wait for; lets everything else go
    /// on to its end, its reports too, for as long as the configuration allows.
    async fn finish_running(&self) {
        self.ending.send_replace(true);
        for held in self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if let Err(error) = held.wishes.make(Wish::HandOver) {
                tracing::warn!(%error, "a command could not be told that the agent ends");
            }
        }
        let all = u32::try_from(self.options.max_parallel_groups).unwrap_or(u32::MAX);
        let ended = tokio::time::timeout(self.pace().max_wait_at_end, self.capacity.acquire_many(all)).await;
        if ended.is_err() {
            let running = self.board.read().running;
            tracing::warn!(
                ?running,
                "the end was asked for and these commands did not end in time; the next start settles them"
            );
        }
    }

    async fn send_last_reports(&self) {
        match tokio::time::timeout(LAST_REPORTS, self.report_pending()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "results that were not taken yet are sent after the next start"),
            Err(_) => tracing::warn!("the service did not answer; results are sent after the next start"),
        }
    }

    /// Reads or writes the ledger where waiting for the disk holds nothing else up.
    async fn on_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> anyhow::Result<T> {
        let ledger = self.ledger.clone();
        Ok(tokio::task::spawn_blocking(move || work(&ledger)).await??)
    }

    /// Pauses after errors.
    fn backoff(&self) -> Backoff {
        match self.pace().longest_backoff {
            Some(longest) => Backoff::new(FIRST_PAUSE.min(longest), longest),
            None => Backoff::standard(),
        }
    }

    /// Closes the gate for everything, and says for how long.
    fn throttled(&self) -> Duration {
        self.gate.throttled();
        self.gate.closed_for(Instant::now()).unwrap_or_default()
    }

    /// Returns once the end was asked for.
    async fn ending(&self) {
        // The sender lives as long as the daemon.
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }

    /// Takes a command in hand, unless it is already, or the agent ends.
    fn take_in_hand(self: &Arc<Self>, id: &HostCommandId) -> Option<InHand> {
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if in_hand.contains_key(id) || *self.ending.borrow() {
            return None;
        }
        let wishes = match Wishes::new() {
            Ok(wishes) => Arc::new(wishes),
            Err(error) => {
                tracing::error!(%error, "a command is left for later");
                return None;
            }
        };
        in_hand.insert(id.clone(), Held { wishes: wishes.clone(), deployment: None });
        Some(InHand { daemon: self.clone(), id: id.clone(), wishes, at_work: AtomicBool::new(false) })
    }
}

/// A command that is being carried out; the same one is not begun again meanwhile.
#[derive(Debug)]
struct InHand {
    daemon: Arc<Daemon>,
    id: HostCommandId,
    wishes: Arc<Wishes>,
    /// Whether its work has begun: until then it is only talked about with the service.
    at_work: AtomicBool,
}

impl InHand {
    /// Returns once the end was asked for, unless the work has begun.
    async fn ends_before_work(&self) {
        self.daemon.ending().await;
        if self.at_work.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    }

    /// Says what it is about, once that is known.
    fn is_about(&self, deployment: &DeploymentId) {
        let mut in_hand = self.daemon.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = in_hand.get_mut(&self.id) {
            held.deployment = Some(deployment.clone());
        }
    }

    /// Has it end, for this reason.
    fn cancel(&self, reason: String) {
        if let Err(error) = self.wishes.make(Wish::Cancel(reason)) {
            tracing::error!(%error, "a command could not be told that it is cancelled");
        }
    }

    /// Why it is to end, if somebody wants it to.
    fn cancelled(&self) -> Option<String> {
        match self.wishes.made() {
            Some(Wish::Cancel(reason)) => Some(reason),
            Some(Wish::HandOver) | None => None,
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.daemon.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
