//! What a monitoring system wants to know of a host, as text.
//!
//! The text is OpenMetrics, and of that only what the older text format of Prometheus reads the same, since
//! that is what a node exporter's textfile collector takes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::status::{Connection, Status};
use crate::disk::{Dir, Kind};
use crate::ids::{DeploymentId, GroupId};
use crate::install;
use crate::layout::Layout;
use crate::ledger::{self, Ledger, Standing};

/// Upper bounds of the durations' buckets, in seconds.
const BOUNDS: [f64; 8] = [0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

/// What the daemon counts from its start on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes of bundles that were fetched.
    pub fetched_bytes: u64,
    /// How long commands took, by name and outcome.
    pub durations: BTreeMap<String, BTreeMap<String, Durations>>,
}

/// How long commands of one kind took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Durations {
    /// How many took at most as long as each bound says, and as any.
    buckets: [u64; BOUNDS.len() + 1],
    /// All of them together, in seconds.
    seconds: f64,
}

impl Counters {
    /// Counts a command that has ended.
    pub fn ended(&mut self, command: &str, outcome: &str, seconds: f64) {
        let seconds = seconds.max(0.0);
        let durations = self.durations.entry(command.to_owned()).or_default().entry(outcome.to_owned()).or_default();
        durations.seconds += seconds;
        for (bucket, bound) in durations.buckets.iter_mut().zip(BOUNDS.into_iter().chain([f64::INFINITY])) {
            if seconds <= bound {
                *bucket += 1;
            }
        }
    }
}

/// Whether a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// It does.
    Runs,
    /// It does not; what it wrote last is what is known.
    Ended,
}

/// Bytes that the deployments of each group take on disk. What is there does not change, so each is looked at
/// once.
#[derive(Debug, Default)]
pub struct Usage {
    known: BTreeMap<(GroupId, DeploymentId), u64>,
}

impl Usage {
    /// Bytes by group. Logs of a deployment that runs count from the next start of the daemon on.
    pub fn by_group(&mut self, layout: &Layout) -> anyhow::Result<BTreeMap<GroupId, u64>> {
        let mut now = BTreeMap::new();
        let root = match Dir::open(layout.root()) {
            Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
            other => other?,
        };
        for group in directories(&root)?.iter().filter_map(|name| GroupId::parse(name).ok()) {
            let dir = root.open_dir(group.as_str())?;
            for id in directories(&dir)?.iter().filter_map(|name| DeploymentId::parse(name).ok()) {
                let key = (group.clone(), id.clone());
                let is_unpacked = Dir::open(layout.archive(&group, &id)).is_ok();
                let bytes = match self.known.get(&key).filter(|_| is_unpacked) {
                    Some(bytes) => *bytes,
                    None => match dir.open_dir(id.as_str()).and_then(|dir| dir.usage()) {
                        Err(error) if error.is_not_found() => continue,
                        other => other?,
                    },
                };
                now.insert(key, bytes);
            }
        }
        let mut groups = BTreeMap::new();
        for ((group, _), bytes) in &now {
            *groups.entry(group.clone()).or_default() += bytes;
        }
        self.known = now;
        Ok(groups)
    }
}

fn directories(dir: &Dir) -> anyhow::Result<Vec<String>> {
    let directories = dir.entries()?.into_iter().filter(|entry| entry.kind == Kind::Directory);
    Ok(directories.filter_map(|entry| entry.name.into_string().ok()).collect())
}

/// All figures of a host.
pub fn text(layout: &Layout, daemon: Daemon, status: Option<&Status>, usage: &mut Usage) -> anyhow::Result<String> {
    let ledger = Ledger::look(layout);
    let mut entries = ledger.recent(usize::MAX)?.entries;
    entries.reverse();
    let mut standings = BTreeMap::from([(Standing::Succeeded, 0), (Standing::Failed, 0), (Standing::Open, 0)]);
    for past in ledger::deployments(entries) {
        *standings.entry(past.standing()).or_insert(0) += 1;
    }
    let mut out = Text(String::new());
    out.family("slipway_build_info", "gauge", "The version of slipway-agent, as a label.");
    out.sample("slipway_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.family("slipway_daemon_running", "gauge", "Whether a daemon runs on this root directory.");
    out.sample("slipway_daemon_running", &[], u8::from(daemon == Daemon::Runs));
    out.family("slipway_deployments", "gauge", "Deployments that the ledger remembers, by how they stand here.");
    for (standing, count) in standings {
        let outcome = match standing {
            Standing::Succeeded => "succeeded",
            Standing::Failed => "failed",
            Standing::Open => "open",
        };
        out.sample("slipway_deployments", &[("outcome", outcome)], count);
    }
    out.family("slipway_outbox_results", "gauge", "Results that the service has not taken yet.");
    out.sample("slipway_outbox_results", &[], ledger.waiting()?);
    out.family("slipway_revisions_bytes", "gauge", "Bytes on disk of the deployments that are kept, by group.");
    for (group, bytes) in usage.by_group(layout)? {
        out.sample("slipway_revisions_bytes", &[("group", group.as_str())], bytes);
    }
    out.family(
        "slipway_unsettled_installs",
        "gauge",
        "Installs that were cut off and are not settled: their groups and paths are held back.",
    );
    out.sample("slipway_unsettled_installs", &[], install::count_unsettled(layout)?);
    if let Some(status) = status {
        out.of_daemon(status);
    }
    out.0.push_str("# EOF\n");
    Ok(out.0)
}

struct Text(String);

impl Text {
    fn of_daemon(&mut self, status: &Status) {
        self.family("slipway_start_time_seconds", "gauge", "When the daemon started, since the epoch.");
        self.sample("slipway_start_time_seconds", &[], status.started.as_second());
        self.family("slipway_paused", "gauge", "Whether the host takes no new work.");
        self.sample("slipway_paused", &[], u8::from(status.paused.is_some()));
        self.family("slipway_service_connected", "gauge", "Whether the last poll was answered.");
        let is_connected = matches!(status.connection, Connection::Connected { .. });
        self.sample("slipway_service_connected", &[], u8::from(is_connected));
        if let Some(at) = status.last_poll {
            self.family("slipway_last_poll_time_seconds", "gauge", "When a poll was answered last, since the epoch.");
            self.sample("slipway_last_poll_time_seconds", &[], at.as_second());
        }
        self.family(
            "slipway_commands_running",
            "gauge",
            "Commands that are being carried out, or wait for their turn.",
        );
        self.sample("slipway_commands_running", &[], status.running.len());
        self.family("slipway_fetched_bytes", "counter", "Bytes of bundles that were fetched since the daemon started.");
        self.sample("slipway_fetched_bytes_total", &[], status.counters.fetched_bytes);
        self.family(
            "slipway_command_duration_seconds",
            "histogram",
            "How long commands took since the daemon started.",
        );
        for (command, outcomes) in &status.counters.durations {
            for (outcome, durations) in outcomes {
                self.durations(&[("command", command), ("outcome", outcome)], durations);
            }
        }
    }

    fn durations(&mut self, labels: &[(&str, &str)], durations: &Durations) {
        let name = "slipway_command_duration_seconds";
        for (bucket, bound) in durations.buckets.iter().zip(BOUNDS.into_iter().chain([f64::INFINITY])) {
            let bound = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
            self.sample(&format!("{name}_bucket"), &[labels, &[("le", bound.as_str())]].concat(), bucket);
        }
        self.sample(&format!("{name}_sum"), labels, durations.seconds);
        self.sample(&format!("{name}_count"), labels, durations.buckets[BOUNDS.len()]);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_cumulative() {
        let mut counters = Counters::default();
        for seconds in [0.1, 1.0, 4000.0, -1.0] {
            counters.ended("Install", "succeeded", seconds);
        }
        let durations = &counters.durations["Install"]["succeeded"];
        assert_eq!(durations.buckets, [2, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert!((durations.seconds - 4001.1).abs() < 1e-6);
    }

    #[test]
    fn a_host_without_anything_has_figures() {
        let temp = tempfile::tempdir().unwrap();
        let text = text(&Layout::new(temp.path()), Daemon::Ended, None, &mut Usage::default()).unwrap();
        assert!(text.contains("slipway_deployments{outcome=\"failed\"} 0\n") && text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn labels_cannot_break_a_line() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
