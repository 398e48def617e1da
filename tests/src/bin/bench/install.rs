//! Installs alone, by `deploy-local`: against the machine's own tools, against each other, and at scale.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::binaries;
use slipway_tests::place::Place;

use crate::bundle::Tree;
use crate::figure::{Figure, median};
use crate::memory::{mib, peak_kib};

/// The bundle of the speed figures: 300 MB in 10,000 files.
const ORDINARY: Tree = Tree { files: 10_000, bytes: 300_000_000, changed: None };
/// The same with one file in a hundred changed.
const NEXT: Tree = Tree { changed: Some(100), ..ORDINARY };
/// Small files, for the figures of scale.
const SMALL: Tree = Tree { files: 10_000, bytes: 10_000_000, changed: None };
const MANY: Tree = Tree { files: 100_000, bytes: 100_000_000, changed: None };
/// Measurements whose median counts.
const ROUNDS: usize = 5;
const ROUNDS_OF_SCALE: usize = 3;
/// Most times as long as the machine's own tools take, which give no promise.
const OF_TOOLS: f64 = 1.0;
/// Most of the first install's time that an install takes which changes one file in a hundred.
const OF_FIRST: f64 = 0.15;
/// Most MB, of 1,000,000 bytes, for 100,000 files.
const PEAK_MB: f64 = 150.0;

/// Unpack and install against `tar`, `cp -a` and `sync`; a redeployment against the first one.
pub fn speed(place: &Place) -> Result<Vec<Figure>> {
    let host = Host::new(place)?;
    let (first, next) = (place.path().join("first.tgz"), place.path().join("next.tgz"));
    println!("packing {} files of {} MB together", ORDINARY.files, ORDINARY.bytes / 1_000_000);
    ORDINARY.pack(&first, &host.destination)?;
    NEXT.pack(&next, &host.destination)?;
    let (mut ours, mut tools, mut installs, mut redeployments) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let by_tools = host.by_tools(&first)?;
        host.set_aside()?;
        let deployed = host.deploy(&first)?;
        let redeployed = host.deploy(&next)?;
        host.set_aside()?;
        println!(
            "round {round}: tar, cp and sync {by_tools:.2} s; DownloadBundle and Install {:.2} s, Install alone {:.2} s, \
             again with 1 % changed {:.3} s",
            deployed.whole, deployed.install, redeployed.install
        );
        tools.push(by_tools);
        ours.push(deployed.whole);
        installs.push(deployed.install);
        redeployments.push(redeployed.install);
    }
    let (ours, tools) = (median(&mut ours), median(&mut tools));
    let (install, redeployment) = (median(&mut installs), median(&mut redeployments));
    Ok(vec![
        Figure {
            what: "unpack and install, of tar -xzf, cp -a, sync",
            unit: "x",
            measured: ours / tools,
            bound: OF_TOOLS,
            details: format!("({ours:.2} s of {tools:.2} s)"),
        },
        Figure {
            what: "install with 1 % changed, of the first install",
            unit: "x",
            measured: redeployment / install,
            bound: OF_FIRST,
            details: format!("({redeployment:.3} s of {install:.3} s)"),
        },
    ])
}

/// 100,000 files: their memory, and their time against that of 10,000.
pub fn scale(place: &Place) -> Result<Vec<Figure>> {
    let host = Host::new(place)?;
    let (small, many) = (place.path().join("small.tgz"), place.path().join("many.tgz"));
    println!("packing {} and {} small files", SMALL.files, MANY.files);
    SMALL.pack(&small, &host.destination)?;
    MANY.pack(&many, &host.destination)?;
    let mut peak = 0;
    let (mut times_small, mut times_many) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS_OF_SCALE {
        for (bundle, times) in [(&small, &mut times_small), (&many, &mut times_many)] {
            let planned = host.plan(bundle)?;
            let deployed = host.deploy(bundle)?;
            host.set_aside()?;
            println!(
                "round {round}: {}: plan {:.2} s with {:.1} MiB, deployment {:.2} s with {:.1} MiB",
                bundle.file_name().unwrap_or_default().display(),
                planned.whole,
                mib(planned.peak_kib),
                deployed.whole,
                mib(deployed.peak_kib)
            );
            peak = peak.max(planned.peak_kib).max(deployed.peak_kib);
            times.push(planned.whole + deployed.whole);
        }
    }
    let (small, many) = (median(&mut times_small), median(&mut times_many));
    Ok(vec![
        Figure {
            what: "peak memory, plan and install of 100,000 files",
            unit: "MB",
            measured: mib(peak) * 1.048_576,
            bound: PEAK_MB,
            details: String::new(),
        },
        Figure {
            what: "time for 100,000 files, of that for 10,000",
            unit: "x",
            measured: many / small,
            bound: 10.0,
            details: format!("({many:.2} s of {small:.2} s)"),
        },
    ])
}

/// What one run of the agent took.
struct Run {
    /// Seconds from its start to its end.
    whole: f64,
    /// Seconds of Install; 0 for a plan.
    install: f64,
    peak_kib: u64,
}

struct Host {
    base: PathBuf,
    root: PathBuf,
    destination: PathBuf,
    config: PathBuf,
}

impl Host {
    fn new(place: &Place) -> Result<Self> {
        let base = place.path().to_owned();
        let (root, config) = (base.join("root"), base.join("agent.yml"));
        fs::write(&config, format!("root_dir: {}\n", root.display()))?;
        Ok(Self { destination: base.join("destination"), root, config, base })
    }

    /// Seconds that the machine's own tools need for the same.
    fn by_tools(&self, bundle: &Path) -> Result<f64> {
        let unpacked = self.unpacked();
        fs::create_dir(&unpacked)?;
        sync()?;
        let begun = Instant::now();
        done(Command::new("tar").arg("-xzf").arg(bundle).arg("-C").arg(&unpacked))?;
        done(Command::new("cp").arg("-a").arg(unpacked.join("content")).arg(&self.destination))?;
        sync()?;
        Ok(begun.elapsed().as_secs_f64())
    }

    fn deploy(&self, bundle: &Path) -> Result<Run> {
        self.run("deploy-local", bundle, &["-e", "DownloadBundle,Install", "--json"])
    }

    fn plan(&self, bundle: &Path) -> Result<Run> {
        self.run("plan", bundle, &[])
    }

    fn run(&self, command: &str, bundle: &Path, more: &[&str]) -> Result<Run> {
        sync()?;
        let begun = Instant::now();
        let output = self.base.join("output");
        let mut child = binaries::agent()?
            .arg(command)
            .arg("--config")
            .arg(&self.config)
            .args(["-g", "bench", "-t", "tgz", "-l"])
            .arg(bundle)
            .args(more)
            .stdin(Stdio::null())
            .stdout(fs::File::create(&output)?)
            .spawn()?;
        let mut peak = 0;
        let status = loop {
            peak = peak_kib(child.id()).unwrap_or(peak);
            match child.try_wait()? {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        let whole = begun.elapsed().as_secs_f64();
        let said = fs::read_to_string(&output)?;
        ensure!(status.success(), "{command} ended with {status}: {said}");
        let install = if command == "plan" { 0.0 } else { install_seconds(&said)? };
        Ok(Run { whole, install, peak_kib: peak })
    }

    /// Puts everything elsewhere instead of removing it: ext4 does not give the inodes of removed files out
    /// again for minutes, and goes through all of them at each new file meanwhile.
    fn set_aside(&self) -> Result<()> {
        let aside = self.base.join("aside");
        fs::create_dir_all(&aside)?;
        for directory in [&self.root, &self.destination, &self.unpacked()] {
            if directory.exists() {
                let number = fs::read_dir(&aside)?.count();
                fs::rename(directory, aside.join(number.to_string()))?;
            }
        }
        sync()
    }

    fn unpacked(&self) -> PathBuf {
        self.base.join("unpacked")
    }
}

/// The time of Install in what `deploy-local --json` said.
fn install_seconds(said: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(said).with_context(|| format!("deploy-local printed {said}"))?;
    let install = report["events"].as_array().into_iter().flatten().find(|event| event["name"] == "Install");
    install.and_then(|event| event["seconds"].as_f64()).with_context(|| format!("the time of Install in {report}"))
}

fn sync() -> Result<()> {
    done(&mut Command::new("sync"))
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
