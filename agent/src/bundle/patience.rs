//! How often a fetch is tried.

use std::time::Duration;

use crate::http::Backoff;

/// Failures in a row, with nothing that came between them, after which it is given up.
const TRIES: u32 = 6;

/// How long one keeps trying.
#[derive(Debug)]
pub(super) struct Patience {
    failures: u32,
    backoff: Backoff,
}

/// It has failed too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// How often in a row.
    pub tries: u32,
}

impl Patience {
    /// With these pauses between tries.
    pub fn new(backoff: Backoff) -> Self {
        Self { failures: 0, backoff }
    }

    /// Something came.
    pub fn progressed(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }

    /// A try failed: how long to wait before the next one.
    pub fn failed(&mut self) -> Result<Duration, GivenUp> {
        self.failures += 1;
        if self.failures >= TRIES { Err(GivenUp { tries: self.failures }) } else { Ok(self.backoff.pause()) }
    }
}
