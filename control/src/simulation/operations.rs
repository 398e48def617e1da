//! Operations of the public API apart from deployments.

use serde_json::{Value, json};

use super::{World, revision, succeed};

/// All operations that there are, and whether this service has them.
const OPERATIONS: [(&str, bool); 47] = [
    ("AddTagsToOnPremisesInstances", true),
    ("BatchGetApplicationRevisions", true),
    ("BatchGetApplications", true),
    ("BatchGetDeploymentGroups", true),
    ("BatchGetDeploymentInstances", true),
    ("BatchGetDeploymentTargets", true),
    ("BatchGetDeployments", true),
    ("BatchGetOnPremisesInstances", true),
    ("ContinueDeployment", false),
    ("CreateApplication", true),
    ("CreateDeployment", true),
    ("CreateDeploymentConfig", true),
    ("CreateDeploymentGroup", true),
    ("DeleteApplication", true),
    ("DeleteDeploymentConfig", true),
    ("DeleteDeploymentGroup", true),
    ("DeleteGitHubAccountToken", false),
    ("DeleteResourcesByExternalId", false),
    ("DeregisterOnPremisesInstance", true),
    ("GetApplication", true),
    ("GetApplicationRevision", true),
    ("GetDeployment", true),
    ("GetDeploymentConfig", true),
    ("GetDeploymentGroup", true),
    ("GetDeploymentInstance", true),
    ("GetDeploymentTarget", true),
    ("GetOnPremisesInstance", true),
    ("ListApplicationRevisions", true),
    ("ListApplications", true),
    ("ListDeploymentConfigs", true),
    ("ListDeploymentGroups", true),
    ("ListDeploymentInstances", true),
    ("ListDeploymentTargets", true),
    ("ListDeployments", true),
    ("ListGitHubAccountTokenNames", false),
    ("ListOnPremisesInstances", true),
    ("ListTagsForResource", true),
    ("PutLifecycleEventHookExecutionStatus", false),
    ("RegisterApplicationRevision", true),
    ("RegisterOnPremisesInstance", true),
    ("RemoveTagsFromOnPremisesInstances", true),
    ("SkipWaitTimeForInstanceTermination", false),
    ("StopDeployment", true),
    ("TagResource", true),
    ("UntagResource", true),
    ("UpdateApplication", true),
    ("UpdateDeploymentGroup", true),
];

#[tokio::test]
async fn every_operation_is_known_and_says_what_it_lacks() {
    let world = World::new().await;
    for (operation, is_there) in OPERATIONS {
        match world.api(operation, json!({})).await {
            Ok(_) => assert!(is_there, "{operation}"),
            Err(error) => {
                assert_eq!(error.status, 400, "{operation}: {error}");
                assert_eq!(error.message.contains("is not supported"), !is_there, "{operation}: {error}");
                assert!(!is_there || error.name.ends_with("RequiredException"), "{operation}: {error}");
            }
        }
    }
    let error = world.refused("MakeCoffee", json!({})).await;
    assert_eq!((error.status, error.name.as_str()), (404, "UnknownOperationException"));
}

#[tokio::test]
async fn applications_and_groups_are_renamed_with_their_history() {
    let world = World::new().await;
    let agents = world.hosts(1).await;
    let id = world.deploy("v1.zip", json!({})).await;
    world.run(&id, &agents, succeed).await;
    let group = |app: &str, name: &str| json!({ "applicationName": app, "deploymentGroupName": name });
    let before = world.ok("GetDeploymentGroup", group("app", "fleet")).await["deploymentGroupInfo"].clone();
    world.ok("UpdateApplication", json!({ "applicationName": "app", "newApplicationName": "shop" })).await;
    let renamed =
        json!({ "applicationName": "shop", "currentDeploymentGroupName": "fleet", "newDeploymentGroupName": "web" });
    world.ok("UpdateDeploymentGroup", renamed).await;
    let after = world.ok("GetDeploymentGroup", group("shop", "web")).await["deploymentGroupInfo"].clone();
    assert_eq!(before["deploymentGroupId"], after["deploymentGroupId"]);
    assert_eq!(before["onPremisesInstanceTagFilters"], after["onPremisesInstanceTagFilters"]);
    let info = world.info(&id).await;
    assert_eq!((info["applicationName"].as_str(), info["deploymentGroupName"].as_str()), (Some("shop"), Some("web")));
    let list = world.ok("ListDeployments", group("shop", "web")).await;
    assert_eq!(list["deployments"], json!([id]));
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_leaves_the_rest() {
    let world = World::new().await;
    let update = |more: Value| {
        let mut input = json!({ "applicationName": "app", "currentDeploymentGroupName": "fleet" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let rule = json!({ "enabled": true, "events": ["DEPLOYMENT_FAILURE"] });
    world
        .ok(
            "UpdateDeploymentGroup",
            update(json!({ "autoRollbackConfiguration": rule, "deploymentConfigName": "CodeDeployDefault.AllAtOnce" })),
        )
        .await;
    let sets = json!([[{ "Key": "a", "Type": "KEY_ONLY" }], [{ "Value": "b", "Type": "VALUE_ONLY" }]]);
    let by_sets = json!({ "onPremisesTagSet": { "onPremisesTagSetList": sets }, "onPremisesInstanceTagFilters": [] });
    world.ok("UpdateDeploymentGroup", update(by_sets)).await;
    let group =
        world.ok("GetDeploymentGroup", json!({ "applicationName": "app", "deploymentGroupName": "fleet" })).await;
    let group = &group["deploymentGroupInfo"];
    assert_eq!(group["autoRollbackConfiguration"], rule);
    assert_eq!(group["deploymentConfigName"], "CodeDeployDefault.AllAtOnce");
    assert_eq!(group["onPremisesTagSet"]["onPremisesTagSetList"], sets);
    assert_eq!(group["onPremisesInstanceTagFilters"], json!([]));
}

#[tokio::test]
async fn configurations_come_and_go() {
    let world = World::new().await;
    let name = json!({ "deploymentConfigName": "mine" });
    let minimum = json!({ "type": "FLEET_PERCENT", "value": 75 });
    world.ok("CreateDeploymentConfig", json!({ "deploymentConfigName": "mine", "minimumHealthyHosts": minimum })).await;
    let list = world.ok("ListDeploymentConfigs", json!({})).await;
    let expected =
        ["CodeDeployDefault.OneAtATime", "CodeDeployDefault.HalfAtATime", "CodeDeployDefault.AllAtOnce", "mine"];
    assert_eq!(list["deploymentConfigsList"], json!(expected));
    let config = world.ok("GetDeploymentConfig", name.clone()).await;
    assert_eq!(config["deploymentConfigInfo"]["minimumHealthyHosts"], minimum);
    let default = world.ok("GetDeploymentConfig", json!({ "deploymentConfigName": expected[0] })).await;
    assert_eq!(
        default["deploymentConfigInfo"]["minimumHealthyHosts"],
        json!({ "type": "MOST_CONCURRENCY", "value": 1 })
    );

    let update =
        json!({ "applicationName": "app", "currentDeploymentGroupName": "fleet", "deploymentConfigName": "mine" });
    world.ok("UpdateDeploymentGroup", update).await;
    assert_eq!(world.refused("DeleteDeploymentConfig", name.clone()).await.name, "DeploymentConfigInUseException");
    world.ok("DeleteDeploymentGroup", json!({ "applicationName": "app", "deploymentGroupName": "fleet" })).await;
    world.ok("DeleteDeploymentConfig", name.clone()).await;
    assert_eq!(world.refused("GetDeploymentConfig", name).await.name, "DeploymentConfigDoesNotExistException");
}

#[tokio::test]
async fn instances_are_registered_tagged_and_found() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        let arn = format!("arn:aws:iam::123456789012:user/CodeDeploy/{name}");
        world.ok("RegisterOnPremisesInstance", json!({ "instanceName": name, "iamUserArn": arn })).await;
    }
    let session = "arn:aws:sts::123456789012:assumed-role/hosts/d";
    world.ok("RegisterOnPremisesInstance", json!({ "instanceName": "d", "iamSessionArn": session })).await;
    let tags = json!([{ "Key": "role", "Value": "web" }, { "Key": "stage", "Value": "prod" }]);
    world.ok("AddTagsToOnPremisesInstances", json!({ "instanceNames": ["a", "b"], "tags": tags })).await;
    world
        .ok(
            "RemoveTagsFromOnPremisesInstances",
            json!({ "instanceNames": ["b"], "tags": [{ "Key": "stage", "Value": "test" }] }),
        )
        .await;
    world
        .ok(
            "RemoveTagsFromOnPremisesInstances",
            json!({ "instanceNames": ["b"], "tags": [{ "Key": "stage", "Value": "prod" }] }),
        )
        .await;
    let list = async |input: Value| world.ok("ListOnPremisesInstances", input).await["instanceNames"].clone();
    assert_eq!(list(json!({})).await, json!(["a", "b", "c", "d"]));
    assert_eq!(list(json!({ "tagFilters": [{ "Key": "stage", "Type": "KEY_ONLY" }] })).await, json!(["a"]));
    assert_eq!(
        list(json!({ "tagFilters": [{ "Key": "role", "Value": "web", "Type": "KEY_AND_VALUE" }] })).await,
        json!(["a", "b"])
    );
    let info = world.ok("GetOnPremisesInstance", json!({ "instanceName": "b" })).await["instanceInfo"].clone();
    assert_eq!(info["tags"], json!([{ "Key": "role", "Value": "web" }]));
    assert_eq!(info["iamUserArn"], "arn:aws:iam::123456789012:user/CodeDeploy/b");
    assert!(info["registerTime"].is_number() && info.get("deregisterTime").is_none());

    world.ok("DeregisterOnPremisesInstance", json!({ "instanceName": "c" })).await;
    assert_eq!(list(json!({ "registrationStatus": "Registered" })).await, json!(["a", "b", "d"]));
    assert_eq!(list(json!({ "registrationStatus": "Deregistered" })).await, json!(["c"]));
    let info = world.ok("GetOnPremisesInstance", json!({ "instanceName": "c" })).await["instanceInfo"].clone();
    assert!(info["deregisterTime"].is_number() && info["tags"] == json!([]));
    let batch = world.ok("BatchGetOnPremisesInstances", json!({ "instanceNames": ["d", "none", "a"] })).await;
    let names: Vec<&Value> =
        batch["instanceInfos"].as_array().unwrap().iter().map(|info| &info["instanceName"]).collect();
    assert_eq!(names, [&json!("d"), &json!("a")]);
    assert_eq!(batch["instanceInfos"][0]["iamSessionArn"], session);
}

#[tokio::test]
async fn revisions_are_registered_used_and_listed() {
    let world = World::new().await;
    let agents = world.hosts(1).await;
    let register = async |key: &str| {
        let input = json!({ "applicationName": "app", "revision": revision(key), "description": key });
        world.ok("RegisterApplicationRevision", input).await;
    };
    for key in ["web/1.zip", "web/2.zip", "api/1.zip"] {
        register(key).await;
    }
    let id = world.deploy("web/1.zip", json!({})).await;
    world.run(&id, &agents, succeed).await;
    let list = async |more: Value| {
        let mut input = json!({ "applicationName": "app" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = world.ok("ListApplicationRevisions", input).await;
        let keys = answer["revisions"].as_array().unwrap().iter();
        keys.map(|location| location["s3Location"]["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(json!({})).await, ["web/1.zip", "web/2.zip", "api/1.zip"], "ascending, as AWS's reference has it");
    assert_eq!(list(json!({ "sortOrder": "descending" })).await, ["api/1.zip", "web/2.zip", "web/1.zip"]);
    assert_eq!(list(json!({ "sortBy": "lastUsedTime", "sortOrder": "descending" })).await[0], "web/1.zip");
    assert_eq!(
        list(json!({ "s3Bucket": "bundles", "s3KeyPrefix": "web/", "deployed": "exclude" })).await,
        ["web/2.zip"]
    );
    assert_eq!(list(json!({ "deployed": "include" })).await, ["web/1.zip"]);
    let wanted = json!({ "applicationName": "app", "revision": revision("web/1.zip") });
    let info = world.ok("GetApplicationRevision", wanted).await["revisionInfo"].clone();
    assert_eq!((&info["deploymentGroups"], &info["description"]), (&json!(["fleet"]), &json!("web/1.zip")));
    assert!(info["firstUsedTime"].is_number() && info["registerTime"].is_number());
    let batch = json!({ "applicationName": "app", "revisions": [revision("web/2.zip"), revision("none.zip")] });
    let batch = world.ok("BatchGetApplicationRevisions", batch).await;
    assert_eq!(batch["revisions"].as_array().unwrap().len(), 1);
    assert!(batch["errorMessage"].as_str().unwrap().contains('1'));
}

#[tokio::test]
async fn resources_have_tags() {
    let world = World::new().await;
    for arn in ["application:app", "deploymentgroup:app/fleet"] {
        let arn = world.service.realm().arn(arn);
        let more = format!("{arn}:more");
        assert_eq!(
            world.refused("ListTagsForResource", json!({ "ResourceArn": more })).await.name,
            "InvalidArnException"
        );
        for (part, other) in [("arn:aws:", "arn:aws-cn:"), ("123456789012", "999999999999"), ("eu-west-1", "us-east-1")]
        {
            let elsewhere = json!({ "ResourceArn": arn.replace(part, other) });
            assert_eq!(world.refused("ListTagsForResource", elsewhere).await.name, "InvalidArnException", "{other}");
        }
        let reserved = json!({ "ResourceArn": arn, "Tags": [{ "Key": "aws:x", "Value": "1" }] });
        assert_eq!(world.refused("TagResource", reserved).await.name, "InvalidTagsToAddException");
        world
            .ok(
                "TagResource",
                json!({ "ResourceArn": arn, "Tags": [{ "Key": "a", "Value": "1" }, { "Key": "b", "Value": "2" }] }),
            )
            .await;
        world.ok("UntagResource", json!({ "ResourceArn": arn, "TagKeys": ["a"] })).await;
        let tags = world.ok("ListTagsForResource", json!({ "ResourceArn": arn })).await;
        assert_eq!(tags["Tags"], json!([{ "Key": "b", "Value": "2" }]));
    }
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let world = World::new().await;
    let mut made = vec!["app".to_owned()];
    for number in 0..120 {
        let name = format!("app-{number:03}");
        world.ok("CreateApplication", json!({ "applicationName": name })).await;
        made.push(name);
    }
    let first = world.ok("ListApplications", json!({})).await;
    assert_eq!(first["applications"].as_array().unwrap().len(), 100);
    let second = world.ok("ListApplications", json!({ "nextToken": first["nextToken"] })).await;
    assert_eq!(second.get("nextToken"), None);
    let both: Vec<&Value> =
        [&first, &second].into_iter().flat_map(|page| page["applications"].as_array().unwrap()).collect();
    assert_eq!(both, made.iter().map(|name| json!(name)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_is_stable_whatever_comes_and_goes_and_its_token_belongs_to_its_list() {
    let world = World::new().await;
    let group = |name: String| {
        let role = "arn:aws:iam::123456789012:role/any";
        json!({ "applicationName": "app", "deploymentGroupName": name, "serviceRoleArn": role })
    };
    for number in 0..120 {
        world.ok("CreateDeploymentGroup", group(format!("group-{number:03}"))).await;
        let register = json!({ "applicationName": "app", "revision": revision(&format!("{number:03}.zip")) });
        world.ok("RegisterApplicationRevision", register).await;
    }
    let list = json!({ "applicationName": "app" });
    let first = world.ok("ListDeploymentGroups", list.clone()).await;
    let shown: Vec<String> = serde_json::from_value(first["deploymentGroups"].clone()).unwrap();
    // One of the first page goes, and two come in front of it.
    let gone = json!({ "applicationName": "app", "deploymentGroupName": shown[1] });
    world.ok("DeleteDeploymentGroup", gone).await;
    for name in ["a-1", "a-2"] {
        world.ok("CreateDeploymentGroup", group(name.to_owned())).await;
    }
    let token = first["nextToken"].clone();
    let second = world.ok("ListDeploymentGroups", json!({ "applicationName": "app", "nextToken": token })).await;
    let rest: Vec<String> = serde_json::from_value(second["deploymentGroups"].clone()).unwrap();
    assert_eq!(rest.first().map(String::as_str), Some("group-099"), "after {:?}", shown.last());
    assert_eq!(rest.len(), 21);

    let descending = json!({ "applicationName": "app", "sortOrder": "descending" });
    let first = world.ok("ListApplicationRevisions", descending.clone()).await;
    let last_shown = first["revisions"][99]["s3Location"]["key"].clone();
    let newer = json!({ "applicationName": "app", "revision": revision("newer.zip") });
    world.ok("RegisterApplicationRevision", newer).await;
    let mut next = descending;
    next["nextToken"] = first["nextToken"].clone();
    let second = world.ok("ListApplicationRevisions", next.clone()).await;
    assert_eq!((&last_shown, &second["revisions"][0]["s3Location"]["key"]), (&json!("020.zip"), &json!("019.zip")));

    next["sortOrder"] = json!("ascending");
    let elsewhere = [
        ("ListApplicationRevisions", next.clone()),
        ("ListDeploymentGroups", json!({ "applicationName": "app", "nextToken": next["nextToken"] })),
        ("ListDeployments", json!({ "nextToken": next["nextToken"] })),
    ];
    for (operation, input) in elsewhere {
        let error = world.refused(operation, input).await;
        assert_eq!(error.name, "InvalidNextTokenException");
        assert!(error.message.contains("another list"), "{error}");
    }
}

#[tokio::test]
async fn deployments_are_listed_newest_first_by_what_is_asked() {
    let world = World::new().await;
    let agents = world.hosts(1).await;
    let first = world.deploy("v1.zip", json!({})).await;
    world.run(&first, &agents, succeed).await;
    let second = world.deploy("v2.zip", json!({})).await;
    let list = async |input: Value| world.ok("ListDeployments", input).await["deployments"].clone();
    assert_eq!(list(json!({})).await, json!([second, first]));
    assert_eq!(list(json!({ "includeOnlyStatuses": ["Succeeded", "Failed"] })).await, json!([first]));
    let created = world.info(&second).await["createTime"].as_f64().unwrap();
    assert_eq!(list(json!({ "createTimeRange": { "start": created } })).await, json!([second]));
    assert_eq!(list(json!({ "createTimeRange": { "start": 0, "end": created - 0.001 } })).await, json!([first]));
    assert_eq!(list(json!({ "createTimeRange": { "start": created + 60.0 } })).await, json!([]));
    let batch = world.ok("BatchGetDeployments", json!({ "deploymentIds": [first, "d-AAAAAAAAA"] })).await;
    assert_eq!(batch["deploymentsInfo"].as_array().unwrap().len(), 1);
    assert_eq!(world.info(&second).await["previousRevision"], revision("v1.zip"));
}

#[tokio::test]
async fn both_families_of_reads_name_the_same_hosts() {
    let world = World::new().await;
    world.hosts(2).await;
    let id = world.deploy("v1.zip", json!({})).await;
    let targets = world.ok("ListDeploymentTargets", json!({ "deploymentId": id })).await["targetIds"].clone();
    let instances = world.ok("ListDeploymentInstances", json!({ "deploymentId": id })).await["instancesList"].clone();
    assert_eq!((&targets, targets.as_array().unwrap().len()), (&instances, 2));
    let many = |count: usize| json!({ "deploymentId": id, "instanceIds": vec!["web-0"; count] });
    world.ok("BatchGetDeploymentInstances", many(25)).await;
    assert_eq!(world.refused("BatchGetDeploymentInstances", many(26)).await.name, "BatchLimitExceededException");
    let pending = json!({ "deploymentId": id, "targetFilters": { "TargetStatus": ["Pending"] } });
    assert_eq!(world.ok("ListDeploymentTargets", pending).await["targetIds"], json!([targets[1]]));

    let batch = world.ok("BatchGetDeploymentTargets", json!({ "deploymentId": id, "targetIds": targets })).await;
    let target = &batch["deploymentTargets"][0]["instanceTarget"];
    assert_eq!((&target["targetId"], &target["status"]), (&targets[0], &json!("InProgress")));
    let batch = world
        .ok("BatchGetDeploymentInstances", json!({ "deploymentId": id, "instanceIds": [targets[0], "none"] }))
        .await;
    assert_eq!(batch["instancesSummary"][0]["instanceId"], target["targetArn"]);
    assert!(batch["errorMessage"].as_str().unwrap().contains("none"));
    let by_arn = json!({ "deploymentId": id, "targetId": target["targetArn"] });
    assert_eq!(
        world.ok("GetDeploymentTarget", by_arn).await["deploymentTarget"]["instanceTarget"]["targetId"],
        targets[0]
    );

    for (operation, member, error) in [
        ("GetDeploymentTarget", "targetId", "DeploymentTargetDoesNotExistException"),
        ("GetDeploymentInstance", "instanceId", "InstanceDoesNotExistException"),
    ] {
        assert_eq!(world.refused(operation, json!({ "deploymentId": id, member: "none" })).await.name, error);
    }
    let labels = json!({ "deploymentId": id, "targetFilters": { "ServerInstanceLabel": ["Blue"] } });
    assert_eq!(world.refused("ListDeploymentTargets", labels).await.name, "InvalidDeploymentInstanceTypeException");
}

#[tokio::test]
async fn the_embedded_s3_fixes_what_every_host_gets() {
    let world = World::new().await;
    let agents = world.hosts(1).await;
    let store = async |version: &str, sha256: &str| {
        for statement in [
            "INSERT OR IGNORE INTO buckets (name, created_at) VALUES ('bundles', 0)",
            "UPDATE objects SET is_latest = 0",
        ] {
            sqlx::query(statement).execute(world.service.pool()).await.unwrap();
        }
        sqlx::query(
            "INSERT INTO objects (bucket, key, version_id, is_latest, delete_marker, blob, etag, sha256, created_at) \
             VALUES ('bundles', 'app.zip', ?1, 1, 0, ?1, 'e' || ?1, ?2, 0)",
        )
        .bind(version)
        .bind(sha256)
        .execute(world.service.pool())
        .await
        .unwrap();
    };
    store("one", &"1".repeat(64)).await;
    let s3 = async |id: &str| {
        let execution = crate::deployments::specification::execution_id(world.service.realm(), id);
        let command = agents[0].expect("ApplicationStop").await;
        assert_eq!(command.deployment_execution_id, execution);
        agents[0].specification(&command).await["Revision"]["S3Revision"].clone()
    };
    let id = world.deploy("app.zip", json!({})).await;
    let first = s3(&id).await;
    assert_eq!((&first["Version"], &first["ChecksumSHA256"]), (&json!("one"), &json!("1".repeat(64))));
    store("two", &"2".repeat(64)).await;
    assert_eq!(world.info(&id).await["revision"], revision("app.zip"), "shown as the user wrote it");
    world.ok("StopDeployment", json!({ "deploymentId": id })).await;

    let id = world.deploy("app.zip", json!({})).await;
    assert_eq!(s3(&id).await["Version"], "two");
    world.ok("StopDeployment", json!({ "deploymentId": id })).await;
    let mut by_etag = revision("app.zip");
    by_etag["s3Location"]["eTag"] = json!("eone");
    let input =
        |revision: Value| json!({ "applicationName": "app", "deploymentGroupName": "fleet", "revision": revision });
    let id = world.ok("CreateDeployment", input(by_etag)).await["deploymentId"].as_str().unwrap().to_owned();
    assert_eq!(s3(&id).await["Version"], "one");
    world.ok("StopDeployment", json!({ "deploymentId": id })).await;
    let error = world.refused("CreateDeployment", input(revision("missing.zip"))).await;
    assert_eq!(error.name, "RevisionDoesNotExistException");
}
