//! An agent that is killed at the same point for ever: the deployment ends as failed after a bounded number of
//! lives, and the host stays of use.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::api::Api;
use slipway_tests::control::Control;
use slipway_tests::deployment::{finish, info};
use slipway_tests::fleet::{Group, OnFailure, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::proxy::{Fate, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, Revision, app};

use crate::expect::{contains, failed_in, names, page, succeeded};

/// Lives after which a deployment must have ended, whatever the bound is.
const MOST_LIVES: usize = 12;
/// Files of a revision that takes a while to install.
const FILES: usize = 4000;

/// One host in two groups.
struct Host<'a> {
    control: Control<'a>,
    api: Arc<Api>,
    agent: Agent<'a>,
    blue: Group,
    green: Group,
}

impl<'a> Host<'a> {
    fn set_up(place: &'a Place) -> Result<Self> {
        let control = Control::start(place)?;
        let api = Arc::new(control.administrator("tests")?);
        let agent = Agent::register(place, &control, "web-1", &["blue", "green"])?;
        let blue = Group::create(&control, &api, "blue", OnFailure::Leave)?;
        let green = Group::create(&control, &api, "green", OnFailure::Leave)?;
        Ok(Self { control, api, agent, blue, green })
    }

    /// Starts the agent and kills it whenever `moment` has come, again and again, until the deployment has
    /// ended; how often.
    fn kill_at(&mut self, id: &str, mut moment: impl FnMut() -> Result<bool>) -> Result<usize> {
        for kills in 0..MOST_LIVES {
            self.agent.start()?;
            let (began, mut looked) = (Instant::now(), Instant::now());
            while !moment()? {
                if looked.elapsed() > Duration::from_millis(50) {
                    looked = Instant::now();
                    self.agent.program().context("it runs")?.must_run()?;
                    if matches!(info(&self.api, id)?["status"].as_str(), Some("Succeeded" | "Failed" | "Stopped")) {
                        return Ok(kills);
                    }
                }
                ensure!(began.elapsed() < PATIENCE, "life {} neither comes to the point nor ends it", kills + 1);
                thread::sleep(Duration::from_micros(200));
            }
            self.agent.kill()?;
        }
        bail!("after {MOST_LIVES} lives the deployment still goes on")
    }

    fn deploys(&self, group: &Group, destination: &Path) -> Result<()> {
        let bundle = group.push("small", &app(destination, "small", &[]), BundleKind::Tgz)?;
        succeeded(&group.deploy(&bundle)?)?;
        ensure!(page(destination)? == "small");
        Ok(())
    }
}

/// Never answers for bundles while it is on.
struct Stalls {
    on: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Rule for Stalls {
    fn request(&self, request: &Passing) -> Fate {
        if !self.on.load(Ordering::Relaxed) || !request.operation.starts_with("GET ") {
            return Fate::Forward;
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        Fate::Stall
    }
}

#[test]
fn in_a_download() -> Result<()> {
    scenario(|place| {
        let mut host = Host::set_up(place)?;
        let (on, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let proxy = Proxy::start(&host.control, Stalls { on: Arc::clone(&on), asked: Arc::clone(&asked) })?;
        host.agent.configure("20-proxy.yml", &proxy.configuration())?;
        let (destination, other) = (place.path().join("app"), place.path().join("other"));
        let id = host.blue.begin(&host.blue.push("v1", &app(&destination, "one", &[]), BundleKind::Tgz)?)?;
        let mut known = 0;
        let kills = host.kill_at(&id, || {
            let now = asked.load(Ordering::Relaxed);
            Ok(now > std::mem::replace(&mut known, now))
        })?;
        ensure!(kills > 1, "it was begun again {kills} times");
        let message = failed_in(&finish(&host.api, &id, PATIENCE)?, "DownloadBundle")?;
        contains(&message, &[&format!("begun {kills} times"), "agent was ended", "deploy again"])?;
        on.store(false, Ordering::Relaxed);
        host.deploys(&host.blue, &destination)?;
        host.deploys(&host.green, &other)
    })
}

#[test]
fn in_an_install() -> Result<()> {
    scenario(|place| {
        let mut host = Host::set_up(place)?;
        let (destination, other) = (place.path().join("app"), place.path().join("other"));
        let id = host.blue.begin(&host.blue.push("v1", &large(&destination), BundleKind::Tar)?)?;
        let transactions = host.agent.root().join(".slipway/tx");
        let mut known = Vec::new();
        let kills = host.kill_at(&id, || {
            let found = names(&transactions);
            let is_new = found.iter().any(|name| !known.contains(name));
            known = if found.is_empty() { std::mem::take(&mut known) } else { found };
            Ok(is_new)
        })?;
        ensure!(kills > 1, "it was begun again {kills} times");
        let message = failed_in(&finish(&host.api, &id, PATIENCE)?, "Install")?;
        contains(&message, &[&format!("begun {kills} times"), "agent was ended", "deploy again"])?;
        ensure!(names(&transactions).is_empty(), "{:?}", names(&transactions));
        ensure!(!destination.exists(), "nothing of it is left");
        host.deploys(&host.blue, &destination)?;
        host.deploys(&host.green, &other)
    })
}

#[test]
fn in_the_recovery_of_an_install() -> Result<()> {
    scenario(|place| {
        let mut host = Host::set_up(place)?;
        let apps = place.directory("apps")?;
        let (destination, other) = (apps.join("app"), place.path().join("other"));
        let id = host.blue.begin(&host.blue.push("v1", &large(&destination), BundleKind::Tar)?)?;
        let transactions = host.agent.root().join(".slipway/tx");
        let (mut is_cut_off, mut counted) = (false, 0);
        let kills = host.kill_at(&id, || {
            if !is_cut_off {
                // The install itself, once there is much for a recovery to take away.
                is_cut_off = staged(&apps) > FILES / 2;
                return Ok(is_cut_off);
            }
            let now = attempts(&transactions).unwrap_or(counted);
            Ok(now > std::mem::replace(&mut counted, now))
        })?;
        let record = transactions.join(names(&transactions).first().context("the install is on record")?);
        let said =
            ["group", "recovery was begun", &record.display().to_string(), "slipway-agent recover"].map(str::to_owned);
        let said = said.each_ref().map(String::as_str);
        ensure!(kills as u64 == 1 + counted, "{kills} kills, {counted} recoveries");
        contains(&failed_in(&finish(&host.api, &id, PATIENCE)?, "Install")?, &said)?;

        // Its group waits, the other one does not.
        let bundle = host.blue.push("small", &app(&destination, "small", &[]), BundleKind::Tgz)?;
        let refused = host.blue.deploy(&bundle)?;
        ensure!(refused.status() == "Failed", "{}", refused.info);
        contains(refused.failed_event()?.diagnostic("message"), &said)?;
        host.deploys(&host.green, &other)?;

        let recovered = host.agent.output(&["recover"])?;
        ensure!(recovered.status.success(), "{recovered:?}");
        contains(&String::from_utf8_lossy(&recovered.stdout), &["Everything was put back"])?;
        ensure!(names(&apps).is_empty(), "{:?}", names(&apps));
        host.deploys(&host.blue, &destination)
    })
}

/// A revision whose install, and whose removal, take long enough to be met.
fn large(destination: &Path) -> Revision {
    let page = app(destination, "large", &[]);
    (0..FILES).fold(page, |revision, number| revision.file(&format!("content/{number}"), "x"))
}

/// How many files are staged beside a destination.
fn staged(apps: &Path) -> usize {
    let count = |name: String| fs::read_dir(apps.join(name)).map_or(0, Iterator::count);
    names(apps).into_iter().map(count).sum()
}

/// How many recoveries are on record as begun.
fn attempts(transactions: &Path) -> Option<u64> {
    let record: PathBuf = transactions.join(names(transactions).first()?).join("attempts.json");
    let record: Value = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
    record["count"].as_u64()
}
