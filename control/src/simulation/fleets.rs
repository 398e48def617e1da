//! Fleets by deployment configuration, and what operators see of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::agent::Behaviour;
use super::{World, revision, succeed};
use crate::apps::{self, groups};
use crate::deployments::EVENTS;
use crate::ids::{ApplicationName, GroupName};
use crate::tags::{Selection, TagFilter};

#[tokio::test]
async fn one_host_runs_all_events_in_order() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    let id = world.deploy("v1.zip", json!({ "description": "first" })).await;
    assert_eq!(world.status(&id).await, "InProgress");
    for event in EVENTS {
        let noop = !["DownloadBundle", "Install", "ValidateService"].contains(&event);
        agent.step(event, if noop { Behaviour::Noop } else { Behaviour::Succeed }).await;
    }
    let info = world.info(&id).await;
    assert_eq!((info["status"].as_str(), info["description"].as_str()), (Some("Succeeded"), Some("first")));
    assert_eq!(info["creator"], "user");
    assert_eq!(info["deploymentConfigName"], "CodeDeployDefault.OneAtATime");
    assert_eq!(info["deploymentOverview"]["Succeeded"], 1);
    assert_eq!(info["revision"], revision("v1.zip"));
    for time in ["createTime", "startTime", "completeTime"] {
        assert!(info[time].as_f64().unwrap() > 1.0e9, "{time}");
    }
    let (status, events) = world.target(&id, "web-1").await;
    assert_eq!(status, "Succeeded");
    assert_eq!(events, EVENTS.map(|event| (event.to_owned(), "Succeeded".to_owned())));

    let group =
        world.ok("GetDeploymentGroup", json!({ "applicationName": "app", "deploymentGroupName": "fleet" })).await;
    let group = &group["deploymentGroupInfo"];
    assert_eq!(group["targetRevision"], revision("v1.zip"));
    assert_eq!(group["lastSuccessfulDeployment"]["deploymentId"], id);
    assert_eq!(group["lastAttemptedDeployment"]["status"], "Succeeded");
}

#[tokio::test]
async fn the_specification_holds_what_agents_need() {
    let world = World::new().await;
    let agent = world.host("web-1").await;
    let id = world.deploy("v1.tgz", json!({ "fileExistsBehavior": "OVERWRITE" })).await;
    let command = agent.expect("ApplicationStop").await;
    let mut specification = agent.specification(&command).await;
    let binding = specification.as_object_mut().unwrap().remove("SlipwayBinding").unwrap();
    let group =
        world.ok("GetDeploymentGroup", json!({ "applicationName": "app", "deploymentGroupName": "fleet" })).await;
    let expected = json!({
        "DeploymentId": id,
        "DeploymentGroupId": group["deploymentGroupInfo"]["deploymentGroupId"],
        "DeploymentGroupName": "fleet",
        "ApplicationName": "app",
        "DeploymentCreator": "user",
        "DeploymentType": "IN_PLACE",
        "AppSpecFilename": "appspec.yml",
        "AgentActionOverrides": { "AgentOverrides": { "FileExistsBehavior": "OVERWRITE" } },
        "Revision": {
            "RevisionType": "S3",
            "S3Revision": { "Bucket": "bundles", "Key": "v1.tgz", "BundleType": "zip", "Version": null, "ETag": null },
        },
    });
    assert_eq!(specification, expected);
    let number = |member: &str| binding[member].as_i64().unwrap();
    assert!(binding["HostIdentifier"].as_str().unwrap().ends_with("user/web-1"), "{binding}");
    assert_eq!(number("ExpiresAt") - number("IssuedAt"), 3600);

    // The next deployment of the group has a higher number, however soon it comes.
    world.ok("StopDeployment", json!({ "deploymentId": id })).await;
    world.deploy("v2.tgz", json!({})).await;
    let command = agent.expect("ApplicationStop").await;
    let next = agent.specification(&command).await["SlipwayBinding"]["Sequence"].as_i64().unwrap();
    assert!(next > number("Sequence"), "{next} follows on {binding}");
}

/// Runs a fleet and gives how the deployment ended, how many hosts it says were in progress at
/// most, and how many began.
async fn run_fleet(config: &str, hosts: usize, failing: &'static [usize]) -> (String, usize, usize) {
    let world = World::new().await;
    let agents = world.hosts(hosts).await;
    let id = world.deploy("v1.zip", json!({ "deploymentConfigName": config })).await;
    let (now, most, begun) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&begun));
    let info = world
        .run(&id, &agents, move |_, event| {
            let (now, most, begun) = &counters;
            match event {
                "ApplicationStop" => {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    begun.fetch_add(1, Ordering::SeqCst);
                    Behaviour::Noop
                }
                "ValidateService" => {
                    now.fetch_sub(1, Ordering::SeqCst);
                    // Hosts are taken at random: those that fail are counted by their beginning.
                    let place = begun.load(Ordering::SeqCst) - 1;
                    if failing.contains(&place) { Behaviour::Fail } else { Behaviour::Succeed }
                }
                _ => Behaviour::Succeed,
            }
        })
        .await;
    let overview = &info["deploymentOverview"];
    let ended = overview["Succeeded"].as_u64().unwrap() + overview["Failed"].as_u64().unwrap();
    assert_eq!(ended + overview["Skipped"].as_u64().unwrap(), hosts as u64);
    assert_eq!(ended as usize, begun.load(Ordering::SeqCst));
    (info["status"].as_str().unwrap().to_owned(), most.load(Ordering::SeqCst), begun.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time() {
    let name = "CodeDeployDefault.OneAtATime";
    assert_eq!(run_fleet(name, 3, &[]).await, ("Succeeded".into(), 1, 3));
    assert_eq!(run_fleet(name, 3, &[2]).await, ("Succeeded".into(), 1, 3), "the last host may fail");
    assert_eq!(run_fleet(name, 3, &[1]).await, ("Failed".into(), 1, 2));
    assert_eq!(run_fleet(name, 1, &[0]).await, ("Failed".into(), 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_at_a_time() {
    let (status, most, begun) = run_fleet("CodeDeployDefault.HalfAtATime", 9, &[]).await;
    assert_eq!((status.as_str(), begun), ("Succeeded", 9));
    assert!((2..=4).contains(&most), "{most} at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_at_once_succeeds_if_one_does() {
    let world = World::new().await;
    let agents = world.hosts(5).await;
    let all = json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" });
    let id = world.deploy("v1.zip", all.clone()).await;
    assert_eq!(world.info(&id).await["deploymentOverview"]["InProgress"], 5);
    let only = |name: &str, event: &str| {
        if event == "Install" && name != "web-3" { Behaviour::Fail } else { Behaviour::Succeed }
    };
    let info = world.run(&id, &agents, only).await;
    assert_eq!((info["status"].as_str(), info["deploymentOverview"]["Failed"].as_u64()), (Some("Succeeded"), Some(4)));

    let id = world.deploy("v2.zip", all).await;
    let info = world.run(&id, &agents, |_, _| Behaviour::Fail).await;
    assert_eq!(info["status"], "Failed");
    assert_eq!(info["errorInformation"]["code"], "HEALTH_CONSTRAINTS");
}

#[tokio::test]
async fn a_custom_configuration_rules_and_keeps_its_name() {
    let world = World::new().await;
    let minimum = json!({ "type": "HOST_COUNT", "value": 2 });
    world
        .ok("CreateDeploymentConfig", json!({ "deploymentConfigName": "two-stay", "minimumHealthyHosts": minimum }))
        .await;
    let agents = world.hosts(5).await;
    let id = world.deploy("v1.zip", json!({ "deploymentConfigName": "two-stay" })).await;
    assert_eq!(world.info(&id).await["deploymentOverview"]["InProgress"], 3);
    assert_eq!(world.run(&id, &agents, succeed).await["status"], "Succeeded");
}

#[tokio::test]
async fn a_deployment_that_cannot_begin_says_why() {
    let world = World::new().await;
    let id = world.deploy("v1.zip", json!({})).await;
    let info = world.info(&id).await;
    assert_eq!(
        (info["status"].as_str(), info["errorInformation"]["code"].as_str()),
        (Some("Failed"), Some("NO_INSTANCES"))
    );

    world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({ "deploymentConfigName": "CodeDeployDefault.HalfAtATime" })).await;
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "HEALTH_CONSTRAINTS_INVALID");
    assert!(info["errorInformation"]["message"].as_str().unwrap().contains("at least 1"), "{info}");
}

#[tokio::test]
async fn a_group_has_one_deployment_at_a_time() {
    let world = World::new().await;
    let agents = world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let again = json!({ "applicationName": "app", "deploymentGroupName": "fleet", "revision": revision("v2.zip") });
    let error = world.refused("CreateDeployment", again.clone()).await;
    assert_eq!(error.name, "DeploymentLimitExceededException");
    assert!(error.message.contains(&id), "{error}");
    world.run(&id, &agents, succeed).await;
    world.ok("CreateDeployment", again).await;
}

#[tokio::test]
async fn hosts_that_cannot_be_selected_are_not_passed_over_in_silence() {
    let world = World::new().await;
    world.create_group("cloud", json!({ "onPremisesInstanceTagFilters": [] })).await;
    // An earlier version stored groups with EC2 tags.
    let mut change = world.service.change().await.unwrap();
    let name = |name: &str| Some(name.to_owned());
    let application = ApplicationName::from_request(name("app")).unwrap();
    let application = apps::find(change.db(), &application).await.unwrap();
    let cloud = GroupName::from_request(name("cloud")).unwrap();
    let mut group = groups::find(change.db(), &application, &cloud).await.unwrap();
    group.settings.ec2 = Selection::Any(vec![TagFilter::Key("fleet".to_owned())]);
    groups::update(change.db(), &application, &group, &cloud).await.unwrap();
    change.commit().await.unwrap();
    let id = world.deploy("v1.zip", json!({ "deploymentGroupName": "cloud" })).await;
    let info = world.info(&id).await;
    assert_eq!(info["errorInformation"]["code"], "NO_INSTANCES");
    assert!(info["deploymentStatusMessages"][0].as_str().unwrap().contains("EC2 tag filters"), "{info}");
}

#[tokio::test]
async fn only_outdated_hosts_on_request() {
    let world = World::new().await;
    let mut agents = world.hosts(2).await;
    let id = world.deploy("v1.zip", json!({})).await;
    world.run(&id, &agents, succeed).await;
    let all_current = world.deploy("v1.zip", json!({ "updateOutdatedInstancesOnly": true })).await;
    let info = world.info(&all_current).await;
    assert_eq!(info["status"], "Succeeded");
    assert!(info["deploymentStatusMessages"][0].as_str().unwrap().contains("2 of 2"), "{info}");

    agents.push(world.host("web-new").await);
    let input =
        json!({ "applicationName": "app", "deploymentGroupName": "fleet", "updateOutdatedInstancesOnly": true });
    let id = world.ok("CreateDeployment", input).await["deploymentId"].as_str().unwrap().to_owned();
    let targets = world.ok("ListDeploymentTargets", json!({ "deploymentId": id })).await;
    assert_eq!(targets["targetIds"], json!(["web-new"]));
    assert_eq!(world.run(&id, &agents, succeed).await["revision"], revision("v1.zip"));
}

#[tokio::test]
async fn a_restart_uses_what_the_hosts_kept() {
    let world = World::new().await;
    let agents = world.hosts(1).await;
    let restart = json!({ "applicationName": "app", "deploymentGroupName": "fleet", "deploymentMode": "RESTART" });
    assert_eq!(world.refused("CreateDeployment", restart.clone()).await.name, "RevisionDoesNotExistException");
    // What the API's model has for an ordinary deployment.
    let first = world.deploy("v1.zip", json!({ "deploymentMode": "STANDARD" })).await;
    world.run(&first, &agents, succeed).await;
    let id = world.ok("CreateDeployment", restart).await["deploymentId"].as_str().unwrap().to_owned();
    let command = agents[0].expect("ApplicationStop").await;
    assert_eq!(agents[0].specification(&command).await["ReuseArchiveFromDeploymentId"], json!(first));
    assert_eq!(world.info(&id).await["revision"], revision("v1.zip"));
}

#[tokio::test]
async fn hosts_whose_last_deployment_failed_come_first() {
    let world = World::with(super::options(), json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" })).await;
    let agents = world.hosts(6).await;
    let id = world.deploy("v1.zip", json!({})).await;
    world.run(&id, &agents, |name, _| if name == "web-4" { Behaviour::Fail } else { Behaviour::Succeed }).await;
    world.host("web-new").await;
    let id = world.deploy("v2.zip", json!({})).await;
    let targets = world.ok("ListDeploymentTargets", json!({ "deploymentId": id })).await;
    let order: Vec<&str> = targets["targetIds"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!((order.len(), &order[..2]), (7, &["web-4", "web-new"][..]));
}
