//! What an agent has at one moment, as the kernel counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use slipway_tests::place::{self, Place};

/// The processes that are the agent, and what they have.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// Its high-water mark in KiB.
    pub peak_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Children, those too that have ended and were not waited for.
    pub children: u64,
    /// Other processes of the place: neither the agent nor the control service.
    pub others: u64,
}

impl Sample {
    /// Looks at the agent that was started as `started`: itself, or what is below it where that is only
    /// what made its namespace.
    pub fn take(place: &Place, started: u32, control: Option<u32>) -> Result<Self> {
        let table = table();
        let line = agents(&table, started);
        let mut sample = Self { rss_kib: 0, peak_kib: 0, descriptors: 0, threads: 0, children: 0, others: 0 };
        for pid in &line {
            let process = Path::new("/proc").join(pid.to_string());
            let status =
                fs::read_to_string(process.join("status")).with_context(|| format!("look at process {pid}"))?;
            sample.rss_kib += member(&status, "VmRSS:")?;
            sample.peak_kib += member(&status, "VmHWM:")?;
            sample.threads += member(&status, "Threads:")?;
            sample.descriptors += fs::read_dir(process.join("fd"))?.count() as u64;
        }
        let is_child = |(pid, parent): &&(u32, u32)| line.contains(parent) && !line.contains(pid);
        sample.children = table.iter().filter(is_child).count() as u64;
        let processes = place::processes(place.path()).into_iter().map(|pid| pid.as_raw().unsigned_abs());
        let known = |pid: &u32| *pid == started || line.contains(pid) || Some(*pid) == control;
        sample.others = processes.filter(|pid| !known(pid)).count() as u64;
        Ok(sample)
    }

    /// One line of the table.
    pub fn print(&self, number: usize, elapsed: Duration, root: &Path) -> Result<()> {
        let (files, bytes) = size(root)?;
        println!(
            "{number:>11} {:>7.1}s {:>9} {:>9} {:>11} {:>7} {:>8} {:>9} {files:>11} {:>11}",
            elapsed.as_secs_f64(),
            self.rss_kib,
            self.peak_kib,
            self.descriptors,
            self.threads,
            self.children,
            self.others,
            bytes / 1024
        );
        Ok(())
    }
}

/// The head of the table.
pub fn print_head() {
    println!(
        "{:>11} {:>8} {:>9} {:>9} {:>11} {:>7} {:>8} {:>9} {:>11} {:>11}",
        "deployments",
        "time",
        "RSS KiB",
        "peak KiB",
        "descriptors",
        "threads",
        "children",
        "processes",
        "state files",
        "state KiB"
    );
}

/// The processes of the agent's program from `started` down, without those that run scripts.
fn agents(table: &[(u32, u32)], started: u32) -> Vec<u32> {
    let (mut line, mut found) = (vec![started], Vec::new());
    while let Some(pid) = line.pop() {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0);
        let program = arguments.next().unwrap_or_default().ends_with(b"slipway-agent");
        let is_runner = arguments.next() == Some(b"hook-runner");
        if program && !is_runner {
            found.push(pid);
        }
        if !is_runner && (program || pid == started) {
            line.extend(table.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child));
        }
    }
    found
}

/// All processes with their parents.
fn table() -> Vec<(u32, u32)> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let with_parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // What precedes the last bracket is a name, which may hold anything.
        let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
        Some((pid, parent))
    };
    numbers.filter_map(with_parent).collect()
}

fn member(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("{name} in the status of a process"))?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// Files below a directory, and their bytes together.
fn size(directory: &Path) -> Result<(u64, u64)> {
    let (mut folders, mut files, mut bytes) = (vec![directory.to_owned()], 0, 0);
    while let Some(folder) = folders.pop() {
        // What is removed meanwhile is not there any more.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            if facts.is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                bytes += facts.len();
            }
        }
    }
    Ok((files, bytes))
}
