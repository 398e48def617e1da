//! `make soak`: a thousand deployments in one life of an agent, which must not grow by them.
//!
//! Memory, descriptors and processes are read after each deployment. The first hundred may fill caches and
//! pools; after those nothing may grow by more than one part in a hundred.
#![allow(clippy::disallowed_methods, reason = "the soak is the world around the programs")]

mod sample;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use slipway_tests::agent::Agent;
use slipway_tests::binaries;
use slipway_tests::control::Control;
use slipway_tests::deployment::info;
use slipway_tests::fleet::{Group, OnFailure};
use slipway_tests::place::Place;
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::until;

use sample::Sample;

/// Deployments between two lines of the table.
const LINE: usize = 100;
/// Longest time for one deployment.
const PATIENCE: Duration = Duration::from_secs(60);
/// The events with a script, in their order.
const EVENTS: [&str; 5] = ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];

/// Deploys many times in one life of an agent and holds it to what it needed at first
#[derive(Debug, Parser)]
struct Arguments {
    /// How many deployments; growth is judged from 300 on
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Run the agent as process 1 of a namespace of its own, as it does in a container; needs root
    #[arg(long)]
    as_init: bool,
}

fn main() -> ExitCode {
    match soak(&Arguments::parse()) {
        Ok(samples) => verdict::print(&samples),
        Err(error) => {
            eprintln!("The soak failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: &Arguments) -> Result<Vec<Sample>> {
    // Beside the build, not in /tmp, which may be memory.
    let beside = binaries::profile_directory()?.join("soak-data");
    std::fs::create_dir_all(&beside)?;
    let place = Place::new_in(&beside)?;
    deploy_many(&place, arguments).inspect_err(|_| eprintln!("{}", place.last_words()))
}

fn deploy_many(place: &Place, arguments: &Arguments) -> Result<Vec<Sample>> {
    let control = Control::start(place)?;
    let api = Arc::new(control.administrator("soak")?);
    let mut agent = Agent::register(place, &control, "soak-1", &["soak"])?;
    if arguments.as_init {
        agent.start_as_init()?;
    } else {
        agent.start()?;
    }
    let group = Group::create(&control, &api, "soak", OnFailure::Leave)?;
    let ran = place.path().join("ran");
    let line = format!("echo $LIFECYCLE_EVENT; echo x >> {}", ran.display());
    let hooks = EVENTS.map(|event| Hook::new(event, &line));
    // Two revisions in turn: each deployment changes something.
    let mut bundles = Vec::new();
    for page in ["one", "two"] {
        bundles.push(group.push(page, &app(&place.path().join("app"), page, &hooks), BundleKind::Tgz)?);
    }
    sample::print_head();
    let (mut samples, begun) = (Vec::new(), Instant::now());
    for (number, bundle) in (1..=arguments.count).zip(bundles.iter().cycle()) {
        let id = group.begin(bundle)?;
        let ended = until(&format!("deployment {id} to end"), PATIENCE, || {
            let info = info(&api, &id)?;
            let status = info["status"].as_str().unwrap_or_default();
            Ok(matches!(status, "Succeeded" | "Failed" | "Stopped").then_some(info))
        })?;
        ensure!(ended["status"] == "Succeeded", "deployment {number}, {id}, ended as {ended}");
        let program = agent.program().context("the agent runs")?;
        program.must_run()?;
        let sample = Sample::take(place, program.id(), control.id())?;
        if number % LINE == 0 || number == arguments.count {
            sample.print(number, begun.elapsed(), &agent.root())?;
        }
        samples.push(sample);
    }
    // The first deployment has no earlier revision whose ApplicationStop could run.
    let scripts = std::fs::read_to_string(&ran)?.lines().count();
    let expected = arguments.count * EVENTS.len() - 1;
    ensure!(scripts == expected, "{scripts} scripts ran, not {expected}");
    Ok(samples)
}
