//! What the daemon is doing, kept in a file for `status` and for people.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::figures::Counters;
use crate::ids::{DeploymentId, GroupId};
use crate::store::{self, Request, StoreError, Stored};

/// Shortest time between two writes of the file.
const PACE: Duration = Duration::from_millis(200);

/// How old the time of the last poll may be in the file.
const POLL_AGE: SignedDuration = SignedDuration::from_secs(60);

/// The file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Process id of the daemon that wrote it.
    pub pid: u32,
    /// The daemon's version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// Who the host is, once that is known.
    pub host: Option<String>,
    /// The commands service.
    pub endpoint: Option<String>,
    /// The access key that signs requests, once that is known.
    #[serde(default)]
    pub access_key: Option<String>,
    /// How it stands with the service.
    pub connection: Connection,
    /// Since when, by whom and why no new work is taken, where that is so.
    #[serde(default)]
    pub paused: Option<Request>,
    /// Deployments of which nothing more is run here, since somebody cancelled them.
    #[serde(default)]
    pub cancelled: Vec<String>,
    /// When a poll was answered last; at most a minute older than the truth.
    #[serde(default)]
    pub last_poll: Option<Timestamp>,
    /// Installs that were cut off and are not settled, with what they hold back.
    #[serde(default)]
    pub unsettled: Vec<String>,
    /// What the daemon has counted since its start.
    #[serde(default)]
    pub counters: Counters,
    /// What runs now, oldest first.
    pub running: Vec<Running>,
    /// What went wrong last, if anything did.
    pub last_error: Option<Occurrence>,
}

impl Stored for Status {
    const WHAT: &'static str = "the daemon's status";
    const FORMAT: u32 = 1;
}

/// How it stands with the commands service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// No answer yet, no error yet.
    Connecting,
    /// The last poll was answered.
    Connected {
        /// Since when polls have been answered.
        since: Timestamp,
    },
    /// Polls fail.
    Failing {
        /// Since when.
        since: Timestamp,
        /// Why, in the last error's words.
        why: String,
        /// Failed polls since then.
        attempts: u64,
        /// When the next one is made.
        next: Timestamp,
    },
    /// The daemon ended in order.
    Stopped {
        /// When.
        at: Timestamp,
    },
}

/// One command that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The lifecycle event or command.
    pub command: String,
    /// The deployment, once its specification was read.
    pub deployment: Option<String>,
    /// The group, once the specification was read.
    pub group: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// The deployment that it waits for: it works on the same group, or installs.
    #[serde(default)]
    pub behind: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// When.
    pub at: Timestamp,
    /// What.
    pub message: String,
}

/// The status in memory, and the task that writes it down as it changes.
#[derive(Clone, Debug)]
pub struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    status: Mutex<Status>,
    changed: watch::Sender<()>,
}

impl Board {
    /// A board whose file is at `path`.
    pub fn new(path: PathBuf) -> Self {
        let status = Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Timestamp::now(),
            host: None,
            endpoint: None,
            access_key: None,
            connection: Connection::Connecting,
            paused: None,
            cancelled: Vec::new(),
            unsettled: Vec::new(),
            last_poll: None,
            counters: Counters::default(),
            running: Vec::new(),
            last_error: None,
        };
        Self { shared: Arc::new(Shared { path, status: Mutex::new(status), changed: watch::Sender::new(()) }) }
    }

    /// Changes the status; the file follows soon.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        let before = status.clone();
        change(&mut status);
        if *status != before {
            self.shared.changed.send_replace(());
        }
    }

    /// The status now.
    pub fn read(&self) -> Status {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of each change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Shows a command as running, until what is returned goes.
    pub fn show(&self, command: &str) -> Shown {
        let since = Timestamp::now();
        self.update(|status| {
            let command = command.to_owned();
            status.running.push(Running { command, deployment: None, group: None, since, behind: None });
        });
        Shown { board: self.clone(), since }
    }

    /// Says that a poll was answered.
    pub fn connected(&self) {
        let now = Timestamp::now();
        self.update(|status| {
            // Not each poll is worth a write.
            if status.last_poll.is_none_or(|last| now.duration_since(last) >= POLL_AGE) {
                status.last_poll = Some(now);
            }
            if !matches!(status.connection, Connection::Connected { .. }) {
                status.connection = Connection::Connected { since: Timestamp::now() };
            }
        });
    }

    /// Says that a poll failed, and when the next one is made.
    pub fn failing(&self, why: String, wait: Duration) {
        self.update(|status| {
            let now = Timestamp::now();
            let (since, attempts) = match &status.connection {
                Connection::Failing { since, attempts, .. } => (*since, *attempts),
                _ => (now, 0),
            };
            let wait = jiff::SignedDuration::try_from(wait).unwrap_or_default();
            let next = now.checked_add(wait).unwrap_or(now);
            status.connection = Connection::Failing { since, why: why.clone(), attempts: attempts + 1, next };
            status.last_error = Some(Occurrence { at: now, message: why });
        });
    }

    /// Remembers an error that is not the connection's.
    pub fn error(&self, message: String) {
        self.update(|status| status.last_error = Some(Occurrence { at: Timestamp::now(), message }));
    }

    /// Writes the file at once.
    pub fn write(&self) -> Result<(), StoreError> {
        store::write(&self.shared.path, &self.read())
    }

    /// Writes the file whenever the status changed, for ever. A write that fails is logged once in a
    /// row: the daemon's work does not depend on it.
    pub async fn keep_written(self) {
        let (mut failed, mut changes) = (false, self.changes());
        loop {
            let board = self.clone();
            let written = tokio::task::spawn_blocking(move || board.write()).await;
            match written {
                Ok(Err(error)) if !failed => {
                    failed = true;
                    tracing::warn!(%error, "the status file could not be written");
                }
                Ok(Ok(())) => failed = false,
                _ => {}
            }
            tokio::time::sleep(PACE).await;
            // The sender lives as long as this board.
            let _ = changes.changed().await;
        }
    }
}

/// A command that is shown as running.
#[derive(Debug)]
pub struct Shown {
    board: Board,
    since: Timestamp,
}

impl Shown {
    /// Says what it is about, once that is known.
    pub fn is_about(&self, deployment: &DeploymentId, group: &GroupId) {
        self.board.update(|status| {
            if let Some(running) = status.running.iter_mut().find(|running| running.since == self.since) {
                running.deployment = Some(deployment.to_string());
                running.group = Some(group.to_string());
            }
        });
    }
}

impl Shown {
    /// Shows behind whom the command waits, as it is told.
    pub fn listener(&self) -> impl Fn(Option<&str>) + Send + Sync + 'static {
        let (board, since) = (self.board.clone(), self.since);
        move |holder| {
            board.update(|status| {
                if let Some(running) = status.running.iter_mut().find(|running| running.since == since) {
                    running.behind = holder.map(str::to_owned);
                }
            });
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.board.update(|status| status.running.retain(|running| running.since != self.since));
    }
}

/// Reads the status that a daemon wrote last.
pub fn read(path: &Path) -> Result<Option<Status>, StoreError> {
    store::read(path)
}
