//! Commands that come twice, answers that are lost, and agents that are killed between commands.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use slipway_tests::deployment::{events, finish};
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::proxy::{Answer, Fate, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{page, succeeded};

/// Hooks that each leave a line.
const HOOKS: [&str; 4] = ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];

fn traced(place: &Place) -> Revision {
    let line = format!("echo $LIFECYCLE_EVENT >> {}", place.path().join("ran").display());
    app(&place.path().join("app"), "page", &HOOKS.map(|event| Hook::new(event, &line)))
}

fn each_hook_ran_once(place: &Place) -> Result<()> {
    let ran = std::fs::read_to_string(place.path().join("ran"))?;
    ensure!(ran.lines().collect::<Vec<_>>() == HOOKS, "the hooks ran as\n{ran}");
    ensure!(page(&place.path().join("app"))? == "page");
    Ok(())
}

/// Offers every command a second time after it was completed, as a service would that lost the completion.
#[derive(Default)]
struct OffersTwice {
    last: Mutex<Option<Answer>>,
    again: Mutex<Option<Answer>>,
    redelivered: Arc<AtomicUsize>,
}

impl Rule for OffersTwice {
    fn request(&self, request: &Passing) -> Fate {
        if request.operation != "PollHostCommand" {
            return Fate::Forward;
        }
        match self.again.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(answer) => {
                self.redelivered.fetch_add(1, Ordering::Relaxed);
                Fate::Answer(answer)
            }
            None => Fate::Forward,
        }
    }

    fn answer(&self, request: &Passing, answer: Answer) -> Answer {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match request.operation.as_str() {
            "PollHostCommand" if has_command(&answer) => *last = Some(answer.clone()),
            "PutHostCommandComplete" => *self.again.lock().unwrap_or_else(PoisonError::into_inner) = last.take(),
            _ => {}
        }
        answer
    }
}

fn has_command(answer: &Answer) -> bool {
    serde_json::from_slice::<Value>(&answer.body).is_ok_and(|body| body["HostCommand"].is_object())
}

#[test]
fn a_command_that_comes_again_is_not_run_again() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let rule = OffersTwice::default();
        let redelivered = Arc::clone(&rule.redelivered);
        let proxy = Proxy::start(&fleet.control, rule)?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &traced(place), BundleKind::Zip)?)?)?;
        each_hook_ran_once(place)?;
        let count = redelivered.load(Ordering::Relaxed);
        ensure!(count >= 3, "only {count} commands came again");
        Ok(())
    })
}

/// Loses the service's first answer to each distinct request of one operation.
struct LosesFirstAnswer {
    operation: &'static str,
    seen: Mutex<HashSet<Vec<u8>>>,
    lost: Arc<AtomicUsize>,
}

impl Rule for LosesFirstAnswer {
    fn request(&self, request: &Passing) -> Fate {
        if request.operation != self.operation {
            return Fate::Forward;
        }
        if self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(request.body.clone()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Fate::LoseAnswer;
        }
        Fate::Forward
    }
}

fn survives_lost_answers(operation: &'static str, at_least: usize) -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let lost = Arc::new(AtomicUsize::new(0));
        let rule = LosesFirstAnswer { operation, seen: Mutex::default(), lost: Arc::clone(&lost) };
        let proxy = Proxy::start(&fleet.control, rule)?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let id = fleet.group.begin(&fleet.group.push("v1", &traced(place), BundleKind::Tar)?)?;
        succeeded(&finish(&fleet.api, &id, Duration::from_secs(150))?)?;
        each_hook_ran_once(place)?;
        ensure!(lost.load(Ordering::Relaxed) >= at_least, "only {lost:?} answers were lost");
        Ok(())
    })
}

#[test]
fn a_lost_answer_to_a_completion_loses_nothing() -> Result<()> {
    survives_lost_answers("PutHostCommandComplete", HOOKS.len())
}

#[test]
fn a_lost_answer_to_an_acknowledgement_runs_nothing_twice() -> Result<()> {
    survives_lost_answers("PutHostCommandAcknowledgement", HOOKS.len())
}

#[test]
fn a_lost_answer_to_a_specification_is_asked_for_again() -> Result<()> {
    // The same request for each command of a deployment.
    survives_lost_answers("GetDeploymentSpecification", 1)
}

/// Loses the first answers to polls that bring a command: the service believes that the agent has it.
struct LosesCommands(Arc<AtomicUsize>);

impl LosesCommands {
    /// Each is offered again only when the service has waited for it.
    const MOST: usize = 2;
}

impl Rule for LosesCommands {
    fn loses(&self, request: &Passing, answer: &Answer) -> bool {
        request.operation == "PollHostCommand"
            && has_command(answer)
            && self.0.fetch_add(1, Ordering::Relaxed) < Self::MOST
    }
}

#[test]
fn a_command_that_is_lost_on_its_way_comes_again() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let offered = Arc::new(AtomicUsize::new(0));
        let proxy = Proxy::start(&fleet.control, LosesCommands(Arc::clone(&offered)))?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let id = fleet.group.begin(&fleet.group.push("v1", &traced(place), BundleKind::Tar)?)?;
        succeeded(&finish(&fleet.api, &id, Duration::from_secs(150))?)?;
        each_hook_ran_once(place)?;
        ensure!(offered.load(Ordering::Relaxed) > LosesCommands::MOST, "only {offered:?} commands were offered");
        Ok(())
    })
}

/// Holds commands back while it is on.
struct HoldsBack(Arc<AtomicBool>);

impl Rule for HoldsBack {
    fn request(&self, request: &Passing) -> Fate {
        if request.operation == "PollHostCommand" && self.0.load(Ordering::SeqCst) {
            return Fate::Answer(Answer { status: 200, headers: http::HeaderMap::new(), body: b"{}".to_vec() });
        }
        Fate::Forward
    }

    fn answer(&self, request: &Passing, answer: Answer) -> Answer {
        if request.operation == "PutHostCommandComplete" {
            // No further command until the agent was killed.
            self.0.store(true, Ordering::SeqCst);
        }
        answer
    }
}

#[test]
fn an_agent_that_is_killed_between_commands_goes_on() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let held = Arc::new(AtomicBool::new(false));
        let proxy = Proxy::start(&fleet.control, HoldsBack(Arc::clone(&held)))?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let id = fleet.group.begin(&fleet.group.push("v1", &traced(place), BundleKind::Tgz)?)?;
        let mut kills = 0;
        while events(&fleet.api, &id)?.iter().any(|event| !event.is_terminal()) || kills == 0 {
            until_true("a command to be completed", PATIENCE, || Ok(held.load(Ordering::SeqCst)))?;
            let done = events(&fleet.api, &id)?;
            fleet.agent.kill()?;
            kills += 1;
            held.store(false, Ordering::SeqCst);
            fleet.agent.start()?;
            if done.iter().all(slipway_tests::deployment::Event::is_terminal) && !done.is_empty() {
                break;
            }
        }
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)?;
        each_hook_ran_once(place)?;
        // Each hook, DownloadBundle and Install; ApplicationStop has nothing to do.
        ensure!(kills >= HOOKS.len() + 2, "only {kills} kills");
        Ok(())
    })
}
