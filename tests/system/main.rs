//! Booted hosts: a small Debian with systemd and the agent as its unit, deployed to by a control service
//! outside of it. The agent is restarted, killed, stopped and upgraded, and the host rebooted, while hooks
//! run. Prints a table; ends with 1 if something did not hold.
#![allow(clippy::disallowed_methods, reason = "this program is the world around the agent, not a part of it")]

mod report;
mod cgroup;
mod root;
mod job;
mod machine;
mod host;
mod wire;
mod app;
mod deploys;
mod survives;
mod background;
mod birth;
mod reboots;
mod limits;
mod units;
mod diagnosed;
mod cable;
mod offline;
mod cost;
mod examples;
mod image;
mod takeover;
mod updates;
mod packages;
mod user_data;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use job::{Job, Test};
use report::Report;

/// Tests on booted hosts
#[derive(Debug, Parser)]
struct Arguments {
    /// Run only this test; can be given more than once
    #[arg(long, value_enum)]
    only: Vec<Test>,
    #[command(subcommand)]
    command: Option<Inner>,
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// All of the tests, where mounts are this program's own
    #[command(hide = true)]
    Inside { only: Vec<Test> },
    /// One test, in the process that was made for it
    #[command(hide = true)]
    Job { test: Test, root: PathBuf, cgroup: PathBuf },
}

fn main() -> Result<ExitCode> {
    let Arguments { only, command } = Arguments::parse();
    match command {
        None => enter(&only),
        Some(Inner::Inside { only }) => all(&only),
        Some(Inner::Job { test, root, cgroup }) => {
            let report = Job { test, root }.work(cgroup)?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Begins again where nobody else sees what is mounted.
fn enter(only: &[Test]) -> Result<ExitCode> {
    if let Some(why) = job::obstacle() {
        println!("skipped: {why}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?).arg("inside");
    Err(unshare.args(only.iter().map(|test| test.name())).exec()).context("run unshare")
}

fn all(only: &[Test]) -> Result<ExitCode> {
    let begun = Instant::now();
    job::prepare()?;
    let root = root::obtain()?;
    let mut tests: Vec<Test> =
        Test::value_variants().iter().copied().filter(|test| only.is_empty() || only.contains(test)).collect();
    let with_packages = match tests.iter().any(|test| test.wants_packages()) {
        true => root::with_packages(&root)?,
        false => root.clone(),
    };
    // What takes longest begins first.
    tests.sort_by_key(|test| !matches!(test, Test::ExampleWordpress));
    let root_of = |test: Test| if test.wants_packages() { with_packages.clone() } else { root.clone() };
    let rows = run(tests.into_iter().map(|test| Job { test, root: root_of(test) }).collect())?;
    Ok(if print(&rows, begun.elapsed()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line of the table.
struct Row {
    report: Report,
    took: Duration,
}

/// Runs twice as many at the same time as there are processors, since most of the time they wait.
fn run(jobs: Vec<Job>) -> Result<BTreeMap<Test, Row>> {
    let (rows, waiting) = (Mutex::new(BTreeMap::new()), Mutex::new(jobs.into_iter()));
    let workers = 2 * thread::available_parallelism()?.get();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(job) = waiting.lock().ok().and_then(|mut jobs| jobs.next()) else { return };
                    let begun = Instant::now();
                    let report = carry_out(&job);
                    let took = begun.elapsed();
                    eprintln!("{}: {} checks in {took:.1?}", job.test.name(), report.checks);
                    if let Ok(mut rows) = rows.lock() {
                        rows.insert(job.test, Row { report, took });
                    }
                }
            });
        }
    });
    rows.into_inner().map_err(|_| anyhow::anyhow!("a thread ended badly"))
}

fn carry_out(job: &Job) -> Report {
    let mut report = job.spawn().unwrap_or_else(|error| {
        let mut report = Report::default();
        report.complain(format!("the test itself failed: {error:#}"));
        report
    });
    report.at_least(job.test.wanted());
    report
}

/// Prints the table; answers whether everything held.
fn print(rows: &BTreeMap<Test, Row>, took: Duration) -> bool {
    println!("\n{:<18} {:>8} {:>8}", "test", "held", "time");
    for (test, Row { report, took }) in rows {
        let held = format!("{} of {}", held(report), test.wanted());
        println!("{:<18} {held:>8} {:>6.1} s", test.name(), took.as_secs_f64());
    }
    for (test, Row { report, .. }) in rows {
        for line in &report.failures {
            println!("\nBROKEN in {}: {line}", test.name());
        }
        for line in &report.notes {
            println!("\n{}: {line}", test.name());
        }
    }
    let survivals: Vec<_> = rows.iter().filter(|(test, _)| test.is_survival()).collect();
    if !survivals.is_empty() {
        let survived: u64 = survivals.iter().map(|(_, row)| held(&row.report)).sum();
        let wanted: u64 = survivals.iter().map(|(test, _)| test.wanted()).sum();
        println!("\nhook_survives: {survived} of {wanted}");
    }
    let broken: usize = rows.values().map(|row| row.report.failures.len()).sum();
    let checks: u64 = rows.values().map(|row| row.report.checks).sum();
    println!("\n{checks} checks, {broken} broken, in {:.0} s", took.as_secs_f64());
    broken == 0
}

fn held(report: &Report) -> u64 {
    report.checks.saturating_sub(u64::try_from(report.failures.len()).unwrap_or(u64::MAX))
}
