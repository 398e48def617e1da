//! Deployments through the control service: how soon they begin, and how much memory they take.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::api::Api;
use slipway_tests::control::Control;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Group, OnFailure};
use slipway_tests::place::{self, Place};
use slipway_tests::revision::{BundleKind, Revision};

use crate::figure::{Figure, median};
use crate::memory::{mib, peak_kib};

/// Most milliseconds from CreateDeployment to the first hook.
const LATENCY_MS: f64 = 500.0;
/// Most MiB that agent and hook runner have at their peaks, together.
const PEAK_MIB: f64 = 64.0;
/// Most MiB that an agent has after some time without work.
const IDLE_MIB: f64 = 20.0;
/// Deployments whose median is the latency.
const ROUNDS: usize = 5;
/// Content of the large bundle, in bytes: it does not compress, so the bundle is as large.
const LARGE: u64 = 1_000_000_000;
/// Longest time for one deployment.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long an agent polls before its idle memory is read.
const IDLE: Duration = Duration::from_secs(10);

/// Latency and memory.
pub fn measure(place: &Place) -> Result<Vec<Figure>> {
    let control = Control::start(place)?;
    let api = Arc::new(control.administrator("bench")?);
    let mut agent = Agent::register(place, &control, "bench-1", &["bench"])?;
    agent.start()?;
    let group = Group::create(&control, &api, "bench", OnFailure::Leave)?;
    let latency = latency(place, &group)?;
    agent.stop()?;
    agent.start()?;
    let idle = idle(&mut agent)?;
    let peak = peak(place, &group, &control, &api, &mut agent)?;
    Ok(vec![latency, peak, idle])
}

fn latency(place: &Place, group: &Group) -> Result<Figure> {
    let stamp = place.path().join("first-hook");
    let destination = place.path().join("small");
    let appspec = appspec(&destination, "BeforeInstall");
    let revision = Revision::with_appspec(&appspec)
        .file("content/page", "hello")
        .script("hook.sh", &format!("date +%s.%N > {}", stamp.display()));
    let bundle = group.push("small.zip", &revision, BundleKind::Zip)?;
    let mut all = Vec::new();
    for round in 1..=ROUNDS {
        let _ = fs::remove_file(&stamp);
        let created = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let id = group.begin(&bundle)?;
        let finished = finish(group.api(), &id, PATIENCE)?;
        ensure!(finished.status() == "Succeeded", "deployment {id} ended as {}: {}", finished.status(), finished.info);
        let started: f64 = fs::read_to_string(&stamp)?.trim().parse().context("the hook's time stamp")?;
        let milliseconds = (started - created.as_secs_f64()) * 1000.0;
        println!("round {round}: first hook {milliseconds:.0} ms after CreateDeployment");
        all.push(milliseconds);
    }
    let measured = median(&mut all);
    Ok(Figure {
        what: "CreateDeployment to the first hook, median of five",
        unit: "ms",
        measured,
        bound: LATENCY_MS,
        details: format!("(least {:.0}, most {:.0})", all[0], all[ROUNDS - 1]),
    })
}

fn idle(agent: &mut Agent<'_>) -> Result<Figure> {
    println!("an agent polls for {} s", IDLE.as_secs());
    thread::sleep(IDLE);
    let program = agent.program().context("the agent runs")?;
    program.must_run()?;
    let measured = mib(peak_kib(program.id()).context("the agent's VmHWM")?);
    Ok(Figure { what: "peak memory of an idle agent", unit: "MiB", measured, bound: IDLE_MIB, details: String::new() })
}

fn peak(place: &Place, group: &Group, control: &Control<'_>, api: &Api, agent: &mut Agent<'_>) -> Result<Figure> {
    println!("packing {LARGE} bytes");
    let destination = place.path().join("large");
    let file = place.path().join("large.tgz");
    pack_large(&file, &appspec(&destination, "AfterInstall"))?;
    let size = fs::metadata(&file)?.len();
    let bundle = group.push_file("large.tgz", &file, BundleKind::Tgz)?;
    fs::remove_file(&file)?;
    println!("deploying a bundle of {size} bytes");
    // A fresh process: its high-water mark is of this deployment alone.
    agent.stop()?;
    agent.start()?;
    let agent_id = agent.program().context("the agent runs")?.id();
    let runners = RunnerWatch::begin(place.path().to_owned());
    let finished = finish(api, &group.begin(&bundle)?, PATIENCE)?;
    ensure!(finished.status() == "Succeeded", "the large deployment ended as {}", finished.info);
    let installed = fs::metadata(destination.join("large"))?.len();
    ensure!(installed == LARGE, "{installed} bytes were installed");
    let agent_kib = peak_kib(agent_id).context("the agent's VmHWM")?;
    let runner_kib = runners.end();
    ensure!(runner_kib > 0, "no hook runner was seen, so its memory was not measured");
    let control_kib = control.id().and_then(peak_kib).unwrap_or_default();
    Ok(Figure {
        what: "peak memory, agent and runner, 1 GB tgz",
        unit: "MiB",
        measured: mib(agent_kib + runner_kib),
        bound: PEAK_MIB,
        details: format!(
            "(agent {:.1}, runner {:.1}; the control service {:.1})",
            mib(agent_kib),
            mib(runner_kib),
            mib(control_kib)
        ),
    })
}

/// Watches for hook runners and keeps the highest of their high-water marks.
struct RunnerWatch {
    go_on: Arc<AtomicBool>,
    highest: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl RunnerWatch {
    fn begin(place: PathBuf) -> Self {
        let (go_on, highest) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (watched, peak) = (Arc::clone(&go_on), Arc::clone(&highest));
        let thread = thread::spawn(move || {
            while watched.load(Ordering::Relaxed) {
                for pid in place::processes(&place) {
                    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    if arguments.split(|byte| *byte == 0).any(|argument| argument == b"hook-runner") {
                        let kib = peak_kib(pid.as_raw().unsigned_abs()).unwrap_or_default();
                        peak.fetch_max(kib, Ordering::Relaxed);
                    }
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { go_on, highest, thread }
    }

    /// KiB; 0 if no runner was seen.
    fn end(self) -> u64 {
        self.go_on.store(false, Ordering::Relaxed);
        let _ = self.thread.join();
        self.highest.load(Ordering::Relaxed)
    }
}

/// An AppSpec that installs `content` and runs `hook.sh` in one event.
fn appspec(destination: &Path, event: &str) -> String {
    format!(
        "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {}\nhooks:\n  {event}:\n    \
         - location: hook.sh\n      timeout: 60\n",
        destination.display()
    )
}

/// A tgz of one large file that does not compress, written as a stream.
fn pack_large(to: &Path, appspec: &str) -> Result<()> {
    let level = flate2::Compression::fast();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(BufWriter::new(File::create(to)?), level));
    let hook = "#!/bin/sh\necho a line for the log\nsleep 1\n";
    for (name, content, mode) in [("appspec.yml", appspec, 0o644), ("hook.sh", hook, 0o755)] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes())?;
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(LARGE);
    tar.append_data(&mut header, "content/large", Noise { left: LARGE, random: fastrand::Rng::with_seed(1) })?;
    tar.into_inner()?.finish()?.flush()?;
    Ok(())
}

/// Random bytes.
struct Noise {
    left: u64,
    random: fastrand::Rng,
}

impl std::io::Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.random.fill(&mut buffer[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}
