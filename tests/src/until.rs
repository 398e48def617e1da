//! Waiting for something to become true, never for time to pass.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something to see, and says after `patience` what was waited for.
pub fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            bail!("waited {patience:?} for {what}");
        }
        thread::sleep(PAUSE);
    }
}

/// [`until`] for a plain condition.
pub fn until_true(what: &str, patience: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, patience, || Ok(condition()?.then_some(())))
}
