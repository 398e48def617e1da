//! Automatic rollback.

use serde_json::{Value, json};

use super::agent::{Agent, Behaviour};
use super::{World, options, revision, succeed};

fn rule(events: &[&str]) -> Value {
    json!({ "autoRollbackConfiguration": { "enabled": true, "events": events } })
}

async fn deployed(world: &World, agents: &[Agent], key: &str) -> String {
    let id = world.deploy(key, json!({ "fileExistsBehavior": "RETAIN" })).await;
    assert_eq!(world.run(&id, agents, succeed).await["status"], "Succeeded");
    id
}

#[tokio::test]
async fn a_failure_is_rolled_back_to_the_last_success() {
    let world = World::with(options(), rule(&["DEPLOYMENT_FAILURE"])).await;
    let agents = world.hosts(2).await;
    deployed(&world, &agents, "v1.zip").await;
    deployed(&world, &agents, "v2.zip").await;

    let failing = world.deploy("v3.zip", json!({ "fileExistsBehavior": "OVERWRITE" })).await;
    let info = world
        .run(
            &failing,
            &agents,
            |_, event| if event == "ValidateService" { Behaviour::Fail } else { Behaviour::Succeed },
        )
        .await;
    assert_eq!(info["status"], "Failed");
    let rollback = info["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap().to_owned();

    let info = world.run(&rollback, &agents, succeed).await;
    assert_eq!((info["status"].as_str(), info["creator"].as_str()), (Some("Succeeded"), Some("codeDeployRollback")));
    assert_eq!((&info["revision"], &info["fileExistsBehavior"]), (&revision("v2.zip"), &json!("RETAIN")));
    assert_eq!(info["rollbackInfo"]["rollbackTriggeringDeploymentId"], json!(failing));
    assert_eq!(
        info["rollbackInfo"]["rollbackMessage"],
        format!("Deployment {rollback} is triggered to roll back deployment {failing}.")
    );
    let list = world.ok("ListDeployments", json!({ "applicationName": "app", "deploymentGroupName": "fleet" })).await;
    assert_eq!(list["deployments"].as_array().unwrap().len(), 4);
    assert_eq!(list["deployments"][0], json!(rollback));
}

#[tokio::test]
async fn agents_are_told_that_it_is_a_rollback() {
    let world = World::with(options(), rule(&["DEPLOYMENT_FAILURE"])).await;
    let agents = world.hosts(1).await;
    deployed(&world, &agents, "v1.zip").await;
    let failing = world.deploy("v2.zip", json!({})).await;
    world.run(&failing, &agents, |_, _| Behaviour::Fail).await;
    // An agent that was ended in the middle of a poll may have taken the command along.
    let id = world.info(&failing).await["rollbackInfo"]["rollbackDeploymentId"].as_str().unwrap().to_owned();
    let execution = crate::deployments::specification::execution_id(world.service.realm(), &id);
    let input = json!({ "DeploymentExecutionId": execution, "HostIdentifier": agents[0].arn });
    assert!(agents[0].call("GetDeploymentSpecification", input).await.is_ok());
    assert_eq!(world.info(&id).await["creator"], "codeDeployRollback");
}

#[tokio::test]
async fn a_rollback_that_fails_is_not_rolled_back() {
    let world = World::with(options(), rule(&["DEPLOYMENT_FAILURE"])).await;
    let agents = world.hosts(1).await;
    deployed(&world, &agents, "v1.zip").await;
    let failing = world.deploy("v2.zip", json!({})).await;
    let rollback =
        world.run(&failing, &agents, |_, _| Behaviour::Fail).await["rollbackInfo"]["rollbackDeploymentId"].clone();
    let info = world.run(rollback.as_str().unwrap(), &agents, |_, _| Behaviour::Fail).await;
    assert_eq!(info["status"], "Failed");
    assert_eq!(info["rollbackInfo"].get("rollbackDeploymentId"), None);
    let active = world.ok("ListDeployments", json!({ "includeOnlyStatuses": ["Created", "InProgress"] })).await;
    assert_eq!(active["deployments"], json!([]));
}

#[tokio::test]
async fn without_an_earlier_success_it_says_so() {
    let world = World::with(options(), rule(&["DEPLOYMENT_FAILURE"])).await;
    let agents = world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let info = world.run(&id, &agents, |_, _| Behaviour::Fail).await;
    let message = info["rollbackInfo"]["rollbackMessage"].as_str().unwrap();
    assert!(message.contains("no successful deployment"), "{message}");
}

#[tokio::test]
async fn without_a_rule_nothing_is_rolled_back() {
    let world = World::new().await;
    let agents = world.hosts(1).await;
    deployed(&world, &agents, "v1.zip").await;
    let id = world.deploy("v2.zip", json!({})).await;
    let info = world.run(&id, &agents, |_, _| Behaviour::Fail).await;
    assert_eq!(info.get("rollbackInfo"), None);
}

#[tokio::test]
async fn a_deployments_own_rule_goes_before_its_groups() {
    let world = World::with(options(), rule(&["DEPLOYMENT_FAILURE"])).await;
    let agents = world.hosts(1).await;
    deployed(&world, &agents, "v1.zip").await;
    let id = world.deploy("v2.zip", json!({ "autoRollbackConfiguration": { "enabled": false, "events": [] } })).await;
    let info = world.run(&id, &agents, |_, _| Behaviour::Fail).await;
    assert_eq!(info.get("rollbackInfo"), None);
}

#[tokio::test]
async fn a_stop_is_rolled_back_by_rule_or_by_request() {
    let request = json!("DEPLOYMENT_STOP_ON_REQUEST");
    for (events, asked, expected) in [
        (vec![], Some(true), true),
        (vec![request.clone()], None, true),
        (vec![request.clone()], Some(false), false),
        (vec![json!("DEPLOYMENT_FAILURE")], None, false),
    ] {
        let rule = json!({ "autoRollbackConfiguration": { "enabled": !events.is_empty(), "events": events } });
        let world = World::with(options(), rule).await;
        let agents = world.hosts(1).await;
        deployed(&world, &agents, "v1.zip").await;
        let id = world.deploy("v2.zip", json!({})).await;
        let command = agents[0].expect("ApplicationStop").await;
        assert_eq!(agents[0].acknowledge(&command, false).await, "InProgress");
        let mut input = json!({ "deploymentId": id });
        if let Some(asked) = asked {
            input["autoRollbackEnabled"] = json!(asked);
        }
        world.ok("StopDeployment", input).await;
        assert_eq!(world.info(&id).await.get("rollbackInfo"), None, "it has not ended yet");
        agents[0].complete(&command, Behaviour::Succeed).await;
        let info = world.info(&id).await;
        assert_eq!(info["status"], "Stopped");
        let rollback = info["rollbackInfo"]["rollbackDeploymentId"].as_str();
        assert_eq!(rollback.is_some(), expected, "{events:?} {asked:?}");
        if let Some(rollback) = rollback {
            assert_eq!(world.run(rollback, &agents, succeed).await["revision"], revision("v1.zip"));
        }
    }
}
