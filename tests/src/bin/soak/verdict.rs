//! Whether anything has grown.

use std::process::ExitCode;

use crate::sample::Sample;

/// Deployments that fill caches and pools, and are not judged.
const WARM_UP: usize = 100;
/// Deployments whose median is compared: those after the first hundred, and the last.
const SPAN: usize = 100;
/// Most of what something was after the first hundred that it may be at the end.
const GROWTH: f64 = 1.01;

/// How one thing is told from a sample.
type Reading = fn(&Sample) -> u64;

const READINGS: [(&str, Reading); 5] = [
    ("resident memory (KiB)", |sample| sample.rss_kib),
    ("open descriptors", |sample| sample.descriptors),
    ("threads", |sample| sample.threads),
    ("children", |sample| sample.children),
    ("other processes", |sample| sample.others),
];

/// Compares the median of the deployments after the first hundred with that of the last hundred; fails where
/// something has grown.
pub fn print(samples: &[Sample]) -> ExitCode {
    if samples.len() < WARM_UP + 2 * SPAN {
        println!("{} deployments succeeded; growth is not judged below {}", samples.len(), WARM_UP + 2 * SPAN);
        return ExitCode::SUCCESS;
    }
    let (first, last) = (&samples[WARM_UP..WARM_UP + SPAN], &samples[samples.len() - SPAN..]);
    println!("\nmedian of deployments {} to {}, and of the last {SPAN}:", WARM_UP + 1, WARM_UP + SPAN);
    let mut grown = false;
    for (what, reading) in READINGS {
        let (before, after) = (median(first, reading), median(last, reading));
        let has_grown = f64::from(after) > f64::from(before) * GROWTH;
        grown |= has_grown;
        println!("{what:<24} {before:>9} {after:>9}{}", if has_grown { "  GROWN" } else { "" });
    }
    if grown { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn median(samples: &[Sample], reading: Reading) -> u32 {
    let mut all: Vec<u64> = samples.iter().map(reading).collect();
    all.sort_unstable();
    u32::try_from(all[all.len() / 2]).unwrap_or(u32::MAX)
}
