//! A large bundle from the service's own S3, against `curl` to a file and `sha256sum` of it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::api::Api;
use slipway_tests::control::Control;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{BUCKET, Bundle, Group, OnFailure};
use slipway_tests::place::Place;
use slipway_tests::program::run;
use slipway_tests::revision::{BundleKind, app};
use slipway_tests::sign::SignedService;

use crate::figure::{Figure, median};
use crate::memory::{mib, peak_kib};

/// Bytes of the bundle.
const LARGE: u64 = 1_000_000_000;
/// Times that each way is measured.
const ROUNDS: usize = 5;
/// Most time that DownloadBundle takes, for each second of the other way.
const RATIO: f64 = 1.1;
/// Most MiB that the agent has at its peak.
const PEAK_MIB: f64 = 48.0;
/// Longest time for one deployment.
const PATIENCE: Duration = Duration::from_secs(600);

/// Time against others, and memory.
pub fn measure(place: &Place) -> Result<Vec<Figure>> {
    let control = Control::start(place)?;
    let api = Arc::new(control.administrator("bench")?);
    let mut agent = Agent::register(place, &control, "bench-1", &["bench"])?;
    let group = Group::create(&control, &api, "bench", OnFailure::Leave)?;
    println!("packing {LARGE} bytes");
    let file = place.path().join("large.tar");
    app(&place.path().join("app"), "page", &[]).pack_large(&file, LARGE, 2)?;
    let expected = sha256sum(place, &file)?;
    let bundle = group.push_file("large", &file, BundleKind::Tar)?;
    fs::remove_file(&file)?;
    agent.start()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // In turn, so that whatever else the machine does meets both.
    for round in 1..=ROUNDS {
        let other = by_curl(place, &control, &api, &bundle, &expected)?;
        let own = by_agent(&group, &bundle)?;
        println!("round {round}: {own:.2} s, curl and sha256sum {other:.2} s");
        ours.push(own);
        theirs.push(other);
    }
    let (own, other) = (median(&mut ours), median(&mut theirs));
    let peak = mib(peak_kib(agent.program().context("the agent runs")?.id()).context("the agent's VmHWM")?);
    agent.stop()?;
    Ok(vec![
        Figure {
            what: "1 GB from S3, over curl and sha256sum",
            unit: "",
            measured: own / other,
            bound: RATIO,
            details: format!("(medians of five: {own:.2} s, {other:.2} s)"),
        },
        Figure {
            what: "peak memory of the agent, 1 GB from S3",
            unit: "MiB",
            measured: peak,
            bound: PEAK_MIB,
            details: String::new(),
        },
    ])
}

fn sha256sum(place: &Place, path: &Path) -> Result<String> {
    let printed = run(place, Command::new("sha256sum").arg(path))?;
    Ok(printed.split_whitespace().next().context("sha256sum prints a digest")?.to_owned())
}

/// Seconds for the object in a file, its digest, and the file on the disk.
fn by_curl(place: &Place, control: &Control<'_>, api: &Api, bundle: &Bundle, expected: &str) -> Result<f64> {
    rustix::fs::sync();
    let url = format!("{}/{BUCKET}/{}", control.endpoint(), bundle.key());
    let mut request = http::Request::get(&url).body(Vec::new())?;
    api.key().sign(SignedService::S3, &mut request)?;
    let to = place.path().join("by-curl");
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--noproxy", "*", "--cacert"]).arg(control.ca_file());
    for (name, value) in request.headers() {
        curl.arg("--header").arg(format!("{name}: {}", value.to_str()?));
    }
    curl.arg("--output").arg(&to).arg(&url);
    let begun = Instant::now();
    run(place, &mut curl)?;
    let digest = sha256sum(place, &to)?;
    File::open(&to)?.sync_all()?;
    let taken = begun.elapsed().as_secs_f64();
    ensure!(digest == expected, "curl brought something else: {digest}");
    fs::remove_file(&to)?;
    Ok(taken)
}

/// Seconds for DownloadBundle, which syncs the file system that the bundle is on.
fn by_agent(group: &Group, bundle: &Bundle) -> Result<f64> {
    rustix::fs::sync();
    let finished = finish(group.api(), &group.begin(bundle)?, PATIENCE)?;
    ensure!(finished.status() == "Succeeded", "the deployment ended as {}", finished.info);
    let event = finished.event("DownloadBundle")?;
    match (event.start, event.end) {
        (Some(start), Some(end)) => Ok(end - start),
        _ => bail!("DownloadBundle has no times: {event:?}"),
    }
}
