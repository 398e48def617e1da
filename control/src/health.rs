//! The arithmetic of deployment configurations: how many hosts at a time, and when enough is
//! enough. Pure, so that every rule can be put into a table.

use crate::text::words;

words! {
    /// How a configuration counts the hosts that must stay healthy.
    pub enum MinimumType {
        /// A number of hosts.
        HostCount = "HOST_COUNT",
        /// A share of the fleet.
        FleetPercent = "FLEET_PERCENT",
        /// As many as leaves `value` at a time; only the built-in one-at-a-time has it.
        MostConcurrency = "MOST_CONCURRENCY",
    }
}

/// The minimum of healthy hosts by which a configuration rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinimumHealthy {
    /// What the value counts.
    pub kind: MinimumType,
    /// Hosts, or percent from 0 to 99.
    pub value: u32,
}

/// The hosts of one deployment, fixed at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    hosts: u32,
    minimum: u32,
}

/// A minimum that leaves no host to deploy to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the configuration wants at least {minimum} healthy hosts and the deployment has {hosts}, so that none could be \
     taken; choose another deployment configuration or add hosts"
)]
pub struct NoRoom {
    hosts: u32,
    minimum: u32,
}

/// How far a fleet is. The five add up to its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Not begun.
    pub waiting: u32,
    /// Begun and not ended.
    pub in_flight: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended badly, or were stopped on the way.
    pub failed: u32,
    /// Will never begin.
    pub skipped: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin with this many more hosts.
    Start(u32),
    /// Nothing until a host ends.
    Wait,
    /// Begin with no more hosts: too few would stay healthy.
    Abandon,
    /// All ended and enough did well.
    Succeed,
    /// All ended and too few did well.
    Fail,
}

impl MinimumHealthy {
    /// Applies the configuration to a number of hosts.
    ///
    /// # Errors
    /// If as many hosts would have to stay healthy as there are.
    pub fn of_fleet(self, hosts: u32) -> Result<Fleet, NoRoom> {
        let minimum = match self.kind {
            MinimumType::HostCount => self.value,
            MinimumType::FleetPercent => {
                let share = (u64::from(hosts) * u64::from(self.value)).div_ceil(100);
                u32::try_from(share).unwrap_or(u32::MAX)
            }
            MinimumType::MostConcurrency => hosts.saturating_sub(self.value),
        };
        if minimum >= hosts { Err(NoRoom { hosts, minimum }) } else { Ok(Fleet { hosts, minimum }) }
    }
}

impl Fleet {
    /// A fleet that was stored when its deployment began.
    pub fn stored(hosts: u32, minimum: u32) -> Self {
        Self { hosts, minimum }
    }

    /// Hosts in it.
    pub fn hosts(self) -> u32 {
        self.hosts
    }

    /// Hosts that must stay healthy.
    pub fn minimum(self) -> u32 {
        self.minimum
    }

    /// What to do at this point.
    pub fn next(self, progress: Progress) -> Step {
        let Progress { waiting, in_flight, succeeded, failed, skipped } = progress;
        if waiting > 0 {
            let room = self.hosts.saturating_sub(self.minimum).saturating_sub(failed);
            return match room.saturating_sub(in_flight) {
                _ if room == 0 => Step::Abandon,
                0 => Step::Wait,
                free => Step::Start(free.min(waiting)),
            };
        }
        if in_flight > 0 {
            return Step::Wait;
        }
        let healthy = self.hosts.saturating_sub(failed);
        if skipped == 0 && succeeded > 0 && healthy >= self.minimum { Step::Succeed } else { Step::Fail }
    }
}

#[cfg(test)]
mod tests {
    use super::MinimumType::{FleetPercent, HostCount, MostConcurrency};
    use super::*;

    const ONE_AT_A_TIME: MinimumHealthy = MinimumHealthy { kind: MostConcurrency, value: 1 };
    const HALF: MinimumHealthy = MinimumHealthy { kind: FleetPercent, value: 50 };
    const ALL: MinimumHealthy = MinimumHealthy { kind: HostCount, value: 0 };

    fn count(value: u32) -> MinimumHealthy {
        MinimumHealthy { kind: HostCount, value }
    }

    fn percent(value: u32) -> MinimumHealthy {
        MinimumHealthy { kind: FleetPercent, value }
    }

    /// Runs a fleet whose hosts end one after the other, those in `failing` (by their order of
    /// beginning, from 0) badly. Gives the largest number in flight, how many began, and the end.
    fn run(minimum: MinimumHealthy, hosts: u32, failing: &[u32]) -> (u32, u32, Step) {
        let fleet = minimum.of_fleet(hosts).unwrap();
        let mut progress = Progress { waiting: hosts, ..Progress::default() };
        let (mut begun, mut ended, mut most) = (0, 0, 0);
        loop {
            match fleet.next(progress) {
                Step::Start(more) => {
                    progress.waiting -= more;
                    progress.in_flight += more;
                    begun += more;
                    most = most.max(progress.in_flight);
                }
                Step::Abandon => {
                    progress.skipped += progress.waiting;
                    progress.waiting = 0;
                }
                Step::Wait => {
                    progress.in_flight -= 1;
                    if failing.contains(&ended) {
                        progress.failed += 1;
                    } else {
                        progress.succeeded += 1;
                    }
                    ended += 1;
                }
                end => return (most, begun, end),
            }
        }
    }

    #[test]
    fn minimum_by_type() {
        for (minimum, hosts, expected) in [
            (count(3), 10, Some(3)),
            (count(0), 1, Some(0)),
            (HALF, 9, Some(5)),
            (HALF, 10, Some(5)),
            (HALF, 2, Some(1)),
            (percent(40), 9, Some(4)),
            (percent(99), 100, Some(99)),
            (percent(99), 99, None),
            (percent(0), 5, Some(0)),
            (ONE_AT_A_TIME, 1, Some(0)),
            (ONE_AT_A_TIME, 7, Some(6)),
            (HALF, 1, None),
            (count(3), 3, None),
            (count(9), 3, None),
            (percent(99), u32::MAX, Some(4_252_017_623)),
        ] {
            let found = minimum.of_fleet(hosts).map(Fleet::minimum);
            assert_eq!(found.ok(), expected, "{minimum:?} of {hosts}");
        }
    }

    #[test]
    fn a_minimum_without_room_says_the_figures() {
        let text = count(3).of_fleet(2).unwrap_err().to_string();
        assert!(text.contains("at least 3") && text.contains("has 2"), "{text}");
    }

    #[test]
    fn windows_and_ends() {
        for (case, minimum, hosts, failing, most, begun, end) in [
            ("ten with minimum three: seven, then three", count(3), 10, &[][..], 7, 10, Step::Succeed),
            ("half of nine: four at a time", HALF, 9, &[], 4, 9, Step::Succeed),
            ("half of nine stands four failures at the end", HALF, 9, &[5, 6, 7, 8], 4, 9, Step::Succeed),
            ("half of nine ends at four failures at the start", HALF, 9, &[0, 1, 2, 3], 4, 4, Step::Fail),
            ("one at a time, all well", ONE_AT_A_TIME, 3, &[], 1, 3, Step::Succeed),
            ("one at a time, the first fails", ONE_AT_A_TIME, 3, &[0], 1, 1, Step::Fail),
            ("one at a time, the second fails", ONE_AT_A_TIME, 3, &[1], 1, 2, Step::Fail),
            ("one at a time, the last may fail", ONE_AT_A_TIME, 3, &[2], 1, 3, Step::Succeed),
            ("one at a time on one host", ONE_AT_A_TIME, 1, &[], 1, 1, Step::Succeed),
            ("one at a time on one host that fails", ONE_AT_A_TIME, 1, &[0], 1, 1, Step::Fail),
            ("all at once", ALL, 5, &[], 5, 5, Step::Succeed),
            ("all at once, one succeeds", ALL, 5, &[0, 1, 2, 4], 5, 5, Step::Succeed),
            ("all at once fails only if all fail", ALL, 5, &[0, 1, 2, 3, 4], 5, 5, Step::Fail),
            ("all at once on one host", ALL, 1, &[0], 1, 1, Step::Fail),
            ("six of nine: three at a time", count(6), 9, &[], 3, 9, Step::Succeed),
            ("six of nine: three may fail if none is left", count(6), 9, &[6, 7, 8], 3, 9, Step::Succeed),
            ("six of nine: a third failure with hosts left", count(6), 9, &[1, 3, 5], 3, 6, Step::Fail),
        ] {
            assert_eq!(run(minimum, hosts, failing), (most, begun, end), "{case}");
        }
    }

    #[test]
    fn a_failure_narrows_the_window() {
        let fleet = count(3).of_fleet(10).unwrap();
        let at = |waiting, in_flight, succeeded, failed| {
            fleet.next(Progress { waiting, in_flight, succeeded, failed, skipped: 0 })
        };
        assert_eq!(at(10, 0, 0, 0), Step::Start(7));
        assert_eq!(at(3, 6, 1, 0), Step::Start(1));
        assert_eq!(at(3, 6, 0, 1), Step::Wait);
        assert_eq!(at(3, 5, 1, 1), Step::Start(1));
        assert_eq!(at(3, 1, 0, 6), Step::Wait);
        assert_eq!(at(3, 0, 0, 7), Step::Abandon);
        assert_eq!(at(0, 2, 1, 7), Step::Wait);
    }

    #[test]
    fn never_more_failures_begin_than_the_minimum_stands() {
        for hosts in 1..=12 {
            for minimum in 0..hosts {
                for mask in 0_u32..(1 << hosts.min(8)) {
                    let failing: Vec<u32> = (0..hosts).filter(|host| mask >> host & 1 == 1).collect();
                    let (most, begun, end) = run(count(minimum), hosts, &failing);
                    let failed = failing.iter().filter(|host| **host < begun).count() as u32;
                    assert!(most <= hosts - minimum);
                    assert!(hosts - failed >= minimum, "{hosts} {minimum} {failing:?}");
                    if end == Step::Succeed {
                        assert!(begun == hosts && failed < hosts);
                    }
                }
            }
        }
    }
}
