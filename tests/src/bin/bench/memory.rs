//! Memory of processes, as the kernel counts it.

use std::fs;

/// A process's high-water mark of resident memory, in KiB.
pub fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// KiB as MiB.
#[allow(clippy::cast_precision_loss, reason = "megabytes for people")]
pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
