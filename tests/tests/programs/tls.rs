//! Whose certificates are trusted, and how many connections are made for that.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use slipway_tests::authority::{Authority, system_store};
use slipway_tests::binaries;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::Program;
use slipway_tests::proxy::{Answer, Fate, Front, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, app};
use slipway_tests::until::{until, until_true};

use crate::expect::{contains, failed_in, page, succeeded};

/// For tries that have pauses between them.
const LONG: Duration = Duration::from_secs(180);

fn skip(why: &str) -> Result<()> {
    // Not by `eprintln!`, which nobody sees of a test that passes.
    Ok(std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes())?)
}

/// Passes everything on.
struct Honest;

impl Rule for Honest {}

fn why_polls_fail(fleet: &Fleet<'_>) -> Result<String> {
    until("status to say that polls fail", PATIENCE, || {
        let connection = fleet.agent.status()?["daemon"]["connection"].clone();
        let why = connection["why"].as_str().unwrap_or_default().to_owned();
        Ok((connection["state"] == "failing").then_some(why))
    })
}

#[test]
fn a_commands_service_of_an_unknown_authority_is_refused_and_named() -> Result<()> {
    if !Authority::is_possible() {
        return skip("there is no openssl");
    }
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let stranger = Authority::new(place, "stranger")?;
        let front = Front::certified(&stranger.server());
        let proxy = Proxy::start_as(&front, &fleet.control, Idle::default())?;
        let settings = format!("deploy_control_endpoint: {}\nwait_after_error: 1\n", proxy.endpoint());
        fleet.agent.configure("20-proxy.yml", &settings)?;
        fleet.agent.start()?;
        let address = proxy.endpoint().trim_start_matches("https://");
        contains(&why_polls_fail(&fleet)?, &[address, "TLS failed", "UnknownIssuer", "ca_bundle"])?;
        // What it says is the remedy.
        fleet.agent.stop()?;
        let both = [std::fs::read(fleet.control.ca_file())?, std::fs::read(stranger.file())?].concat();
        let bundle = place.path().join("both.pem");
        std::fs::write(&bundle, both)?;
        fleet.agent.configure("30-trust.yml", &format!("ca_bundle: {}\n", bundle.display()))?;
        fleet.agent.start()?;
        until_true("polls to be answered", PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"]["connection"]["state"] == "connected")
        })
    })
}

#[test]
fn a_bucket_of_an_unknown_authority_is_refused_and_named() -> Result<()> {
    if !Authority::is_possible() {
        return skip("there is no openssl");
    }
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let stranger = Authority::new(place, "stranger")?;
        let proxy = Proxy::start_as(&Front::certified(&stranger.server()), &fleet.control, Honest)?;
        fleet.agent.configure("20-proxy.yml", &format!("s3_endpoint_override: {}\n", proxy.endpoint()))?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1", &app(&destination, "page", &[]), BundleKind::Tgz)?;
        let failed = finish(&fleet.api, &fleet.group.begin(&bundle)?, LONG)?;
        let address = proxy.endpoint().trim_start_matches("https://");
        let message = failed_in(&failed, "DownloadBundle")?;
        contains(&message, &["v1", address, "TLS failed", "UnknownIssuer", "ca_bundle"])?;
        ensure!(!destination.exists() && proxy.connections().is_empty());
        Ok(())
    })
}

/// The agent in a view of this machine whose store of certificates is that file.
fn start_trusting(place: &Place, fleet: &Fleet<'_>, store: &Path, replaced: Option<&Path>) -> Result<Program> {
    let script = "set -e\nstore=$1; shift\nwhile [ \"$1\" != -- ]; do mount --bind \"$store\" \"$1\"; shift; done\n\
                  shift\nexec \"$@\"";
    let daemon = binaries::agent()?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(store).args(system_store()).arg("--");
    command.arg(daemon.get_program()).arg("run").arg("--config").arg(fleet.agent.config_file());
    for (variable, value) in daemon.get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    if let Some(file) = replaced {
        command.env("SSL_CERT_FILE", file);
    }
    Program::start(place, "agent-web-1", &mut command)
}

#[test]
fn ca_bundle_adds_to_the_systems_store_and_the_variable_replaces_that() -> Result<()> {
    if !Authority::is_possible() {
        return skip("there is no openssl");
    }
    let can = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success());
    if !can || system_store().is_empty() {
        return skip("this needs mounts of its own, as root, and a store of certificates to mount over");
    }
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let [own, other] = [Authority::new(place, "own")?, Authority::new(place, "other")?];
        let proxy = Proxy::start_as(&Front::certified(&own.server()), &fleet.control, Idle::default())?;
        let (own, other) = (own.file(), other.file());
        // What the system trusts, what the variable names, what ca_bundle names, and whether that is enough.
        for (system, variable, bundle, enough) in [
            (&own, None, None, true),
            (&other, None, None, false),
            (&other, None, Some(&own), true),
            (&own, None, Some(&other), true),
            (&own, Some(&other), None, false),
            (&other, Some(&own), None, true),
            (&other, Some(&other), Some(&own), true),
            (&own, Some(&other), Some(&other), false),
        ] {
            let bundle = bundle.map_or("ca_bundle:".to_owned(), |path| format!("ca_bundle: {}", path.display()));
            // A key without a value sets nothing, so the file with another one is replaced as a whole.
            let text = std::fs::read_to_string(fleet.agent.config_file())?;
            let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("ca_bundle")).collect();
            std::fs::write(fleet.agent.config_file(), format!("{}\n{bundle}\n", kept.join("\n")))?;
            let settings = format!("deploy_control_endpoint: {}\nwait_after_error: 1\n", proxy.endpoint());
            fleet.agent.configure("20-proxy.yml", &settings)?;
            let before = proxy.connections().len();
            let status = fleet.agent.root().join(".slipway/status.json");
            let _ = std::fs::remove_file(&status);
            let mut daemon = start_trusting(place, &fleet, system, variable.map(|path| path.as_path()))?;
            let state = until("a poll to end in any way", PATIENCE, || {
                daemon.must_run()?;
                if !status.exists() {
                    return Ok(None);
                }
                let connection = fleet.agent.status()?["daemon"]["connection"].clone();
                let state = connection["state"].as_str().unwrap_or_default().to_owned();
                Ok(["connected", "failing"].contains(&state.as_str()).then_some((state, connection)))
            });
            daemon.stop(PATIENCE)?;
            let (state, connection) = state?;
            let case = format!("{system:?}, {variable:?} and {bundle:?}: {connection}");
            ensure!((state == "connected") == enough, "{case}");
            ensure!((proxy.connections().len() > before) == enough, "{case}");
            if !enough {
                contains(&connection.to_string(), &["TLS failed", "UnknownIssuer"])?;
            }
        }
        Ok(())
    })
}

/// Answers polls at once, as a service that holds none, and lets everything through once there is work.
#[derive(Default)]
struct Idle {
    polls: Arc<AtomicUsize>,
    works: Arc<AtomicBool>,
}

impl Rule for Idle {
    fn request(&self, request: &Passing) -> Fate {
        if request.operation != "PollHostCommand" {
            return Fate::Forward;
        }
        self.polls.fetch_add(1, Ordering::Relaxed);
        if self.works.load(Ordering::Relaxed) {
            return Fate::Forward;
        }
        Fate::Answer(Answer { status: 200, headers: http::HeaderMap::new(), body: b"{}".to_vec() })
    }
}

/// Polls, on connections that were made for it with those protocols on offer; then a deployment on more.
fn connections(offered: &[&'static str]) -> Result<(Vec<String>, Vec<String>)> {
    let mut found = None;
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let (polls, works) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let rule = Idle { polls: Arc::clone(&polls), works: Arc::clone(&works) };
        let proxy = Proxy::start_as(&Front::of(&fleet.control).offering(offered), &fleet.control, rule)?;
        fleet.agent.configure("20-proxy.yml", &format!("{}wait_between_runs: 0.02\n", proxy.configuration()))?;
        fleet.agent.start()?;
        until_true("many polls", PATIENCE, || Ok(polls.load(Ordering::Relaxed) >= 50))?;
        let idle = proxy.connections();
        works.store(true, Ordering::Relaxed);
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1", &app(&destination, "page", &[]), BundleKind::Tgz)?;
        succeeded(&finish(&fleet.api, &fleet.group.begin(&bundle)?, LONG)?)?;
        ensure!(page(&destination)? == "page");
        found = Some((idle, proxy.connections()));
        Ok(())
    })?;
    Ok(found.unwrap_or_default())
}

#[test]
fn http_2_is_spoken_where_it_is_offered_over_one_connection_for_each_service() -> Result<()> {
    let (idle, all) = connections(&["h2", "http/1.1"])?;
    ensure!(idle == ["h2"], "{idle:?}");
    // Held polls, acknowledgements and results share one; the bucket has the other.
    ensure!(all == ["h2", "h2"], "{all:?}");
    Ok(())
}

#[test]
fn a_connection_of_http_1_is_used_for_one_poll_after_another() -> Result<()> {
    for offered in [&["http/1.1"][..], &[]] {
        let (idle, all) = connections(offered)?;
        let agreed = offered.first().copied().unwrap_or_default();
        ensure!(idle == [agreed], "{idle:?}");
        // What is said while a poll is held has a connection of its own, which is kept as well.
        ensure!(all.len() <= 4 && all.iter().all(|protocol| protocol == agreed), "{all:?}");
    }
    Ok(())
}
