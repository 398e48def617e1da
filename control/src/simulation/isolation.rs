//! Who may see and do what; how many commands a host has at a time.

use std::time::Duration;

use serde_json::json;

use super::agent::Behaviour;
use super::{World, administrator, patient, succeed};
use crate::deployments::{Version, host_may_read};
use crate::service::ServiceOptions;
use crate::{api, commands};

#[tokio::test]
async fn a_host_sees_nothing_of_another() {
    let world = World::with(patient(), json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" })).await;
    let (mine, other) = (world.host("web-1").await, world.host("web-2").await);
    world.deploy("v1.zip", json!({})).await;
    let theirs = other.expect("ApplicationStop").await;

    let error = mine.call("PollHostCommand", json!({ "HostIdentifier": other.arn })).await.unwrap_err();
    assert_eq!((error.name.as_str(), error.status), ("AccessDeniedException", 403));
    let input = json!({ "DeploymentExecutionId": theirs.deployment_execution_id, "HostIdentifier": other.arn });
    let error = mine.call("GetDeploymentSpecification", input).await.unwrap_err();
    assert_eq!(error.status, 403);
    for (operation, more) in [
        ("PutHostCommandAcknowledgement", json!({})),
        ("PutHostCommandComplete", json!({ "CommandStatus": "Failed" })),
        ("PostHostCommandUpdate", json!({})),
    ] {
        let mut input = json!({ "HostCommandIdentifier": theirs.host_command_identifier });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = mine.call(operation, input).await.unwrap_err();
        assert_eq!((error.name.as_str(), error.status), ("ClientException", 400), "{operation}");
    }
    assert_eq!(other.acknowledge(&theirs, false).await, "InProgress", "nothing of it had any effect");
}

#[tokio::test]
async fn a_specification_is_for_the_deployments_hosts_only() {
    let world = World::new().await;
    let member = world.host("web-1").await;
    world.deploy("v1.zip", json!({})).await;
    let command = member.expect("ApplicationStop").await;
    let stranger = world.host("web-2").await;
    for execution_id in
        [command.deployment_execution_id.as_str(), "codedeploy/a/b/d-000000000", "nonsense", "a/b/c/d/e"]
    {
        let input = json!({ "DeploymentExecutionId": execution_id, "HostIdentifier": stranger.arn });
        let error = stranger.call("GetDeploymentSpecification", input).await.unwrap_err();
        assert_eq!(error.name, "ClientException", "{execution_id}");
    }
}

#[tokio::test]
async fn hosts_and_administrators_keep_to_their_side() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    let error = api::handle(&world.service, &agent.caller(), "ListApplications", b"{}").await.unwrap_err();
    assert_eq!(error.status, 403);
    let body = json!({ "HostIdentifier": agent.arn }).to_string();
    let caller = administrator();
    let answer = commands::handle(&world.service, &caller, None, "PollHostCommand", body.as_bytes()).await;
    assert_eq!(answer.unwrap_err().status, 403);
}

#[tokio::test]
async fn a_host_reads_the_bundles_of_its_deployments_only() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    let may = async |arn: &str, key: &str| {
        host_may_read(world.service.pool(), arn, ("bundles", key), Version::Any).await.unwrap()
    };
    assert!(!may(&agent.arn, "v1.zip").await);
    world.deploy("v1.zip", json!({})).await;
    assert!(may(&agent.arn, "v1.zip").await);
    assert!(!may(&agent.arn, "v2.zip").await);
    let stranger = world.host("web-2").await;
    assert!(!may(&stranger.arn, "v1.zip").await);
    world.ok("DeregisterOnPremisesInstance", json!({ "instanceName": "web-1" })).await;
    assert!(!may(&agent.arn, "v1.zip").await, "a host that is deregistered reads nothing");
}

/// Two groups with the same host, each with a deployment.
async fn two_groups() -> World {
    let world = World::with(ServiceOptions { poll_hold: Duration::ZERO, ..patient() }, json!({})).await;
    world.create_group("second", json!({})).await;
    world
}

#[tokio::test]
async fn slipways_agents_get_one_command_for_each_group() {
    let world = two_groups().await;
    let agent = world.host("web-1").await;
    let first = world.deploy("v1.zip", json!({})).await;
    let second = world.deploy("v1.zip", json!({ "deploymentGroupName": "second" })).await;
    let (one, two) = (agent.expect("ApplicationStop").await, agent.expect("ApplicationStop").await);
    assert!(one.deployment_execution_id.ends_with(&first) && two.deployment_execution_id.ends_with(&second));
    assert_eq!(agent.poll().await, None);
    agent.handle(&two, Behaviour::Succeed).await;
    let next = agent.expect("DownloadBundle").await;
    assert!(next.deployment_execution_id.ends_with(&second));
}

#[tokio::test]
async fn other_agents_get_one_command_at_a_time() {
    let world = two_groups().await;
    let mut agent = world.host("web-1").await;
    agent.version = "OFFICIAL_1.8.1-1_deb";
    let first = world.deploy("v1.zip", json!({})).await;
    let second = world.deploy("v1.zip", json!({ "deploymentGroupName": "second" })).await;
    let one = agent.expect("ApplicationStop").await;
    assert_eq!(agent.poll().await, None);
    agent.acknowledge(&one, false).await;
    assert_eq!(agent.poll().await, None);
    agent.complete(&one, Behaviour::Succeed).await;
    assert!(agent.poll().await.is_some());
    agent.service = world.service.clone();
    drop(one);
    // However they take turns, both come to their end.
    let world = two_groups().await;
    let mut agent = world.host("web-1").await;
    agent.version = "OFFICIAL_1.8.1-1_deb";
    let ids = [
        world.deploy("v1.zip", json!({})).await,
        world.deploy("v1.zip", json!({ "deploymentGroupName": "second" })).await,
    ];
    assert_ne!(first, second);
    while let Some(command) = agent.poll().await {
        agent.handle(&command, Behaviour::Succeed).await;
    }
    for id in ids {
        assert_eq!(world.status(&id).await, "Succeeded");
    }
}

#[tokio::test]
async fn the_next_deployment_waits_for_a_stopped_ones_event() {
    let world = World::with(ServiceOptions { poll_hold: Duration::ZERO, ..patient() }, json!({})).await;
    let agents = world.hosts(1).await;
    let first = world.deploy("v1.zip", json!({})).await;
    world.ok("UpdateDeploymentGroup", json!({ "applicationName": "app", "currentDeploymentGroupName": "fleet" })).await;
    while world.status(&first).await == "InProgress" {
        let command = agents[0].poll().await.unwrap();
        agents[0].handle(&command, Behaviour::Succeed).await;
    }
    let id = world.deploy("v2.zip", json!({})).await;
    let running = agents[0].expect("ApplicationStop").await;
    agents[0].acknowledge(&running, false).await;
    world.ok("StopDeployment", json!({ "deploymentId": id, "autoRollbackEnabled": true })).await;
    assert_eq!(agents[0].poll().await, None);
    agents[0].complete(&running, Behaviour::Succeed).await;
    assert_eq!(agents[0].expect("ApplicationStop").await.command_name, "ApplicationStop");
    let rollback = world.info(&id).await["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap().to_owned();
    assert_eq!(world.status(&rollback).await, "InProgress");
}

#[tokio::test]
async fn malformed_requests_are_the_agents_fault() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    for (operation, body) in [
        ("PollHostCommand", &b"{}"[..]),
        ("PollHostCommand", b"not json"),
        ("PutHostCommandAcknowledgement", b"{}"),
        ("PutHostCommandComplete", br#"{"HostCommandIdentifier":"x","CommandStatus":"Maybe"}"#),
        ("PutHostCommandComplete", br#"{"HostCommandIdentifier":"x","CommandStatus":"InProgress"}"#),
        ("PutHostCommandComplete", br#"{"HostCommandIdentifier":"x","CommandStatus":"Failed"}"#),
    ] {
        let error = commands::handle(&world.service, &agent.caller(), None, operation, body).await.unwrap_err();
        assert_eq!((error.name.as_str(), error.status), ("ClientException", 400), "{operation}");
    }
    let error = agent.call("MakeCoffee", json!({})).await.unwrap_err();
    assert_eq!((error.name.as_str(), error.status), ("UnknownOperationException", 404));
    let id = world.deploy("v1.zip", json!({})).await;
    world.run(&id, &[agent], succeed).await;
}
