//! Whether anything has grown.

use std::process::ExitCode;

use crate::sample::Sample;

/// Deployments that fill caches and pools, and are not judged.
const WARM_UP: usize = 100;
/// Deployments whose median is compared: those after the first hundred, and the last.
const SPAN: usize = 100;
/// Most of what something was after the first hundred that it may be at the end.
const GROWTH: f64 = 1.01;

/// More threads that there may be at the end: as many tasks that wait for the disk can meet at any time.
const MORE_THREADS: u32 = 2;
/// Memory that a thread has for itself, in KiB: what its stack once reached, and what the allocator keeps for it.
const OF_A_THREAD: u32 = 512;

/// How one thing is told from a sample.
type Reading = fn(&Sample) -> u64;

/// Compares the median of the deployments after the first hundred with that of the last hundred; fails where
/// something has grown.
pub fn print(samples: &[Sample]) -> ExitCode {
    if samples.len() < WARM_UP + 2 * SPAN {
        println!("{} deployments succeeded; growth is not judged below {}", samples.len(), WARM_UP + 2 * SPAN);
        return ExitCode::SUCCESS;
    }
    let (first, last) = (&samples[WARM_UP..WARM_UP + SPAN], &samples[samples.len() - SPAN..]);
    let medians = |reading: Reading| (median(first, reading), median(last, reading));
    let threads = medians(|sample| sample.threads);
    let of_threads = threads.1.saturating_sub(threads.0) * OF_A_THREAD;
    // What is known of each, and what it may have more than one part in a hundred.
    let judged = [
        ("resident memory (KiB)", medians(|sample| sample.rss_kib), of_threads),
        ("threads", threads, MORE_THREADS),
        ("open descriptors", medians(|sample| sample.descriptors), 0),
        ("children", medians(|sample| sample.children), 0),
        ("other processes", medians(|sample| sample.others), 0),
    ];
    println!("\nmedian of deployments {} to {}, and of the last {SPAN}:", WARM_UP + 1, WARM_UP + SPAN);
    let mut verdict = ExitCode::SUCCESS;
    for (what, (before, after), more) in judged {
        let has_grown = f64::from(after) > f64::from(before) * GROWTH + f64::from(more);
        println!("{what:<24} {before:>9} {after:>9}{}", if has_grown { "  GROWN" } else { "" });
        if has_grown {
            verdict = ExitCode::FAILURE;
        }
    }
    if of_threads > 0 {
        println!("of the memory, {of_threads} KiB are allowed for the threads that came");
    }
    verdict
}

fn median(samples: &[Sample], reading: Reading) -> u32 {
    let mut all: Vec<u64> = samples.iter().map(reading).collect();
    all.sort_unstable();
    u32::try_from(all[all.len() / 2]).unwrap_or(u32::MAX)
}
