//! A network that breaks connections in the middle, falls silent, or is gone for a while; and content of another
//! length than it should have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::proxy::{Answer, Fate, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, failed_in, lines, page, succeeded};

/// How long an agent of these tests waits for a network that is silent: longer than the service holds a poll.
const SILENCE: &str = "http_read_timeout: 25\n";
/// For what waits for that, and for leases of the service.
const LONG: Duration = Duration::from_secs(240);
/// Bytes of a bundle that come before something happens to the rest.
const PART: usize = 200_000;

/// A revision of about a megabyte that does not compress.
fn large(place: &Place) -> Revision {
    let mut noise = vec![0; 1_000_000];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    app(&place.path().join("app"), "page", &[]).file("content/noise", noise)
}

fn is_bundle(request: &Passing) -> bool {
    request.operation.starts_with("GET ")
}

/// Does something to the first answers with bundles.
struct Breaks {
    fate: Fate,
    times: usize,
    asked: Arc<AtomicUsize>,
}

impl Rule for Breaks {
    fn request(&self, request: &Passing) -> Fate {
        if is_bundle(request) && self.asked.fetch_add(1, Ordering::Relaxed) < self.times {
            self.fate.clone()
        } else {
            Fate::Forward
        }
    }
}

fn survives(fate: Fate, times: usize) -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let asked = Arc::new(AtomicUsize::new(0));
        let proxy = Proxy::start(&fleet.control, Breaks { fate: fate.clone(), times, asked: Arc::clone(&asked) })?;
        fleet.agent.configure("20-proxy.yml", &format!("{}{SILENCE}", proxy.configuration()))?;
        fleet.agent.start()?;
        let revision = large(place);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tar)?)?;
        succeeded(&finish(&fleet.api, &id, LONG)?)?;
        let installed = std::fs::read(place.path().join("app/noise"))?;
        let sent = revision.files().find(|(path, _)| *path == "content/noise").map(|(_, bytes)| bytes);
        ensure!(sent == Some(&installed), "what is installed is not what was sent");
        let asked = asked.load(Ordering::Relaxed);
        ensure!(asked > times, "it was asked for {asked} times: nothing was broken");
        Ok(())
    })
}

#[test]
fn a_body_that_breaks_off_goes_on() -> Result<()> {
    survives(Fate::CutBody(PART), 4)
}

#[test]
fn a_body_that_breaks_off_before_its_first_byte_is_fetched_again() -> Result<()> {
    survives(Fate::CutBody(0), 2)
}

#[test]
fn a_body_that_falls_silent_goes_on() -> Result<()> {
    survives(Fate::StallBody(PART), 1)
}

#[test]
fn a_bucket_that_never_answers_is_asked_again() -> Result<()> {
    survives(Fate::Stall, 1)
}

#[test]
fn a_bucket_that_throttles_is_asked_again() -> Result<()> {
    let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    survives(Fate::Answer(Answer { status: 503, headers: http::HeaderMap::new(), body: body.into() }), 2)
}

#[test]
fn a_bucket_that_fails_is_asked_again() -> Result<()> {
    let body = "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>";
    survives(Fate::Answer(Answer { status: 500, headers: http::HeaderMap::new(), body: body.into() }), 2)
}

/// Gives bundles another length than they have, in good order otherwise.
struct Resizes(fn(&mut Vec<u8>));

impl Rule for Resizes {
    fn answer(&self, request: &Passing, mut answer: Answer) -> Answer {
        if is_bundle(request) {
            self.0(&mut answer.body);
        }
        answer
    }
}

fn refuses(change: fn(&mut Vec<u8>)) -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let proxy = Proxy::start(&fleet.control, Resizes(change))?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let bundle = fleet.group.push("v1", &large(place), BundleKind::Tar)?;
        let message = failed_in(&fleet.group.deploy(&bundle)?, "DownloadBundle")?;
        contains(&message, &["v1"])?;
        ensure!(!place.path().join("app").exists(), "something of it was installed: {message}");
        Ok(())
    })
}

#[test]
fn a_bundle_that_is_too_short_is_refused() -> Result<()> {
    refuses(|body| body.truncate(PART))
}

#[test]
fn a_bundle_that_is_too_long_is_refused() -> Result<()> {
    refuses(|body| body.extend([0; 1024]))
}

/// Answers nothing at all while it is on.
struct Partition(Arc<AtomicBool>);

impl Rule for Partition {
    fn request(&self, _request: &Passing) -> Fate {
        if self.0.load(Ordering::Relaxed) { Fate::Stall } else { Fate::Forward }
    }

    fn loses(&self, _request: &Passing, _answer: &Answer) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_network_that_is_gone_while_a_hook_runs_costs_nothing_but_time() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let gone = Arc::new(AtomicBool::new(false));
        let proxy = Proxy::start(&fleet.control, Partition(Arc::clone(&gone)))?;
        fleet.agent.configure("20-proxy.yml", &format!("{}{SILENCE}", proxy.configuration()))?;
        fleet.agent.start()?;
        let file = |name: &str| place.path().join(name);
        let (began, go_on, ran) = (file("began"), file("go-on"), file("ran"));
        let hook = format!(
            "echo x >> {}\ntouch {}\nuntil [ -e {} ]; do sleep 0.05; done",
            ran.display(),
            began.display(),
            go_on.display()
        );
        let revision = app(&file("app"), "page", &[Hook::new("AfterInstall", &hook)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the hook to begin", PATIENCE, || Ok(began.exists()))?;
        gone.store(true, Ordering::Relaxed);
        std::fs::write(&go_on, "")?;
        until_true("status to say that the result was not taken", PATIENCE, || {
            let status = fleet.agent.status()?;
            let waits = status["unreported"].as_array().is_some_and(|waiting| !waiting.is_empty());
            Ok(waits && status["daemon"]["connection"]["state"] == "failing")
        })?;
        gone.store(false, Ordering::Relaxed);
        succeeded(&finish(&fleet.api, &id, LONG)?)?;
        ensure!(lines(&ran) == 1, "the hook ran {} times", lines(&ran));
        ensure!(page(&file("app"))? == "page");
        Ok(())
    })
}
