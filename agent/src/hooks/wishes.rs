//! What whoever carries a command out is asked for meanwhile, and what it tells of its waiting.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    listener: Mutex<Option<Listener>>,
}

/// Is told behind whom a command waits, and when it does no longer.
struct Listener(Box<Tell>);

type Tell = dyn Fn(Option<&str>) + Send + Sync;

impl fmt::Debug for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Listener")
    }
}

impl Wishes {
    /// No wish yet.
    pub fn new() -> process::Result<Self> {
        Ok(Self { bell: Bell::new()?, wish: Mutex::default(), listener: Mutex::default() })
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

    /// Waits for a wish, at most so long.
    pub fn wait(&self, at_most: Duration) {
        self.bell.wait(at_most);
    }

    /// Has somebody told of every wait for somebody else's work, instead of whoever was told before.
    pub fn listen(&self, listener: impl Fn(Option<&str>) + Send + Sync + 'static) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(Listener(Box::new(listener)));
    }

    /// Tells that the command waits behind this holder of a lock, or for nobody any more.
    pub fn waits_behind(&self, holder: Option<&str>) {
        if let Some(Listener(tell)) = &*self.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            tell(holder);
        }
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }
}
