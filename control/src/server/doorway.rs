//! Who may hold a connection. Until a caller has signed a request, nobody knows whose its connection is: of these there are
//! only some, and the oldest goes when another one comes. So a crowd that opens connections and says nothing keeps nobody
//! out, and hosts that hold their polls leave room for operators.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Most connections of callers that nobody knows yet.
const MOST_STRANGERS: usize = 1024;

/// The connections of a service.
#[derive(Debug)]
pub struct Doorway {
    strangers: usize,
    known: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    /// Callers that nobody knows yet, the oldest first.
    strangers: BTreeMap<u64, Stranger>,
    known: usize,
}

#[derive(Debug)]
struct Stranger {
    address: IpAddr,
    stage: Stage,
    leave: Arc<Notify>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing was asked on it.
    Silent,
    /// Something was asked, and it is not known yet by whom.
    Asking,
}

/// One connection's place. It is given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    door: Arc<Doorway>,
    number: u64,
    leave: Arc<Notify>,
    was_recognized: Mutex<bool>,
}

impl Doorway {
    /// A doorway for that many connections in all; at least a few.
    pub fn new(connections: usize) -> Self {
        let strangers = (connections / 4).clamp(4, MOST_STRANGERS);
        Self { strangers, known: connections.saturating_sub(strangers).max(4), inside: Mutex::default() }
    }

    /// Takes a connection in. Where there are as many strangers as may be, one has to leave: of those that have asked for
    /// nothing, or else of all, the oldest of the address that has the most.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let mut inside = self.inside();
        if inside.strangers.len() >= self.strangers
            && let Some(leaves) = inside.one_to_leave().and_then(|number| inside.strangers.remove(&number))
        {
            tracing::debug!(address = %leaves.address, "a connection on which nobody signed anything makes room for a new one");
            leaves.leave.notify_one();
        }
        let (number, leave) = (inside.next, Arc::new(Notify::new()));
        inside.next += 1;
        inside.strangers.insert(number, Stranger { address, stage: Stage::Silent, leave: Arc::clone(&leave) });
        drop(inside);
        Place { door: Arc::clone(self), number, leave, was_recognized: Mutex::new(false) }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn one_to_leave(&self) -> Option<u64> {
        let stage = self.strangers.values().map(|stranger| stranger.stage).min()?;
        let candidates = || self.strangers.iter().filter(|(_, stranger)| stranger.stage == stage);
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        candidates().for_each(|(_, stranger)| *counts.entry(stranger.address).or_default() += 1);
        let crowd = counts.into_iter().max_by_key(|(_, count)| *count)?.0;
        candidates().find(|(_, stranger)| stranger.address == crowd).map(|(number, _)| *number)
    }
}

impl Place {
    /// Notes that something is asked on the connection.
    pub fn note_request(&self) {
        if let Some(stranger) = self.door.inside().strangers.get_mut(&self.number) {
            stranger.stage = Stage::Asking;
        }
    }

    /// Notes that its caller has shown whose the connection is: it is not asked to leave any more. Where as many callers are
    /// known as there is room for, it stays a stranger's.
    pub fn recognize(&self) {
        let mut known = self.was_recognized.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inside = self.door.inside();
        if *known || inside.known >= self.door.known {
            return;
        }
        if inside.strangers.remove(&self.number).is_some() {
            inside.known += 1;
            *known = true;
        }
    }

    /// Returns once the connection has to make room.
    pub async fn has_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        inside.strangers.remove(&self.number);
        if *self.was_recognized.get_mut().unwrap_or_else(PoisonError::into_inner) {
            inside.known -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn leaves(place: &Place) -> bool {
        place.has_to_leave().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_silent_connection_of_a_crowd_makes_room() {
        let door = Arc::new(Doorway::new(16));
        let (guest, known) = (door.enter(address(1)), door.enter(address(2)));
        known.recognize();
        let asking = door.enter(address(2));
        asking.note_request();
        let crowd: Vec<Place> = (0..20).map(|_| door.enter(address(2))).collect();
        assert!(!leaves(&guest) && !leaves(&known) && !leaves(&asking));
        let left: Vec<bool> = crowd.iter().map(leaves).collect();
        assert_eq!(left.iter().filter(|left| **left).count(), 18, "{left:?}");
        assert!(!left[19] && !left[18], "the newest stay");
        drop(crowd);
        let later = door.enter(address(3));
        assert!(!leaves(&later) && door.inside().strangers.len() == 3);
        drop((guest, known, asking, later));
        let inside = door.inside();
        assert!(inside.strangers.is_empty() && inside.known == 0);
    }

    #[test]
    fn known_callers_leave_room_for_strangers() {
        let door = Arc::new(Doorway::new(16));
        let hosts: Vec<Place> = (0..20)
            .map(|_| {
                let place = door.enter(address(1));
                place.recognize();
                place
            })
            .collect();
        assert_eq!(door.inside().known, 12);
        let operator = door.enter(address(9));
        assert!(!leaves(&operator) && hosts[..12].iter().all(|host| !leaves(host)));
    }
}
