//! Hosts that are late, deployments that take too long, clocks that are set.

use std::time::Duration;

use serde_json::json;

use super::agent::Behaviour;
use super::{World, patient};
use crate::clock::Moment;
use crate::deployments::commands;
use crate::service::ServiceOptions;
use crate::timekeeper::{self, expire};

fn quick() -> ServiceOptions {
    ServiceOptions { poll_hold: Duration::ZERO, ..patient() }
}

fn in_(seconds: u64) -> Moment {
    Moment::now().after(Duration::from_secs(seconds))
}

#[tokio::test]
async fn a_host_that_takes_nothing_fails_after_five_minutes() {
    let world = World::with(quick(), json!({})).await;
    let agents = world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({})).await;
    expire(&world.service, in_(299)).await.unwrap();
    assert_eq!(world.status(&id).await, "InProgress");
    agents[0].expect("ApplicationStop").await;
    expire(&world.service, in_(301)).await.unwrap();
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Failed");
    let message = info["errorInformation"]["message"].as_str().unwrap();
    for part in
        ["did not take ApplicationStop within 5 min", "last heard at", "systemctl status slipway-agent", "user/web-0"]
    {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    let (status, events) = world.target(&id, "web-0").await;
    assert_eq!((status.as_str(), events[0].1.as_str(), events[1].1.as_str()), ("Failed", "Failed", "Skipped"));
}

#[tokio::test]
async fn a_deployment_says_which_host_keeps_it_waiting() {
    let world = World::with(quick(), json!({})).await;
    world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({})).await;
    assert_eq!(world.info(&id).await["deploymentStatusMessages"], json!([]));
    commands::shift_deadlines(&mut world.service.pool().acquire().await.unwrap(), -180_000).await.unwrap();
    let info = world.info(&id).await;
    let message = info["deploymentStatusMessages"][0].as_str().unwrap();
    assert_eq!(message, "web-0 has not taken ApplicationStop for 3 min; its agent has never been heard.");
}

#[tokio::test]
async fn a_host_that_was_never_heard_is_told_apart_and_not_ignored() {
    let world = World::with(quick(), json!({})).await;
    world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({ "ignoreApplicationStopFailures": true })).await;
    expire(&world.service, in_(301)).await.unwrap();
    let info = world.info(&id).await;
    assert_eq!(info["status"], "Failed");
    assert!(info["errorInformation"]["message"].as_str().unwrap().contains("never been heard"), "{info}");
}

#[tokio::test]
async fn an_event_without_a_result_times_out_and_a_late_result_changes_nothing() {
    let world = World::with(quick(), json!({})).await;
    let agents = world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({})).await;
    agents[0].step("ApplicationStop", Behaviour::Noop).await;
    let command = agents[0].expect("DownloadBundle").await;
    agents[0].acknowledge(&command, false).await;
    expire(&world.service, in_(4_190)).await.unwrap();
    assert_eq!(world.status(&id).await, "InProgress");
    expire(&world.service, in_(4_210)).await.unwrap();
    assert_eq!(world.status(&id).await, "Failed");
    agents[0].complete(&command, Behaviour::Succeed).await;
    let target = world.raw_target(&id, "web-0").await;
    assert_eq!(target["lifecycleEvents"][1]["status"], "Failed");
    let message = target["lifecycleEvents"][1]["diagnostics"]["message"].as_str().unwrap();
    assert!(message.contains("did not report the end of DownloadBundle within 70 min"), "{message}");
}

#[tokio::test]
async fn a_host_that_is_busy_with_another_group_is_not_late() {
    let world = World::with(quick(), json!({})).await;
    world.create_group("second", json!({})).await;
    let mut agent = world.host("web-1").await;
    agent.version = "OFFICIAL_1.8.1-1_deb";
    let first = world.deploy("v1.zip", json!({})).await;
    let busy = agent.expect("ApplicationStop").await;
    agent.acknowledge(&busy, false).await;
    let second = world.deploy("v1.zip", json!({ "deploymentGroupName": "second" })).await;
    expire(&world.service, in_(600)).await.unwrap();
    assert_eq!(
        (world.status(&first).await.as_str(), world.status(&second).await.as_str()),
        ("InProgress", "InProgress")
    );
    agent.complete(&busy, Behaviour::Succeed).await;
    expire(&world.service, in_(299)).await.unwrap();
    assert_eq!(world.status(&second).await, "InProgress", "its time begins when the host could have taken it");
}

#[tokio::test]
async fn a_deployment_has_twelve_hours() {
    let world = World::with(quick(), json!({})).await;
    let agents = world.hosts(2).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let name = world.ok("ListDeploymentTargets", json!({ "deploymentId": id })).await["targetIds"][0].clone();
    let agent = agents.iter().find(|agent| json!(agent.name) == name).unwrap();
    let command = agent.expect("ApplicationStop").await;
    agent.acknowledge(&command, false).await;
    // The event's own time is kept out of it.
    commands::shift_deadlines(&mut world.service.pool().acquire().await.unwrap(), 1_000).await.unwrap();
    sqlx::query("UPDATE commands SET deadline_ms = deadline_ms + 864000000")
        .execute(world.service.pool())
        .await
        .unwrap();
    expire(&world.service, in_(12 * 3600 - 60)).await.unwrap();
    agent.complete(&command, Behaviour::Succeed).await;
    let command = agent.expect("DownloadBundle").await;
    agent.acknowledge(&command, false).await;
    sqlx::query("UPDATE commands SET deadline_ms = deadline_ms + 864000000")
        .execute(world.service.pool())
        .await
        .unwrap();
    expire(&world.service, in_(12 * 3600 + 60)).await.unwrap();
    assert_eq!(world.status(&id).await, "InProgress", "the running event ends by itself");
    agent.complete(&command, Behaviour::Succeed).await;
    let info = world.info(&id).await;
    assert_eq!((info["status"].as_str(), info["errorInformation"]["code"].as_str()), (Some("Failed"), Some("TIMEOUT")));
    assert_eq!(info["deploymentOverview"]["Skipped"], 1);
}

#[tokio::test]
async fn a_clock_that_is_set_makes_nobody_late() {
    let world = World::with(quick(), json!({})).await;
    world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let years = 3 * 365 * 86_400;
    commands::shift_deadlines(&mut world.service.pool().acquire().await.unwrap(), years * 1000).await.unwrap();
    expire(&world.service, in_(years as u64 + 200)).await.unwrap();
    assert_eq!(world.status(&id).await, "InProgress");
    expire(&world.service, in_(years as u64 + 400)).await.unwrap();
    assert_eq!(world.status(&id).await, "Failed");
}

#[tokio::test]
async fn hosts_get_their_time_anew_when_the_service_was_away() {
    let world = World::with(quick(), json!({})).await;
    let agents = world.hosts(2).await;
    let id = world.deploy("v1.zip", json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" })).await;
    let command = agents[0].expect("ApplicationStop").await;
    agents[0].acknowledge(&command, false).await;
    // As if all had been long ago.
    commands::shift_deadlines(&mut world.service.pool().acquire().await.unwrap(), -20_000_000).await.unwrap();
    let keeper = timekeeper::start(&world.service).await.unwrap();
    expire(&world.service, Moment::now()).await.unwrap();
    keeper.stop().await;
    assert_eq!(world.info(&id).await["deploymentOverview"]["InProgress"], 2);
    agents[0].complete(&command, Behaviour::Succeed).await;
}

#[tokio::test]
async fn the_last_contact_outlives_the_service() {
    let world = World::with(quick(), json!({})).await;
    let agents = world.hosts(1).await;
    let keeper = timekeeper::start(&world.service).await.unwrap();
    assert_eq!(agents[0].poll().await, None);
    keeper.stop().await;
    let stored: Option<i64> =
        sqlx::query_scalar("SELECT last_seen_ms FROM instances").fetch_one(world.service.pool()).await.unwrap();
    assert!(stored.is_some());
}
