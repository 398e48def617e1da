//! The agent is killed at many moments of the demo's three deployments, and started again.
//!
//! Several hosts take the deployments in parallel, each with its own group, destination and port, so
//! that the time that a lease takes to end on one host is used by the others. Most moments are
//! counted from the beginning of a command, since commands are short against the pauses between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::api::Api;
use slipway_tests::control::Control;
use slipway_tests::deployment::{Finished, events, finish, info};
use slipway_tests::fleet::{Bundle, Group, OnFailure};
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, HelloWeb};
use slipway_tests::until::{until, until_true};
use slipway_tests::web;

/// Least number of moments at which an agent is killed, over all hosts.
const MOMENTS: usize = 100;
/// Hosts that deploy in parallel.
const HOSTS: usize = 4;
/// Kills in one deployment.
const KILLS: usize = 5;
/// Commands of one deployment; moments are spread over all of them.
const COMMANDS: usize = 7;
/// A deployment that waits for leases of 30 s after some of its kills.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn every_event_is_reported_and_one_revision_is_whole() -> Result<()> {
    scenario(|place| {
        let control = Control::start(place)?;
        let api = Arc::new(control.administrator("tests")?);
        let names: Vec<String> = (1..=HOSTS).map(|number| format!("web-{number}")).collect();
        let mut hosts = Vec::new();
        for (number, name) in names.iter().enumerate() {
            hosts.push(Host::set_up(place, &control, &api, name, number as u64)?);
        }
        let results: Vec<Result<Vec<Moment>>> = thread::scope(|scope| {
            let running: Vec<_> = hosts.iter_mut().map(|host| scope.spawn(|| host.play())).collect();
            running.into_iter().map(|host| host.join().unwrap_or_else(|_| bail!("a host's thread panicked"))).collect()
        });
        let moments: Vec<Moment> = results.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        report(&moments);
        ensure!(moments.len() >= MOMENTS, "only {} moments", moments.len());
        let commands: BTreeSet<&str> = moments.iter().map(|moment| moment.during.as_str()).collect();
        ensure!(commands.len() >= COMMANDS, "the moments are not spread over the commands: {commands:?}");
        Ok(())
    })
}

/// When an agent was killed.
struct Moment {
    version: u8,
    during: String,
}

fn report(moments: &[Moment]) {
    let mut versions = BTreeMap::<String, usize>::new();
    let mut commands = BTreeMap::<&str, usize>::new();
    for moment in moments {
        *versions.entry(format!("version {}", moment.version)).or_default() += 1;
        *commands.entry(&moment.during).or_default() += 1;
    }
    // Past the test harness, which keeps what a passing test prints to itself.
    let _ = writeln!(std::io::stderr(), "{} kill moments: {versions:?}, {commands:?}", moments.len());
}

/// One host of the test, with the example's bundles made for it.
struct Host<'a> {
    agent: Agent<'a>,
    group: Group,
    api: Arc<Api>,
    destination: PathBuf,
    port: u16,
    bundles: Vec<Bundle>,
    /// What each version installs: path below the destination, and content.
    trees: Vec<BTreeMap<String, Vec<u8>>>,
    /// The version whose deployment or rollback succeeded last.
    last_good: Option<u8>,
    /// Deployments with kills so far.
    deployments: usize,
    random: fastrand::Rng,
    moments: Vec<Moment>,
}

impl<'a> Host<'a> {
    fn set_up(place: &'a Place, control: &Control<'_>, api: &Arc<Api>, name: &str, seed: u64) -> Result<Self> {
        let agent = Agent::register(place, control, name, &[name])?;
        let group = Group::create(control, api, name, OnFailure::RollBack)?;
        let destination = agent.home().join("hello-web");
        let port = web::free_port()?;
        let (mut bundles, mut trees) = (Vec::new(), Vec::new());
        for version in 1..=3 {
            let revision = HelloWeb { destination: &destination, port }.version(version)?;
            let kind = [BundleKind::Zip, BundleKind::Tgz, BundleKind::Tar][usize::from(version) - 1];
            bundles.push(group.push(&format!("v{version}"), &revision, kind)?);
            let installed = revision
                .files()
                .filter_map(|(path, bytes)| path.strip_prefix("app/").map(|path| (path.to_owned(), bytes.to_vec())));
            trees.push(installed.collect());
        }
        let random = fastrand::Rng::with_seed(seed);
        let api = Arc::clone(api);
        Ok(Self {
            agent,
            group,
            api,
            destination,
            port,
            bundles,
            trees,
            last_good: None,
            deployments: 0,
            random,
            moments: Vec::new(),
        })
    }

    /// Deploys the three versions in turn until this host's share of moments is reached, and ends
    /// as the demo does: version 2 is deployed, version 3 fails, version 2 is back.
    fn play(&mut self) -> Result<Vec<Moment>> {
        self.agent.start()?;
        while self.moments.len() < MOMENTS.div_ceil(HOSTS) {
            for version in 1..=3 {
                self.deploy_with_kills(version)?;
            }
        }
        self.deploy_in_peace(2)?;
        self.deploy_with_kills(3)?;
        ensure!(self.serves(2), "{}: version 2 is to be served at the end", self.agent.name());
        self.agent.stop()?;
        Ok(std::mem::take(&mut self.moments))
    }

    fn deploy_in_peace(&mut self, version: u8) -> Result<()> {
        let finished = finish(&self.api, &self.begin(version)?, PATIENCE)?;
        ensure!(
            finished.status() == "Succeeded",
            "version {version} ended as {}: {}",
            finished.status(),
            finished.info
        );
        self.look(&finished, Some(version))
    }

    /// One deployment with kills, and the rollback that may follow, in peace.
    fn deploy_with_kills(&mut self, version: u8) -> Result<()> {
        let id = self.begin(version)?;
        self.deployments += 1;
        self.kill_during(&id, version)?;
        let finished = finish(&self.api, &id, PATIENCE)?;
        ensure!(version != 3 || finished.status() == "Failed", "version 3 does not pass its validation");
        let Some(rollback) = self.rollback_of(&finished)? else {
            let succeeded = finished.status() == "Succeeded";
            return self.look(&finished, succeeded.then_some(version));
        };
        let back = finish(&self.api, &rollback, PATIENCE)?;
        ensure!(back.status() == "Succeeded", "the rollback ended as {}: {}", back.status(), back.info);
        self.look(&finished, None)?;
        self.look(&back, self.last_good)
    }

    /// Begins a deployment, after a rollback of the one before has ended.
    fn begin(&self, version: u8) -> Result<String> {
        until("the group to be free", PATIENCE, || match self.group.begin(&self.bundles[usize::from(version) - 1]) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.to_string().contains("DeploymentLimitExceeded") => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn kill_during(&mut self, id: &str, version: u8) -> Result<()> {
        for kill in 0..KILLS {
            // The first one reaches a little further into each deployment, since a kill in a hook ends it.
            let commands = if kill == 0 { self.deployments % COMMANDS } else { 0 };
            if !self.await_moment(id, commands)? {
                return Ok(());
            }
            let during = self.current(id)?;
            if self.has_ended(id)? {
                // What runs now is the rollback, which is to show that the host was left sound.
                return Ok(());
            }
            self.agent.kill()?;
            self.moments.push(Moment { version, during });
            self.agent.start()?;
        }
        Ok(())
    }

    /// Waits for a command to begin, that many commands after the present one, and then a little;
    /// false if the deployment ended before.
    fn await_moment(&mut self, id: &str, commands: usize) -> Result<bool> {
        let ledger = self.agent.root().join(".slipway/ledger");
        let known = || fs::read_dir(&ledger).map_or(0, Iterator::count);
        let target = known() + commands;
        let mut looked = Instant::now();
        let began = Instant::now();
        while known() <= target {
            if looked.elapsed() > Duration::from_millis(100) {
                looked = Instant::now();
                if self.has_ended(id)? {
                    return Ok(false);
                }
            }
            ensure!(began.elapsed() < PATIENCE, "no command begins on {}", self.agent.name());
            thread::sleep(Duration::from_micros(500));
        }
        // From the first system calls of a command into its hooks.
        thread::sleep(Duration::from_micros(self.random.u64(0..60_000)));
        Ok(true)
    }

    fn has_ended(&self, id: &str) -> Result<bool> {
        let status = &info(&self.api, id)?["status"];
        Ok(matches!(status.as_str(), Some("Succeeded" | "Failed" | "Stopped")))
    }

    /// The event that is running, by the service's word.
    fn current(&self, id: &str) -> Result<String> {
        let events = events(&self.api, id)?;
        let running = events.iter().find(|event| event.status == "InProgress");
        let next = running.or_else(|| events.iter().find(|event| !event.is_terminal()));
        Ok(next.map_or_else(|| "after the last".to_owned(), |event| event.name.clone()))
    }

    /// What must hold after every deployment: all is reported, one revision is whole on disk, of the
    /// version that is known to be there if one is, and nothing else is left.
    fn look(&mut self, finished: &Finished, version: Option<u8>) -> Result<()> {
        for event in &finished.events {
            ensure!(event.is_terminal(), "{}: {} was not reported: {event:?}", finished.id, event.name);
            ensure!(
                event.status != "Failed" || !event.diagnostic("message").is_empty(),
                "a failure says why: {event:?}"
            );
        }
        until_true("the agent to have recovered and reported", PATIENCE, || {
            let status = self.agent.status()?;
            let quiet = ["unreported"].iter().all(|what| status[*what].as_array().is_some_and(Vec::is_empty));
            Ok(quiet && status["daemon"]["alive"] == true)
        })?;
        let on_disk = self.installed()?;
        let names: Vec<_> = on_disk.keys().collect();
        if let Some(version) = version {
            self.last_good = Some(version);
            let whole = self.trees[usize::from(version) - 1] == on_disk;
            ensure!(whole, "{}: version {version} is not what is on disk: {names:?}", finished.id);
        }
        let nothing_yet = self.last_good.is_none() && on_disk.is_empty();
        ensure!(nothing_yet || self.trees.contains(&on_disk), "{}: no revision is whole: {names:?}", finished.id);
        let transactions: Vec<_> = names_in(&self.agent.root().join(".slipway/tx")).collect();
        ensure!(transactions.is_empty(), "{}: {transactions:?} are left", finished.id);
        let litter: Vec<_> = names_in(self.agent.home()).filter(|name| name.starts_with('.')).collect();
        ensure!(litter.is_empty(), "{}: {litter:?} is left", finished.id);
        Ok(())
    }

    fn installed(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.destination.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&self.destination).context("below the destination")?;
                    found.insert(name.display().to_string(), fs::read(&path)?);
                }
            }
        }
        // Python's own cache is no file of a revision.
        found.retain(|name, _| !name.contains("__pycache__"));
        Ok(found)
    }

    fn rollback_of(&self, failed: &Finished) -> Result<Option<String>> {
        if failed.status() != "Failed" {
            return Ok(None);
        }
        let rollback = &info(&self.api, &failed.id)?["rollbackInfo"]["rollbackDeploymentId"];
        Ok(rollback.as_str().map(str::to_owned))
    }

    fn serves(&self, version: u8) -> bool {
        web::page(self.port).is_ok_and(|(_, page)| page.contains(&format!("version {version}.")))
    }
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}
