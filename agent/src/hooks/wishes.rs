//! What whoever carries a command out is asked for meanwhile, and what it tells of its waiting.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::process::{self, Bell, StopSignal};

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
    /// For what looks whether it is to end, and waits for nothing.
    stop: StopSignal,
    wish: Mutex<Wished>,
    listener: Mutex<Option<Listener>>,
}

/// How it stands with wishes.
#[derive(Debug)]
enum Wished {
    Nothing,
    For(Wish),
    /// For a cancel, which was granted.
    Granted,
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
        Ok(Self {
            bell: Bell::new()?,
            stop: StopSignal::default(),
            wish: Mutex::new(Wished::Nothing),
            listener: Mutex::default(),
        })
    }

    /// Makes a wish, which wakes whoever waits. A cancel that was granted is not granted twice.
    pub fn make(&self, wish: Wish) -> process::Result<()> {
        let mut wished = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        match &*wished {
            Wished::For(_) => {}
            Wished::Granted if matches!(wish, Wish::Cancel(_)) => return Ok(()),
            Wished::Nothing | Wished::Granted => *wished = Wished::For(wish),
        }
        self.stop.give();
        self.bell.ring()
    }

    /// The wish, once there is one.
    pub fn made(&self) -> Option<Wish> {
        match &*self.wish.lock().unwrap_or_else(PoisonError::into_inner) {
            Wished::For(wish) => Some(wish.clone()),
            Wished::Nothing | Wished::Granted => None,
        }
    }

    /// Says that a cancel, if one was wished for, is done: what is run now is not to be ended by it.
    pub fn grant_cancel(&self) {
        let mut wished = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*wished, Wished::For(Wish::Cancel(_))) {
            *wished = Wished::Granted;
            self.bell.hush();
            self.stop.withdraw();
        }
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

    /// Is given as long as there is a wish.
    pub fn stop(&self) -> &StopSignal {
        &self.stop
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_is_granted_once_and_the_end_of_the_agent_counts_after_it() {
        let wishes = Wishes::new().unwrap();
        let cancel = || Wish::Cancel("enough".to_owned());
        wishes.grant_cancel();
        wishes.make(cancel()).unwrap();
        wishes.make(Wish::HandOver).unwrap();
        assert_eq!(wishes.made(), Some(cancel()), "the first wish counts");
        wishes.grant_cancel();
        assert!(wishes.made().is_none() && !wishes.bell().is_rung());
        wishes.make(cancel()).unwrap();
        assert!(wishes.made().is_none() && !wishes.bell().is_rung());
        wishes.make(Wish::HandOver).unwrap();
        wishes.grant_cancel();
        assert!(wishes.made() == Some(Wish::HandOver) && wishes.bell().is_rung());
    }
}
