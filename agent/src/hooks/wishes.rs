//! What an agent that waits for a script is asked for meanwhile.

use std::sync::{Mutex, PoisonError};

use crate::process::{self, Bell};

/// What whoever waits for a script is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// End the script, and take this for the reason.
    Cancel(String),
    /// Leave the script to its runner: the agent ends, and its next life waits for the result.
    HandOver,
}

/// What one command that is carried out was asked for. The first wish counts.
#[derive(Debug)]
pub struct Wishes {
    bell: Bell,
    wish: Mutex<Option<Wish>>,
}

impl Wishes {
    /// No wish yet.
    pub fn new() -> process::Result<Self> {
        Ok(Self { bell: Bell::new()?, wish: Mutex::default() })
    }

    /// Makes a wish, which wakes whoever waits.
    pub fn make(&self, wish: Wish) -> process::Result<()> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(wish);
        self.bell.ring()
    }

    /// The wish, once there is one.
    pub fn made(&self) -> Option<Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }
}
