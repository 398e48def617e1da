//! What a hook costs over running its script directly: its runner, what is written down of it, and the waits.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::place::Place;
use slipway_tests::revision::idle;

use crate::figure::{Figure, median};

/// Scripts of the event: what comes once for a deployment goes away in the division.
const SCRIPTS: u32 = 20;
/// Deployments of each kind whose median counts.
const ROUNDS: usize = 15;
/// Runs of the script alone whose median counts.
const RUNS: usize = 201;
/// Most milliseconds where the runner is a process in a session of its own.
const DETACHED_MS: f64 = 25.0;
/// Most milliseconds where the runner is a service of systemd.
const UNITS_MS: f64 = 60.0;
/// Where systemd runs the host.
const SYSTEMD: &str = "/run/systemd/system";

/// The cost of one hook.
pub fn cost(place: &Place) -> Result<Figure> {
    let host = Agent::alone(place, "bench-1")?;
    let (none, many) = (place.directory("none")?, place.directory("many")?);
    idle(0, &place.path().join("app")).write(&none)?;
    idle(SCRIPTS, &place.path().join("app")).write(&many)?;
    let mut direct = (0..RUNS).map(|_| run_directly(&many.join("0.sh"))).collect::<Result<Vec<_>>>()?;
    let direct = median(&mut direct);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    // In turn, so that whatever else the machine does meets both.
    for _ in 0..ROUNDS {
        without.push(deploy(&host, &none)?);
        with.push(deploy(&host, &many)?);
    }
    let (without, with) = (median(&mut without), median(&mut with));
    let hook = (with - without) / f64::from(SCRIPTS);
    let (kind, bound) = match Path::new(SYSTEMD).exists() {
        true => ("as a service", UNITS_MS),
        false => ("as a process of its own", DETACHED_MS),
    };
    Ok(Figure {
        what: "a hook, over its script run directly",
        unit: "ms",
        measured: hook - direct,
        bound,
        details: format!("({kind}: {hook:.2}, the script {direct:.2}; a deployment without {without:.0})"),
    })
}

/// Milliseconds.
fn run_directly(script: &Path) -> Result<f64> {
    let begun = Instant::now();
    let status = Command::new(script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "{} ended with {status}", script.display());
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// Milliseconds.
fn deploy(host: &Agent<'_>, revision: &Path) -> Result<f64> {
    let begun = Instant::now();
    let output = host.output(&["deploy-local", "-g", "bench", "-l", &revision.display().to_string()])?;
    ensure!(output.status.success(), "deploy-local: {}", String::from_utf8_lossy(&output.stderr));
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}
