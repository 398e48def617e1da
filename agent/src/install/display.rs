//! What became of an install that was cut off, in words.

use std::fmt;

use super::settle::{Ending, Settled};

impl fmt::Display for Settled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.install {
            Some((group, deployment)) => write!(out, "The install of deployment {deployment} in group {group}")?,
            None if self.is_unsettled() => out.write_str("An install of which the journal does not tell the group")?,
            None => out.write_str("An install that had not come as far as its plan")?,
        }
        out.write_str(" was cut off. ")?;
        self.write_ending(out)?;
        if self.is_unsettled() {
            let transaction = &self.transaction;
            write!(
                out,
                " Held back until then: {}. Transaction {transaction}: `slipway-agent recover` tries again, \
                 `slipway-agent recover --abandon {transaction}` gives it up.",
                self.reach
            )?;
        }
        self.drift.iter().try_for_each(|drift| write!(out, " {drift}."))
    }
}

impl Settled {
    /// Why it is not settled, in a sentence or two.
    pub(super) fn trouble(&self) -> String {
        struct Trouble<'a>(&'a Settled);
        impl fmt::Display for Trouble<'_> {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match &self.0.ending {
                    Ending::Failed { why } => out.write_str(why),
                    _ => self.0.write_ending(out),
                }
            }
        }
        Trouble(self).to_string()
    }

    fn write_ending(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ending {
            Ending::Discarded => out.write_str("It had changed nothing yet; what it had staged was removed."),
            Ending::RolledBack => out.write_str("Everything was put back as it was before it."),
            Ending::Completed => out.write_str("It had been committed; the rest of it was done now."),
            Ending::Waiting { mount_point } => write!(
                out,
                "The file system of {} is not there as it was then, so nothing was done: mount it, then run \
                 `slipway-agent recover`.",
                mount_point.display()
            ),
            Ending::LeftAside { recoveries, record } => write!(
                out,
                "Its recovery was begun {recoveries} times, and each time the agent was ended before it was over: \
                 killed, out of memory, or by a fault of its own (`journalctl -u slipway-agent` tells). It is left as \
                 it is, on record in {}, and not tried again: once that is mended, run `slipway-agent recover`.",
                record.display()
            ),
            Ending::Failed { why } => {
                write!(out, "It could not be settled, and is tried again before each deployment: {why}.")
            }
            Ending::Abandoned { record } => {
                write!(out, "It was given up as it is; its record is kept in {}.", record.display())
            }
        }
    }
}
