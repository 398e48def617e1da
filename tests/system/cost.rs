//! What a hook costs over running its script directly, where its runner is a service of systemd. The figure is
//! printed, never held to a bound: machines that test are busy. The host is in memory, so that no disk's time
//! is in it.

use std::time::Instant;

use anyhow::{Result, ensure};
use slipway_tests::revision::idle;

use crate::host::Host;
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 1;

/// Scripts of the event.
const SCRIPTS: u32 = 20;
/// Deployments of each kind whose median counts.
const ROUNDS: usize = 5;
/// Runs of the script alone.
const RUNS: u32 = 200;
/// What the project holds itself to where the machine is quiet, in milliseconds.
const WANTED_MS: f64 = 60.0;

/// On one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "cost")?;
    let mut figure = None;
    host.check(report, "deployments with and without scripts succeed", |host| {
        figure = Some(measure(host)?);
        Ok(())
    });
    if let Some((hook, direct)) = figure {
        report.notes.push(format!(
            "a hook as a service of systemd costs {:.1} ms over its script ({hook:.1} ms, the script {direct:.1} ms; \
             {WANTED_MS} ms are wanted of a release build on a quiet machine)",
            hook - direct
        ));
    }
    Ok(())
}

/// Milliseconds of a script as a hook, and of the script alone.
fn measure(host: &Host<'_>) -> Result<(f64, f64)> {
    let (none, many) = ("/srv/none", "/srv/many");
    for (directory, scripts) in [(none, 0), (many, SCRIPTS)] {
        idle(scripts, "/srv/idle".as_ref()).write(&host.machine.root().join(directory.trim_start_matches('/')))?;
    }
    let run = |count: u32| format!("i=0; while [ $i -lt {count} ]; do {many}/0.sh || exit 1; i=$((i + 1)); done");
    let direct = (timed(host, &["sh", "-c", &run(RUNS)])? - timed(host, &["sh", "-c", &run(0)])?) / f64::from(RUNS);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (directory, all) in [(none, &mut without), (many, &mut with)] {
            all.push(timed(host, &["slipway-agent", "deploy-local", "-g", "cost", "-l", directory])?);
        }
    }
    let log = host.machine.run(&[
        "sh",
        "-c",
        "ls /opt/codedeploy-agent/deployment-root/.slipway/hooks/*/ | grep -c AfterInstall",
    ])?;
    ensure!(log.trim().parse::<u32>().is_ok_and(|ran| ran >= SCRIPTS), "{log} scripts are on record");
    Ok(((median(with) - median(without)) / f64::from(SCRIPTS), direct))
}

/// Milliseconds of a command on the host.
fn timed(host: &Host<'_>, words: &[&str]) -> Result<f64> {
    let begun = Instant::now();
    host.machine.run(words)?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
