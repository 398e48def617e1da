//! The service as one value: the database, the signer, and who waits for work.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::watch;

use crate::clock::Moment;
use crate::envelope::SpecSigner;
use crate::error::ApiError;
use crate::instances::{Realm, Seen};

/// What can be set about a service. The durations' defaults are those of the protocol.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Region in the service's ARNs.
    pub region: String,
    /// Account in them, twelve digits.
    pub account: String,
    /// How long a poll is held open without work.
    pub poll_hold: Duration,
    /// How long a command that was given out is not given out again.
    pub lease: Duration,
    /// How long a host may leave an event untaken.
    pub acknowledge_within: Duration,
    /// How long a taken event may run.
    pub complete_within: Duration,
    /// How long a deployment may go on.
    pub deployment_within: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            poll_hold: Duration::from_secs(20),
            lease: Duration::from_secs(30),
            acknowledge_within: Duration::from_secs(5 * 60),
            complete_within: Duration::from_secs(4_200),
            deployment_within: Duration::from_secs(12 * 3600),
        }
    }
}

/// Longest name of an agent's version that is kept, in characters.
const LONGEST_AGENT: usize = 100;

/// The control service. Cheap to clone; all that must last is in the database, so that a service
/// that was killed goes on where it was.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: SqlitePool,
    signer: Arc<SpecSigner>,
    options: ServiceOptions,
    realm: Realm,
    /// Writers of this process queue here instead of in SQLite, whose waiting sleeps.
    writer: tokio::sync::Mutex<()>,
    lines: Mutex<HashMap<String, watch::Sender<Line>>>,
    seen: Mutex<HashMap<String, Seen>>,
    closing: watch::Sender<bool>,
}

/// What a held poll watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Grows with every poll of the host; an older one than the newest ends, since its connection
    /// may be dead and must not take a command.
    pub newest: u64,
    /// Grows with everything that may be work for the host.
    pub stirred: u64,
}

impl Service {
    /// A service over an open database. Nothing runs until [`crate::timekeeper::start`].
    pub fn new(pool: SqlitePool, signer: Arc<SpecSigner>, options: ServiceOptions) -> Self {
        let realm = Realm { region: options.region.clone(), account: options.account.clone() };
        Self {
            shared: Arc::new(Shared {
                pool,
                signer,
                options,
                realm,
                writer: tokio::sync::Mutex::new(()),
                lines: Mutex::default(),
                seen: Mutex::default(),
                closing: watch::Sender::new(false),
            }),
        }
    }

    /// The database.
    pub fn pool(&self) -> &SqlitePool {
        &self.shared.pool
    }

    /// What was set.
    pub fn options(&self) -> &ServiceOptions {
        &self.shared.options
    }

    /// Region and account of its ARNs.
    pub fn realm(&self) -> &Realm {
        &self.shared.realm
    }

    /// Answers held polls and lets the timekeeper end. New polls are not held from now on.
    pub fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Follows whether the service is closing.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.shared.closing.subscribe()
    }

    /// Begins a change of the database; nothing of it lasts without [`Change::commit`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn change(&self) -> sqlx::Result<Change<'_>> {
        let turn = self.shared.writer.lock().await;
        let tx = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Change { tx, service: self, stirred: BTreeSet::new(), now: Moment::now(), _turn: turn })
    }

    /// Notes that a host's agent was heard, and what it said of itself.
    pub(crate) fn note_seen(&self, host: &str, agent: Option<&str>) {
        let agent = agent.map(|agent| agent.chars().take(LONGEST_AGENT).collect());
        locked(&self.shared.seen).insert(host.to_owned(), Seen { at: Moment::now(), agent });
    }

    /// When a host's agent was last heard and not yet stored.
    pub(crate) fn seen(&self, host: &str) -> Option<Moment> {
        locked(&self.shared.seen).get(host).map(|seen| seen.at)
    }

    /// Hands over the hosts that were heard since the last call, to be stored.
    pub(crate) fn take_seen(&self) -> HashMap<String, Seen> {
        std::mem::take(&mut *locked(&self.shared.seen))
    }

    /// Enters a poll of a host: gives what to watch, and the poll's own number.
    pub(crate) fn enter_line(&self, host: &str) -> (watch::Receiver<Line>, u64) {
        let mut lines = locked(&self.shared.lines);
        let line = lines.entry(host.to_owned()).or_default();
        line.send_modify(|line| line.newest += 1);
        let receiver = line.subscribe();
        let number = receiver.borrow().newest;
        (receiver, number)
    }

    /// How many polls of a host were entered.
    #[cfg(test)]
    pub(crate) fn polls(&self, host: &str) -> u64 {
        locked(&self.shared.lines).get(host).map_or(0, |line| line.borrow().newest)
    }

    /// Wakes the polls of these hosts.
    pub(crate) fn stir<'h>(&self, hosts: impl IntoIterator<Item = &'h String>) {
        let lines = locked(&self.shared.lines);
        for host in hosts {
            if let Some(line) = lines.get(host) {
                line.send_modify(|line| line.stirred += 1);
            }
        }
    }

    /// The signed envelope of a specification.
    pub(crate) fn sign(&self, content: &[u8]) -> Result<String, ApiError> {
        self.shared.signer.sign(content).map_err(ApiError::internal)
    }
}

/// A change of the database under way, and who is to be woken by it.
#[derive(Debug)]
pub struct Change<'s> {
    tx: sqlx::Transaction<'static, Sqlite>,
    service: &'s Service,
    stirred: BTreeSet<String>,
    now: Moment,
    _turn: tokio::sync::MutexGuard<'s, ()>,
}

impl Change<'_> {
    /// The transaction.
    pub fn db(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }

    /// The service that is changed.
    pub fn service(&self) -> &Service {
        self.service
    }

    /// The time at which all of the change happens.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Moves the change to another time; the timekeeper's tests live in the future.
    pub(crate) fn at(mut self, now: Moment) -> Self {
        self.now = now;
        self
    }

    /// Has the polls of this host look again, once the change is made.
    pub fn stir(&mut self, host: &str) {
        if !self.stirred.contains(host) {
            self.stirred.insert(host.to_owned());
        }
    }

    /// Makes the change last, then wakes whom it concerns.
    ///
    /// # Errors
    /// Those of the database; nothing was changed then.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.tx.commit().await?;
        self.service.stir(&self.stirred);
        Ok(())
    }
}

/// A panic elsewhere leaves these maps whole: each is changed by single calls.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
