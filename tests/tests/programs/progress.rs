//! What the service is told of a script while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use slipway_tests::deployment::{events, finish};
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::proxy::{Answer, Fate, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, succeeded};

const UPDATE: &str = "PostHostCommandUpdate";

/// Counts reports of progress, and refuses them where it is to.
struct Counts {
    seen: Arc<AtomicUsize>,
    refuses: bool,
}

impl Rule for Counts {
    fn request(&self, request: &Passing) -> Fate {
        if request.operation != UPDATE {
            return Fate::Forward;
        }
        self.seen.fetch_add(1, Ordering::Relaxed);
        if !self.refuses {
            return Fate::Forward;
        }
        let body = r#"{"__type":"ClientException","message":"no such operation"}"#;
        Fate::Answer(Answer { status: 400, headers: http::HeaderMap::new(), body: body.into() })
    }
}

/// An application whose two hooks talk until somebody lets them go on.
fn talking(place: &Place, destination: &Path) -> (PathBuf, Revision) {
    let go_on = place.path().join("go-on");
    let lines = format!(
        "n=0\nuntil [ -e {} ]; do n=$((n+1)); echo \"$LIFECYCLE_EVENT step $n\"; sleep 0.2; done",
        go_on.display()
    );
    (go_on, app(destination, "page", &[Hook::new("BeforeInstall", &lines), Hook::new("AfterInstall", &lines)]))
}

#[test]
fn the_last_output_is_seen_while_a_script_runs() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let (go_on, revision) = talking(place, &place.path().join("app"));
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the service to show the output of a hook that runs", PATIENCE, || {
            let events = events(&fleet.api, &id)?;
            let event = events.iter().find(|event| event.name == "BeforeInstall");
            Ok(event.is_some_and(|event| {
                event.status == "InProgress" && event.diagnostic("logTail").contains("[stdout]BeforeInstall step")
            }))
        })?;
        std::fs::write(&go_on, "")?;
        let finished = finish(&fleet.api, &id, PATIENCE)?;
        succeeded(&finished)?;
        let tail = finished.event("BeforeInstall")?.diagnostic("logTail").to_owned();
        ensure!(tail.starts_with("Script - ") || tail.contains("[stdout]"), "the result's own log is there: {tail}");
        Ok(())
    })
}

#[test]
fn a_service_that_takes_no_progress_is_asked_once() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let seen = Arc::new(AtomicUsize::new(0));
        let proxy = Proxy::start(&fleet.control, Counts { seen: Arc::clone(&seen), refuses: true })?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let (go_on, revision) = talking(place, &place.path().join("app"));
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the agent to hear that", PATIENCE, || {
            Ok(fleet.agent.log().contains("the service takes no reports of progress"))
        })?;
        std::fs::write(&go_on, "")?;
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)?;
        contains(&fleet.agent.log(), &["no such operation"])?;
        ensure!(seen.load(Ordering::Relaxed) == 1, "{} reports were sent", seen.load(Ordering::Relaxed));
        Ok(())
    })
}

#[test]
fn progress_can_be_turned_off() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let seen = Arc::new(AtomicUsize::new(0));
        let proxy = Proxy::start(&fleet.control, Counts { seen: Arc::clone(&seen), refuses: false })?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.configure("30-progress.yml", "progress_updates: off\n")?;
        fleet.agent.start()?;
        // Long enough for a report, if there were any: the pace of the other tests' reports is 3 s.
        let revision = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", "echo x; sleep 4; echo y")]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?)?;
        ensure!(seen.load(Ordering::Relaxed) == 0, "{} reports were sent", seen.load(Ordering::Relaxed));
        Ok(())
    })
}
