//! Hosts that fail, deployments that are stopped.

use serde_json::json;

use super::agent::Behaviour;
use super::{World, patient, succeed};
use crate::deployments::EVENTS;

fn statuses(events: &[(String, String)]) -> Vec<&str> {
    events.iter().map(|(_, status)| status.as_str()).collect()
}

#[tokio::test]
async fn the_first_failure_is_told_in_full_and_the_rest_is_skipped() {
    let world = World::new().await;
    let agents = world.hosts(3).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let info = world
        .run(&id, &agents, |_, event| if event == "AfterInstall" { Behaviour::Fail } else { Behaviour::Succeed })
        .await;
    assert_eq!(info["status"], "Failed");
    assert_eq!(
        (info["deploymentOverview"]["Failed"].as_u64(), info["deploymentOverview"]["Skipped"].as_u64()),
        (Some(1), Some(2))
    );
    let failed =
        world.ok("ListDeploymentInstances", json!({ "deploymentId": id, "instanceStatusFilter": ["Failed"] })).await;
    let failed = failed["instancesList"][0].as_str().unwrap();
    let message = info["errorInformation"]["message"].as_str().unwrap();
    for part in [
        "too many individual instances failed",
        failed,
        "AfterInstall",
        "scripts/check.sh",
        "ScriptFailed",
        "ended with 7",
        "last words",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    let (status, events) = world.target(&id, failed).await;
    assert_eq!(status, "Failed");
    assert_eq!(statuses(&events), ["Succeeded", "Succeeded", "Succeeded", "Succeeded", "Failed", "Skipped", "Skipped"]);

    let instance = world.ok("GetDeploymentInstance", json!({ "deploymentId": id, "instanceId": failed })).await;
    let diagnostics = &instance["instanceSummary"]["lifecycleEvents"][4]["diagnostics"];
    assert_eq!(diagnostics["errorCode"], "ScriptFailed");
    assert_eq!(diagnostics["scriptName"], "scripts/check.sh");
    assert_eq!(diagnostics["logTail"], "one\ntwo\nlast words");
}

#[tokio::test]
async fn a_failing_stop_script_can_be_ignored() {
    for (ignore, status) in [(true, "Succeeded"), (false, "Failed")] {
        let world = World::new().await;
        let agents = world.hosts(1).await;
        let id = world.deploy("v1.zip", json!({ "ignoreApplicationStopFailures": ignore })).await;
        let stop = |_: &str, event: &str| if event == "ApplicationStop" { Behaviour::Fail } else { Behaviour::Succeed };
        assert_eq!(world.run(&id, &agents, stop).await["status"], status);
        let (_, events) = world.target(&id, "web-0").await;
        assert_eq!(events[0].1, "Failed");
    }
}

#[tokio::test]
async fn stopping_lets_the_running_event_end_and_sends_nothing_more() {
    let world = World::with(patient(), json!({})).await;
    let agents = world.hosts(2).await;
    let id = world.deploy("v1.zip", json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" })).await;
    let (running, offered) = (&agents[0], &agents[1]);
    running.step("ApplicationStop", Behaviour::Noop).await;
    let command = running.expect("DownloadBundle").await;
    assert_eq!(running.acknowledge(&command, false).await, "InProgress");
    let untaken = offered.expect("ApplicationStop").await;

    let stopped = world.ok("StopDeployment", json!({ "deploymentId": id })).await;
    assert_eq!(stopped["status"], "Pending");
    assert_eq!(world.status(&id).await, "InProgress");
    assert_eq!(offered.acknowledge(&untaken, false).await, "Failed");
    offered.complete(&untaken, Behaviour::Succeed).await;
    running.complete(&command, Behaviour::Succeed).await;

    let info = world.info(&id).await;
    assert_eq!(
        (info["status"].as_str(), info["errorInformation"]["code"].as_str()),
        (Some("Stopped"), Some("MANUAL_STOP"))
    );
    let (status, events) = world.target(&id, "web-0").await;
    assert_eq!((status.as_str(), &statuses(&events)[..3]), ("Failed", &["Succeeded", "Succeeded", "Skipped"][..]));
    let (status, events) = world.target(&id, "web-1").await;
    assert_eq!((status.as_str(), statuses(&events)), ("Skipped", vec!["Skipped"; EVENTS.len()]));
    let error = world.refused("StopDeployment", json!({ "deploymentId": id })).await;
    assert_eq!(error.name, "DeploymentAlreadyCompletedException");
}

#[tokio::test]
async fn stopping_before_any_host_began_ends_at_once() {
    let world = World::new().await;
    world.hosts(3).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let stopped = world.ok("StopDeployment", json!({ "deploymentId": id, "autoRollbackEnabled": true })).await;
    assert_eq!(stopped["status"], "Succeeded");
    let info = world.info(&id).await;
    assert_eq!((info["status"].as_str(), info["deploymentOverview"]["Skipped"].as_u64()), (Some("Stopped"), Some(3)));
    let message = info["rollbackInfo"]["rollbackMessage"].as_str().unwrap();
    assert!(message.contains("no host had begun"), "{message}");
}

#[tokio::test]
async fn deleting_a_group_ends_its_deployment() {
    let world = World::new().await;
    world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({})).await;
    world.ok("DeleteDeploymentGroup", json!({ "applicationName": "app", "deploymentGroupName": "fleet" })).await;
    let info = world.info(&id).await;
    assert_eq!(
        (info["status"].as_str(), info["errorInformation"]["code"].as_str()),
        (Some("Failed"), Some("DEPLOYMENT_GROUP_MISSING"))
    );

    world.create_group("fleet", json!({})).await;
    let id = world.deploy("v1.zip", json!({})).await;
    world.ok("DeleteApplication", json!({ "applicationName": "app" })).await;
    assert_eq!(world.info(&id).await["errorInformation"]["code"], "APPLICATION_MISSING");
}

#[tokio::test]
async fn a_host_that_was_deregistered_is_deployed_to_no_more() {
    let world = World::new().await;
    let agents = world.hosts(2).await;
    world.ok("DeregisterOnPremisesInstance", json!({ "instanceName": "web-1" })).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let targets = world.ok("ListDeploymentTargets", json!({ "deploymentId": id })).await;
    assert_eq!(targets["targetIds"], json!(["web-0"]));
    assert_eq!(world.run(&id, &agents[..1], succeed).await["status"], "Succeeded");
    let error = agents[1].call("PollHostCommand", json!({ "HostIdentifier": agents[1].arn })).await.unwrap_err();
    assert_eq!((error.name.as_str(), error.status), ("ClientException", 400));
}

#[tokio::test]
async fn a_host_that_was_deregistered_gets_no_command_by_a_held_poll_and_no_specification() {
    let world = World::with(patient(), json!({})).await;
    let agent = world.host("web-0").await;
    let id = world.deploy("v1.zip", json!({})).await;
    let command = agent.expect("ApplicationStop").await;
    let input = json!({ "DeploymentExecutionId": command.deployment_execution_id, "HostIdentifier": agent.arn });
    agent.call("GetDeploymentSpecification", input.clone()).await.unwrap();
    agent.acknowledge(&command, false).await;
    let poll = {
        let (service, arn) = (world.service.clone(), agent.arn.clone());
        let agent = super::agent::Agent::new(service, "web-0", &arn);
        tokio::spawn(async move { agent.call("PollHostCommand", json!({ "HostIdentifier": agent.arn })).await })
    };
    while world.service.polls(&agent.arn) < 2 {
        tokio::task::yield_now().await;
    }
    world.ok("DeregisterOnPremisesInstance", json!({ "instanceName": "web-0" })).await;
    agent.complete(&command, Behaviour::Succeed).await;
    let held = poll.await.unwrap();
    assert!(held.as_ref().is_err() || *held.as_ref().unwrap() == json!({}), "{id}: {held:?}");
    let error = agent.call("GetDeploymentSpecification", input).await.unwrap_err();
    assert_eq!(error.name, "ClientException");
    // Once more, as after an upgrade from a version that left keys valid.
    world.ok("DeregisterOnPremisesInstance", json!({ "instanceName": "web-0" })).await;
}
