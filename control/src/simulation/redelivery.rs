//! Commands that are lost on the way, reported twice, or outlive the service.

use std::time::Duration;

use serde_json::json;
use slipway_protocol::commands::HostCommand;
use tokio::task::JoinHandle;

use super::agent::{Agent, Behaviour};
use super::{World, eventually, options, service_on, succeed};
use crate::deployments::EVENTS;
use crate::service::ServiceOptions;
use crate::timekeeper;

/// Begins a poll and gives it once it is held.
async fn held(agent: &Agent) -> JoinHandle<Option<HostCommand>> {
    let before = agent.service.polls(&agent.arn);
    let poller = agent.clone();
    let poll = tokio::spawn(async move { poller.poll().await });
    eventually(async || (agent.service.polls(&agent.arn) > before).then_some(())).await;
    poll
}

fn short(hold: u64, lease: u64) -> ServiceOptions {
    ServiceOptions { poll_hold: Duration::from_millis(hold), lease: Duration::from_millis(lease), ..options() }
}

#[tokio::test]
async fn an_offer_is_repeated_after_its_lease_and_not_before() {
    let world = World::with(short(0, 60_000), json!({})).await;
    let agent = world.host("web-1").await;
    world.deploy("v1.zip", json!({})).await;
    agent.expect("ApplicationStop").await;
    assert_eq!(agent.poll().await, None);

    let world = World::with(short(0, 1), json!({})).await;
    let agent = world.host("web-1").await;
    world.deploy("v1.zip", json!({})).await;
    let first = agent.expect("ApplicationStop").await;
    let second = eventually(async || agent.poll().await).await;
    assert_eq!(first.host_command_identifier, second.host_command_identifier);
    assert_eq!(agent.acknowledge(&second, false).await, "InProgress");
    assert_eq!(agent.poll().await, None, "a command that was taken is not offered again");
    assert_eq!(agent.acknowledge(&second, true).await, "InProgress", "the first acknowledgement counts");
}

#[tokio::test]
async fn the_first_result_counts() {
    let world = World::with(short(0, 60_000), json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" })).await;
    let agent = world.host("web-1").await;
    let id = world.deploy("v1.zip", json!({})).await;
    let command = agent.expect("ApplicationStop").await;
    agent.acknowledge(&command, false).await;
    agent.complete(&command, Behaviour::Fail).await;
    agent.complete(&command, Behaviour::Succeed).await;
    agent.complete(&command, Behaviour::Fail).await;
    assert_eq!(world.status(&id).await, "Failed");
    let (status, events) = world.target(&id, "web-1").await;
    assert_eq!((status.as_str(), events[0].1.as_str()), ("Failed", "Failed"));
    assert_eq!(agent.acknowledge(&command, false).await, "Failed");
    assert_eq!(agent.poll().await, None);
}

#[tokio::test]
async fn a_result_counts_without_an_acknowledgement() {
    let world = World::with(short(0, 60_000), json!({})).await;
    let agent = world.host("web-1").await;
    let id = world.deploy("v1.zip", json!({})).await;
    for event in EVENTS {
        let command = agent.expect(event).await;
        agent.complete(&command, Behaviour::Succeed).await;
    }
    assert_eq!(world.status(&id).await, "Succeeded");
    let events = world.raw_target(&id, "web-1").await["lifecycleEvents"].clone();
    assert!(events[0]["startTime"].is_number() && events[0]["endTime"].is_number(), "{events}");
}

#[tokio::test]
async fn only_events_with_hooks_can_have_nothing_to_do() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    world.deploy("v1.zip", json!({})).await;
    agent.step("ApplicationStop", Behaviour::Noop).await;
    let command = agent.expect("DownloadBundle").await;
    assert_eq!(agent.acknowledge(&command, true).await, "InProgress");
}

#[tokio::test]
async fn a_deployment_goes_on_in_the_next_service() {
    let world = World::with(short(0, 60_000), json!({})).await;
    let mut agent = world.host("web-1").await;
    let id = world.deploy("v1.zip", json!({})).await;
    agent.step("ApplicationStop", Behaviour::Noop).await;
    let running = agent.expect("DownloadBundle").await;
    assert_eq!(agent.acknowledge(&running, false).await, "InProgress");

    // The first service is not closed in any way: it could have been killed.
    let next = service_on(world.dir.path(), options()).await;
    let keeper = timekeeper::start(&next).await.unwrap();
    agent.service = next.clone();
    agent.complete(&running, Behaviour::Succeed).await;
    for event in &EVENTS[2..] {
        agent.step(event, Behaviour::Succeed).await;
    }
    assert_eq!(world.status(&id).await, "Succeeded");
    keeper.stop().await;
}

#[tokio::test]
async fn a_held_poll_is_woken_by_a_deployment_and_by_the_next_event() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    let poll = held(&agent).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let command = poll.await.unwrap().expect("the poll was held and got the command");
    assert_eq!(command.command_name, "ApplicationStop");
    let poll = held(&agent).await;
    agent.handle(&command, Behaviour::Succeed).await;
    assert_eq!(poll.await.unwrap().unwrap().command_name, "DownloadBundle");
    assert_eq!(world.status(&id).await, "InProgress");
}

#[tokio::test]
async fn a_held_poll_sees_what_another_process_wrote() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    let other = World { service: service_on(world.dir.path(), options()).await, dir: tempfile::tempdir().unwrap() };
    let poll = held(&agent).await;
    other.deploy("v1.zip", json!({})).await;
    assert_eq!(poll.await.unwrap().unwrap().command_name, "ApplicationStop");
}

#[tokio::test]
async fn a_newer_poll_ends_an_older_one_and_gets_the_command() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    let dead = held(&agent).await;
    let live = held(&agent).await;
    assert_eq!(dead.await.unwrap(), None);
    world.deploy("v1.zip", json!({})).await;
    assert!(live.await.unwrap().is_some());
}

#[tokio::test]
async fn closing_answers_held_polls() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    let keeper = timekeeper::start(&world.service).await.unwrap();
    let poll = held(&agent).await;
    keeper.stop().await;
    assert_eq!(poll.await.unwrap(), None);
}

#[tokio::test]
async fn hosts_of_one_service_do_not_wait_for_each_other() {
    let world = World::with(options(), json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" })).await;
    let agents = world.hosts(20).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let info = world.run(&id, &agents, succeed).await;
    assert_eq!(info["deploymentOverview"]["Succeeded"], 20);
}
