//! What became of an install that was cut off, in words.

use std::fmt;

use super::settle::{Ending, Settled};

impl fmt::Display for Settled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.install {
            Some((group, deployment)) => write!(out, "The install of deployment {deployment} in group {group}")?,
            None => out.write_str("An install that had not come as far as its plan")?,
        }
        out.write_str(" was cut off. ")?;
        match &self.ending {
            Ending::Discarded => out.write_str("It had changed nothing yet; what it had staged was removed.")?,
            Ending::RolledBack => out.write_str("Everything was put back as it was before it.")?,
            Ending::Completed => out.write_str("It had been committed; the rest of it was done now.")?,
            Ending::Waiting { mount_point } => write!(
                out,
                "The file system of {} is not there as it was then, so nothing was done: mount it, then run \
                 `slipway-agent recover`.",
                mount_point.display()
            )?,
            Ending::LeftAside { recoveries, record } => write!(
                out,
                "Its recovery was begun {recoveries} times, and each time the agent was ended before it was over: \
                 killed, out of memory, or by a fault of its own (`journalctl -u slipway-agent` tells). It is left as \
                 it is, on record in {}, and not tried again: once that is mended, run `slipway-agent recover`.",
                record.display()
            )?,
        }
        self.drift.iter().try_for_each(|drift| write!(out, " {drift}."))
    }
}
