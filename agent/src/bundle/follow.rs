//! Digests that follow a file which is being written: each on a thread of its own, as far as the file is there
//! without a gap. What was written just now is still in the system's memory.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::digest::{Running, Wanted};
use super::verify::Computed;
use crate::disk;
use crate::process::StopSignal;

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// The digests of one file.
pub(super) struct Followers {
    ground: Arc<Ground>,
    threads: Vec<(Wanted, JoinHandle<Followed>)>,
}

/// A digest; nothing, if it was not wanted any more.
type Followed = disk::Result<Option<Vec<u8>>>;

/// The file, and how much of it can be read.
struct Ground {
    file: File,
    path: Box<Path>,
    /// Ends it.
    stop: StopSignal,
    reach: Mutex<Reach>,
    changed: Condvar,
}

#[derive(Clone, Copy)]
struct Reach {
    /// Bytes from the file's beginning.
    until: u64,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// More will come.
    Growing,
    /// That was all.
    Whole,
    /// Nobody wants the digests any more.
    Abandoned,
}

impl Followers {
    /// Begins to follow `file`, named `path` in errors, of which nothing is there yet.
    pub fn begin(file: File, path: &Path, wanted: Vec<Wanted>, stop: StopSignal) -> disk::Result<Self> {
        let reach = Mutex::new(Reach { until: 0, phase: Phase::Growing });
        let ground = Arc::new(Ground { file, path: path.into(), stop, reach, changed: Condvar::new() });
        let mut followers = Self { ground, threads: Vec::with_capacity(wanted.len()) };
        for wanted in wanted {
            let (ground, running) = (Arc::clone(&followers.ground), Running::new(&wanted));
            let thread = thread::Builder::new()
                .name("digest".to_owned())
                .spawn(move || ground.follow(running))
                .map_err(|source| disk::Error::new("compute a digest of", path, source))?;
            followers.threads.push((wanted, thread));
        }
        Ok(followers)
    }

    /// The first `until` bytes of the file are there.
    pub fn reach(&self, until: u64) {
        self.ground.lock().until = until;
        self.ground.changed.notify_all();
    }

    /// The file is whole: waits for its digests.
    pub fn finish(mut self) -> disk::Result<Computed> {
        self.ground.end(Phase::Whole);
        let mut computed = Vec::with_capacity(self.threads.len());
        for (wanted, thread) in self.threads.drain(..) {
            let stopped = || disk::Error::new("compute a digest of", &*self.ground.path, io::ErrorKind::Interrupted);
            let digest = thread.join().map_err(|_| stopped())??.ok_or_else(stopped)?;
            computed.push((wanted, digest));
        }
        Ok(Computed(computed))
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.ground.end(Phase::Abandoned);
        for (_, thread) in self.threads.drain(..) {
            // What it would have told, nobody wants to know.
            let _ = thread.join();
        }
    }
}

impl Ground {
    fn follow(&self, mut running: Running) -> Followed {
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        loop {
            let reach = self.beyond(at);
            if reach.phase == Phase::Abandoned || self.stop.is_given() {
                return Ok(None);
            }
            if reach.until <= at {
                return Ok(Some(running.finish()));
            }
            let count = BUFFER.min(usize::try_from(reach.until - at).unwrap_or(BUFFER));
            let piece = buffer.get_mut(..count).unwrap_or_default();
            disk::read_at(&self.file, &self.path, at, piece)?;
            running.update(piece);
            at += count as u64;
        }
    }

    /// Waits until there is more than `at` bytes, or there never will be.
    fn beyond(&self, at: u64) -> Reach {
        let mut reach = self.lock();
        while reach.until <= at && reach.phase == Phase::Growing {
            reach = self.changed.wait(reach).unwrap_or_else(PoisonError::into_inner);
        }
        *reach
    }

    fn end(&self, phase: Phase) {
        self.lock().phase = phase;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
