//! What a job found, as it goes from the job's process to the table.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// What one job found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many checks were made.
    pub checks: u64,
    /// What did not hold, in words.
    pub failures: Vec<String>,
    /// What could not be checked here, and why.
    pub notes: Vec<String>,
}

impl Report {
    /// Counts one check, and tells at once if it does not hold: a job that is cut off has told it.
    pub fn check(&mut self, what: &str, result: Result<()>) {
        self.checks += 1;
        match result {
            Ok(()) => eprintln!("  holds: {what}"),
            Err(error) => self.complain(format!("{what}: {error:#}")),
        }
    }

    /// Something is wrong that is no check of its own.
    pub fn complain(&mut self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("BROKEN {what}");
        self.failures.push(what);
    }

    /// Holds the job to a number of checks: one that tested little must not look like one that found
    /// nothing.
    pub fn at_least(&mut self, checks: u64) {
        if self.checks < checks {
            self.complain(format!("{} checks were made, and {checks} are wanted", self.checks));
        }
    }
}
