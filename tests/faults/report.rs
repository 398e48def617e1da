//! What a job found, as it goes from the job's process to the table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Violations that are told in full; of the rest only the number.
const TOLD: usize = 10;

/// What one job found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many faults were injected.
    pub points: u64,
    /// What they ended in, and how often.
    pub ends: BTreeMap<String, u64>,
    /// How many of them broke the promise.
    pub violations: u64,
    /// The first of those, in words.
    pub told: Vec<String>,
    /// What people should know besides.
    pub notes: Vec<String>,
    /// Why nothing was tried.
    pub skipped: Option<String>,
}

impl Report {
    /// A job that cannot run here.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::default() }
    }

    /// Counts one fault by what it ended in.
    pub fn count(&mut self, end: impl Into<String>) {
        self.points += 1;
        *self.ends.entry(end.into()).or_insert(0) += 1;
    }

    /// Counts one fault that broke the promise.
    pub fn violation(&mut self, what: impl Into<String>) {
        self.points += 1;
        self.complain(what);
    }

    /// Something is wrong that is no fault of its own.
    pub fn complain(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.violations += 1;
        if self.told.len() < TOLD {
            // At once too: a job that is cut off has told it.
            eprintln!("VIOLATION {what}");
            self.told.push(what);
        }
    }

    /// Holds the job to a number of faults: one that tested little must not look like one that found
    /// nothing.
    pub fn at_least(&mut self, points: u64) {
        if self.points < points {
            self.complain(format!("only {} faults were injected, and {points} are wanted", self.points));
        }
    }

    /// Adds what another shard of the same job found.
    pub fn add(&mut self, other: Self) {
        self.points += other.points;
        self.violations += other.violations;
        for (end, count) in other.ends {
            *self.ends.entry(end).or_insert(0) += count;
        }
        self.told.extend(other.told);
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.skipped = self.skipped.take().or(other.skipped);
    }
}
