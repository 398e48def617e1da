//! The service goes away, refuses, or is slow; and what `status` says meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::deployment::{events, finish};
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::scenario;
use slipway_tests::proxy::{Answer, Fate, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::{until, until_true};

use crate::expect::{contains, lines, page, succeeded};

/// What `status` says of the connection.
fn connection(agent: &Agent<'_>) -> Result<Value> {
    Ok(agent.status()?["daemon"]["connection"].clone())
}

fn until_failing(agent: &Agent<'_>) -> Result<Value> {
    until("status to say that polls fail", Duration::from_secs(20), || {
        Ok(Some(connection(agent)?).filter(|connection| connection["state"] == "failing"))
    })
}

#[test]
fn a_result_waits_for_the_service_to_come_back() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let (began, go_on, ran) = (place.path().join("began"), place.path().join("go-on"), place.path().join("ran"));
        let hook = format!(
            "echo x >> {}\ntouch {}\nuntil [ -e {} ]; do sleep 0.05; done",
            ran.display(),
            began.display(),
            go_on.display()
        );
        let revision = app(&destination, "page", &[Hook::new("AfterInstall", &hook)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the hook to begin", PATIENCE, || Ok(began.exists()))?;
        fleet.control.kill()?;
        let failing = until_failing(&fleet.agent)?;
        ensure!(failing["since"].is_string() && failing["why"].as_str().is_some_and(|why| why.len() > 10), "{failing}");
        std::fs::write(&go_on, "")?;
        until_true("status to say that a result waits", PATIENCE, || {
            Ok(fleet.agent.status()?["unreported"].as_array().is_some_and(|waiting| !waiting.is_empty()))
        })?;
        fleet.control.restart()?;
        succeeded(&finish(&fleet.api, &id, Duration::from_secs(150))?)?;
        ensure!(lines(&ran) == 1, "the hook ran {} times", lines(&ran));
        ensure!(page(&destination)? == "page");
        until_true("status to say that polls are answered", PATIENCE, || {
            Ok(connection(&fleet.agent)?["state"] == "connected")
        })
    })
}

#[test]
fn an_agent_that_starts_without_a_service_waits_for_it() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        fleet.control.kill()?;
        fleet.agent.start()?;
        until_failing(&fleet.agent)?;
        fleet.agent.program().context("it runs")?.must_run()?;
        fleet.control.restart()?;
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1", &app(&destination, "page", &[]), BundleKind::Zip)?;
        succeeded(&finish(&fleet.api, &fleet.group.begin(&bundle)?, Duration::from_secs(150))?)
    })
}

/// Answers all of the agent's commands with an error while it is on.
struct Refuses {
    on: Arc<AtomicBool>,
    status: u16,
    body: &'static str,
}

impl Rule for Refuses {
    fn request(&self, request: &Passing) -> Fate {
        if !self.on.load(Ordering::Relaxed) || request.operation.starts_with("GET ") {
            return Fate::Forward;
        }
        Fate::Answer(Answer { status: self.status, headers: http::HeaderMap::new(), body: self.body.into() })
    }
}

fn survives(status: u16, body: &'static str, said: &[&str]) -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let on = Arc::new(AtomicBool::new(true));
        let proxy = Proxy::start(&fleet.control, Refuses { on: Arc::clone(&on), status, body })?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let failing = until_failing(&fleet.agent)?;
        contains(failing["why"].as_str().unwrap_or_default(), said)?;
        let text = String::from_utf8(fleet.agent.output(&["status"])?.stdout)?;
        contains(&text, &["since"])?;
        contains(&text, said)?;
        on.store(false, Ordering::Relaxed);
        let bundle = fleet.group.push("v1", &app(&place.path().join("app"), "page", &[]), BundleKind::Zip)?;
        succeeded(&finish(&fleet.api, &fleet.group.begin(&bundle)?, Duration::from_secs(150))?)
    })
}

#[test]
fn an_agent_outlives_a_service_that_answers_500() -> Result<()> {
    survives(500, r#"{"__type":"ServerException","message":"out of order"}"#, &["500"])
}

#[test]
fn an_agent_outlives_a_balancer_that_answers_html() -> Result<()> {
    survives(503, "<html>Service Unavailable</html>", &["503"])
}

#[test]
fn a_throttled_agent_waits() -> Result<()> {
    survives(400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#, &["hrottl"])
}

#[test]
fn a_service_that_is_killed_in_the_middle_goes_on() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let all = ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];
        let ran = place.path().join("ran");
        let hook = format!("echo $LIFECYCLE_EVENT >> {}\nsleep 0.3", ran.display());
        let revision = app(&destination, "page", &all.map(|event| Hook::new(event, &hook)));
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        for count in 1..=3 {
            until_true("a hook to end", PATIENCE, || Ok(lines(&ran) >= count))?;
            fleet.control.kill()?;
            fleet.control.restart()?;
        }
        succeeded(&finish(&fleet.api, &id, Duration::from_secs(150))?)?;
        ensure!(std::fs::read_to_string(&ran)?.lines().collect::<Vec<_>>() == all, "each hook ran once, in order");
        ensure!(events(&fleet.api, &id)?.len() >= all.len());
        Ok(())
    })
}
