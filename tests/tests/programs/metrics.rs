//! Figures for a monitoring system, read by a parser that is not ours.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::scenario;
use slipway_tests::program;
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::{until, until_true};

use crate::expect::{contains, failed_in, succeeded};

/// Reads a text as OpenMetrics and as what a textfile collector takes, and prints its samples.
const READER: &str = r"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as new
from prometheus_client.parser import text_string_to_metric_families as old
text = sys.stdin.read()
def samples(parse):
    return sorted((s.name, sorted(s.labels.items()), s.value) for f in parse(text) for s in f.samples)
assert samples(new) == samples(old), (samples(new), samples(old))
for family in new(text):
    for s in family.samples:
        print(family.type, s.name, ','.join(f'{k}={v}' for k, v in sorted(s.labels.items())), float(s.value))
";

/// The samples, a line each: type, name, labels, value. Nothing where the parser is not installed.
fn parsed(text: &str) -> Result<Option<String>> {
    let profile = binaries::profile_directory()?;
    let python = profile.parent().context("the profile is in a target directory")?.join("interop/bin/python");
    let has_parser = Command::new(&python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has_parser.is_ok_and(|status| status.success()) {
        // Past the test harness, which keeps the output of tests that pass to itself.
        let said = "skipped: prometheus-client is not there to read the metrics; `make test` installs it";
        let _ = writeln!(std::io::stderr(), "{said}\n");
        return Ok(None);
    }
    let mut reader = Command::new(python)
        .args(["-B", "-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    reader.stdin.take().context("its input")?.write_all(text.as_bytes())?;
    let output = reader.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the parser does not take this:\n{text}\n{said}");
    Ok(Some(String::from_utf8(output.stdout)?))
}

#[test]
fn figures_are_printed_and_kept_in_a_file() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let file = place.path().join("slipway.prom");
        fleet.agent.configure("30-metrics.yml", &format!("metrics_file: {}\n", file.display()))?;
        let before = program::run(place, &mut fleet.agent.command(&["metrics"])?)?;
        contains(&before, &["slipway_daemon_running 0", "slipway_deployments{outcome=\"succeeded\"} 0"])?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        let good = app(&destination, "one", &[Hook::new("AfterInstall", "true")]);
        let bad = app(&destination, "two", &[Hook::new("AfterInstall", "exit 7")]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &good, BundleKind::Tgz)?)?)?;
        failed_in(&fleet.group.deploy(&fleet.group.push("v2", &bad, BundleKind::Tgz)?)?, "AfterInstall")?;
        let expected = ["outcome=\"failed\"} 1", "slipway_outbox_results 0", "slipway_commands_running 0"];
        let text = until("the file to hold both deployments", PATIENCE, || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            Ok(expected.iter().all(|part| text.contains(part)).then_some(text))
        })?;
        let group = fleet.agent.status()?["groups"][0]["id"].as_str().context("a group has an id")?.to_owned();
        for text in [text, program::run(place, &mut fleet.agent.command(&["metrics"])?)?, before] {
            let Some(samples) = parsed(&text)? else { return Ok(()) };
            if samples.contains("slipway_daemon_running  0.0") {
                continue;
            }
            contains(
                &samples,
                &[
                    "gauge slipway_build_info version=",
                    "gauge slipway_daemon_running  1.0",
                    "gauge slipway_deployments outcome=succeeded 1.0",
                    "gauge slipway_deployments outcome=failed 1.0",
                    "gauge slipway_service_connected  1.0",
                    "gauge slipway_last_poll_time_seconds  ",
                    &format!("gauge slipway_revisions_bytes group={group} "),
                    "counter slipway_fetched_bytes_total  ",
                    "histogram slipway_command_duration_seconds_count command=AfterInstall,outcome=failed 1.0",
                    "histogram slipway_command_duration_seconds_bucket command=Install,le=+Inf,outcome=succeeded 2.0",
                ],
            )?;
            ensure!(!samples.contains("slipway_fetched_bytes_total  0.0"), "{samples}");
        }
        Ok(())
    })
}

#[test]
fn a_metrics_file_that_cannot_be_written_stops_nothing() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        fleet.agent.configure("30-metrics.yml", &format!("metrics_file: {}/no/such/x\n", place.path().display()))?;
        fleet.agent.start()?;
        let page = app(&place.path().join("app"), "page", &[]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &page, BundleKind::Tgz)?)?)?;
        until_true("the log to say so", PATIENCE, || {
            Ok(fleet.agent.log().contains("metrics_file could not be written"))
        })
    })
}
