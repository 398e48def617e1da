//! `make bench`: the figures that Slipway holds itself to, measured on real programs.
//!
//! Latency from CreateDeployment to the first hook; peak memory of agent and hook runner while a bundle of
//! 1 GB is deployed and while nothing happens; an install against the machine's own tools, a redeployment
//! against a first one, and 100,000 files against 10,000; a download of 1 GB against `curl` and `sha256sum`; a hook
//! against its script alone; a call to the control service beside 1,000 half-open connections. Ends with an error beyond a figure.
#![allow(clippy::disallowed_methods, reason = "the bench is the world around the programs")]

mod bundle;
mod crowd;
mod deployment;
mod download;
mod figure;
mod hook;
mod install;
mod memory;

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use slipway_tests::binaries;
use slipway_tests::place::Place;

use figure::Figure;

/// Measures Slipway against its figures
#[derive(Debug, Parser)]
struct Arguments {
    /// Measure only this; can be given more than once
    #[arg(long, value_enum)]
    only: Vec<Bench>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// A signed call beside a crowd of half-open connections
    Crowd,
    /// Latency and memory of deployments through the control service
    Deployment,
    /// Time and memory of a large download from S3
    Download,
    /// What a hook costs over running its script directly
    Hook,
    /// Speed of an install, and of one that changes little
    Install,
    /// Memory and time with 100,000 files
    Scale,
}

fn main() -> ExitCode {
    match bench(&Arguments::parse().only) {
        Ok(figures) => figure::print(&figures),
        Err(error) => {
            eprintln!("The bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(only: &[Bench]) -> Result<Vec<Figure>> {
    // Beside the build, not in /tmp, which may be memory: several gigabytes are written.
    let beside = binaries::profile_directory()?.join("bench-data");
    fs::create_dir_all(&beside)?;
    let mut figures = Vec::new();
    for bench in Bench::value_variants().iter().filter(|bench| only.is_empty() || only.contains(bench)) {
        let place = Place::new_in(&beside)?;
        let measured = match bench {
            Bench::Crowd => crowd::measure(&place),
            Bench::Deployment => deployment::measure(&place),
            Bench::Download => download::measure(&place),
            Bench::Hook => hook::cost(&place).map(|figure| vec![figure]),
            Bench::Install => install::speed(&place),
            Bench::Scale => install::scale(&place),
        };
        figures.extend(measured.inspect_err(|_| eprintln!("{}", place.last_words()))?);
    }
    Ok(figures)
}
