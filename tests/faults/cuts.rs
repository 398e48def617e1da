//! What a disk may hold after its power was cut.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::blocklog::{Op, apply};

/// Chances of one write that was not flushed to have reached the disk.
const CHANCES: [f64; 3] = [0.2, 0.5, 0.8];
/// Random subsets that are drawn for each one that is wanted, before giving up.
const DRAWS: usize = 8;

/// When the power was cut, and what was lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How many requests had been made.
    pub after: usize,
    /// How many of those since the last flush are not on the disk.
    pub lost: usize,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "power cut after request {}, {} of them lost", self.after, self.lost)
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// With the next state.
    On,
    /// Enough was seen.
    Stop,
}

/// Every prefix of the requests that is not the one before it, `limit` of them at most, evenly spread.
pub fn prefixes(base: &[u8], ops: &[Op], limit: usize, mut visit: impl FnMut(&[u8], Cut) -> Result<Go>) -> Result<()> {
    let mut image = base.to_vec();
    let changing: Vec<usize> = (0..ops.len()).filter(|n| apply(&ops[*n], &mut image)).collect();
    let chosen: BTreeSet<usize> = crate::kill::spread(&changing, limit).into_iter().collect();
    image.copy_from_slice(base);
    for (number, op) in ops.iter().enumerate() {
        apply(op, &mut image);
        if chosen.contains(&number) && visit(&image, Cut { after: number + 1, lost: 0 })? == Go::Stop {
            return Ok(());
        }
    }
    Ok(())
}

/// Random subsets of the writes since the last flush, after random requests: what a disk with a cache may
/// have done. `limit` of them at most, each another.
pub fn reorderings(
    base: &[u8],
    ops: &[Op],
    limit: usize,
    mut visit: impl FnMut(&[u8], Cut) -> Result<Go>,
) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(ops.len() as u64);
    let mut flushed = base.to_vec();
    let epochs: Vec<(usize, &[Op])> = epochs(ops).collect();
    let total: usize = epochs.iter().map(|(_, epoch)| weight(epoch)).sum();
    let mut owed = 0.0;
    for (start, epoch) in epochs {
        #[allow(clippy::cast_precision_loss, reason = "a share of some hundreds")]
        let share = limit as f64 * weight(epoch) as f64 / total.max(1) as f64;
        owed += share;
        let mut seen = BTreeSet::new();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of some hundreds")]
        for _ in 0..owed as usize * DRAWS {
            if owed < 1.0 || weight(epoch) == 0 {
                break;
            }
            let issued = random.usize(2..=epoch.len());
            let chance = CHANCES[random.usize(..CHANCES.len())];
            let kept: Vec<bool> = epoch[..issued].iter().map(|op| is_durable(op) || random.f64() < chance).collect();
            let is_prefix = kept.windows(2).all(|pair| pair[0] || !pair[1]);
            if is_prefix || !seen.insert(kept.clone()) {
                continue;
            }
            let mut image = flushed.clone();
            let mut lost = 0;
            for (op, kept) in epoch.iter().zip(&kept) {
                if *kept {
                    apply(op, &mut image);
                } else {
                    lost += 1;
                }
            }
            owed -= 1.0;
            if visit(&image, Cut { after: start + issued, lost })? == Go::Stop {
                return Ok(());
            }
        }
        for op in epoch {
            apply(op, &mut flushed);
        }
    }
    Ok(())
}

/// The writes between two flushes, with the number of the first.
fn epochs(ops: &[Op]) -> impl Iterator<Item = (usize, &[Op])> {
    let mut start = 0;
    ops.split(|op| matches!(op, Op::Flush)).map(move |epoch| {
        let first = start;
        start += epoch.len() + 1;
        (first, epoch)
    })
}

/// Epochs of one write have no order.
fn weight(epoch: &[Op]) -> usize {
    if epoch.len() < 2 { 0 } else { epoch.len() }
}

fn is_durable(op: &Op) -> bool {
    matches!(op, Op::Write { durable: true, .. })
}
