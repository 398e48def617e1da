//! Which bytes of a bundle are there.

use std::collections::BTreeMap;

/// Stretches of a file that have come, each written from its beginning on.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Everything before this is there.
    contiguous: u64,
    /// Stretches beyond that: where each begins, and its end.
    ahead: BTreeMap<u64, u64>,
    total: u64,
}

impl Received {
    /// Bytes from the beginning without a gap.
    pub fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// `count` bytes came at `at`, where none were.
    pub fn add(&mut self, at: u64, count: u64) {
        self.total += count;
        if at == self.contiguous {
            self.contiguous += count;
        } else {
            match self.ahead.range_mut(..=at).next_back() {
                Some((_, end)) if *end == at => *end += count,
                _ => {
                    self.ahead.insert(at, at + count);
                }
            }
        }
        while let Some(next) = self.ahead.first_entry().filter(|next| *next.key() <= self.contiguous) {
            self.contiguous = self.contiguous.max(next.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight stretches that grow in any order, by steps of any length.
    #[test]
    fn what_is_there_without_a_gap_is_known_in_any_order() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let mut received = Received::default();
            let mut stretches: Vec<(u64, u64)> = (0..8).map(|n| (n * 100, (n + 1) * 100)).collect();
            let mut there = [false; 800];
            while !stretches.is_empty() {
                let chosen = random.usize(..stretches.len());
                let (at, end) = stretches[chosen];
                let count = random.u64(1..=end - at);
                received.add(at, count);
                there[at as usize..(at + count) as usize].fill(true);
                stretches[chosen].0 += count;
                stretches.retain(|(at, end)| at < end);
                let gap = there.iter().position(|there| !there).unwrap_or(800);
                assert_eq!(received.contiguous(), gap as u64);
                assert_eq!(received.total(), there.iter().filter(|there| **there).count() as u64);
            }
        }
    }
}
