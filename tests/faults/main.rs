//! The fault matrix: the agent's program is killed, its calls fail, its disk loses power, and every time
//! the host has to have the old revision or the new one, whole. Prints a table; ends with 1 if the
//! promise was broken.
#![allow(clippy::disallowed_methods, reason = "this program is the world around the agent, not a part of it")]

mod blocklog;
mod calls;
mod corrupt;
mod cuts;
mod errors;
mod host;
mod job;
mod kill;
mod power;
mod report;
mod revisions;
mod selftest;
mod stuck;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};

use host::Kind;
use job::{Job, Shard, Test};
use report::Report;

/// The fault matrix of the install transaction
#[derive(Debug, Parser)]
struct Arguments {
    /// Run only this test; can be given more than once
    #[arg(long, value_enum)]
    only: Vec<Test>,
    /// Run only on this file system
    #[arg(long)]
    on: Option<String>,
    #[command(subcommand)]
    command: Option<Inner>,
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// One part of one test, in the process that was made for it
    #[command(hide = true)]
    Job { test: Test, kind: String, first: usize, of: usize },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Inner::Job { test, kind, first, of }) = arguments.command {
        let report = Job { test, kind: parse_kind(&kind)?, shard: Shard { first, of } }.work()?;
        println!("{}", serde_json::to_string(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let only = arguments.on.as_deref().map(parse_kind).transpose()?;
    let mut jobs = jobs();
    jobs.retain(|job| arguments.only.is_empty() || arguments.only.contains(&job.test));
    jobs.retain(|job| only.is_none_or(|kind| job.kind == kind));
    let begun = Instant::now();
    let rows = run(jobs)?;
    Ok(if print(&rows, begun.elapsed()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything, the longest first.
fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for &test in Test::value_variants() {
        for &kind in test.kinds() {
            jobs.extend((0..test.shards()).map(|first| Job { test, kind, shard: Shard { first, of: test.shards() } }));
        }
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.test.wanted()));
    jobs
}

fn parse_kind(name: &str) -> Result<Kind> {
    match [Kind::Ext4, Kind::Xfs].into_iter().find(|kind| kind.name() == name) {
        Some(kind) => Ok(kind),
        None => bail!("{name} is not a file system that is tested; ext4 and xfs are"),
    }
}

/// A line of the table.
struct Row {
    report: Report,
    took: Duration,
}

/// Runs as many at the same time as there are processors.
fn run(jobs: Vec<Job>) -> Result<BTreeMap<(Test, &'static str), Row>> {
    let (rows, waiting) = (Mutex::new(BTreeMap::<_, Row>::new()), Mutex::new(jobs.into_iter()));
    let processors = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                loop {
                    let Some(job) = waiting.lock().ok().and_then(|mut jobs| jobs.next()) else { return };
                    let begun = Instant::now();
                    let report = carry_out(job);
                    let took = begun.elapsed();
                    eprintln!("{} on {}: {} faults in {took:.1?}", job.test.name(), job.kind.name(), report.points);
                    if let Ok(mut rows) = rows.lock() {
                        let empty = Row { report: Report::default(), took: Duration::ZERO };
                        let row = rows.entry((job.test, job.kind.name())).or_insert(empty);
                        row.report.add(report);
                        row.took += took;
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().map_err(|_| anyhow::anyhow!("a thread ended badly"))?;
    for ((test, _), row) in &mut rows {
        if row.report.skipped.is_none() {
            row.report.at_least(test.wanted());
        }
    }
    Ok(rows)
}

fn carry_out(job: Job) -> Report {
    if let Some(why) = job.obstacle() {
        return Report::skipped(why);
    }
    job.spawn().unwrap_or_else(|error| {
        let mut report = Report::default();
        report.complain(format!("the test itself failed: {error:#}"));
        report
    })
}

/// Prints the table; answers whether the promise was kept everywhere.
fn print(rows: &BTreeMap<(Test, &'static str), Row>, took: Duration) -> bool {
    println!("\n{:<20} {:<5} {:>7} {:>10} {:>8}  ends", "test", "on", "faults", "violations", "time");
    for ((test, kind), Row { report, took }) in rows {
        let ends: Vec<String> = report.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
        let ends = report.skipped.as_ref().map_or(ends.join(", "), |why| format!("skipped: {why}"));
        let time = format!("{:.1} s", took.as_secs_f64());
        println!("{:<20} {kind:<5} {:>7} {:>10} {time:>8}  {ends}", test.name(), report.points, report.violations);
    }
    for ((test, kind), Row { report, .. }) in rows {
        for line in &report.told {
            println!("\nVIOLATION in {} on {kind}: {line}", test.name());
        }
    }
    let notes = rows.iter().flat_map(|((test, _), row)| row.report.notes.iter().map(|line| (*test, line)));
    for (test, line) in notes.collect::<BTreeSet<_>>() {
        println!("\n{}: {line}", test.name());
    }
    let points: u64 = rows.values().map(|row| row.report.points).sum();
    let violations: u64 = rows.values().map(|row| row.report.violations).sum();
    println!("\n{points} faults, {violations} violations, in {:.0} s", took.as_secs_f64());
    violations == 0
}
