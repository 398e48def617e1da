//! What is refused, and by which name.

use serde_json::{Value, json};

use super::{World, revision};

/// A rollback that no alarm will ever ask for.
fn on_alarm() -> Value {
    json!({ "autoRollbackConfiguration": { "enabled": true, "events": ["DEPLOYMENT_STOP_ON_ALARM"] } })
}

#[tokio::test]
async fn errors_have_the_names_of_the_reference() {
    let world = World::new().await;
    world.hosts(1).await;
    let group = |more: Value| {
        let mut input = json!({ "applicationName": "app", "deploymentGroupName": "new", "serviceRoleArn": "arn:aws:iam::1:role/r" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let deployment = |more: Value| {
        let mut input =
            json!({ "applicationName": "app", "deploymentGroupName": "fleet", "revision": revision("v1.zip") });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let style =
        |kind: &str, option: &str| json!({ "deploymentStyle": { "deploymentType": kind, "deploymentOption": option } });
    let filter = json!([{ "Key": "a" }]);
    for (operation, input, name) in [
        ("CreateApplication", json!({ "applicationName": "app" }), "ApplicationAlreadyExistsException"),
        ("CreateApplication", json!({ "applicationName": "a b" }), "InvalidApplicationNameException"),
        (
            "CreateApplication",
            json!({ "applicationName": "x", "computePlatform": "ECS" }),
            "InvalidComputePlatformException",
        ),
        ("CreateApplication", json!({ "applicationName": 7 }), "SerializationException"),
        ("GetApplication", json!({ "applicationName": "none" }), "ApplicationDoesNotExistException"),
        (
            "UpdateApplication",
            json!({ "applicationName": "none", "newApplicationName": "x" }),
            "ApplicationDoesNotExistException",
        ),
        (
            "CreateDeploymentGroup",
            group(json!({ "deploymentGroupName": "fleet" })),
            "DeploymentGroupAlreadyExistsException",
        ),
        ("CreateDeploymentGroup", group(json!({ "serviceRoleArn": null })), "RoleRequiredException"),
        ("CreateDeploymentGroup", group(json!({ "serviceRoleArn": "role" })), "InvalidRoleException"),
        (
            "CreateDeploymentGroup",
            group(json!({ "deploymentConfigName": "none" })),
            "DeploymentConfigDoesNotExistException",
        ),
        (
            "CreateDeploymentGroup",
            group(json!({ "onPremisesInstanceTagFilters": [{ "Type": "KEY_ONLY" }] })),
            "InvalidTagException",
        ),
        ("CreateDeploymentGroup", group(json!({ "ec2TagFilters": [{}] })), "InvalidEC2TagException"),
        ("CreateDeploymentGroup", group(json!({ "ec2TagFilters": [{ "Key": "fleet" }] })), "InvalidEC2TagException"),
        (
            "CreateDeploymentGroup",
            group(json!({ "ec2TagSet": { "ec2TagSetList": [[{ "Key": "fleet" }]] } })),
            "InvalidEC2TagException",
        ),
        ("CreateDeploymentGroup", group(json!({ "autoScalingGroups": ["web"] })), "InvalidAutoScalingGroupException"),
        (
            "UpdateDeploymentGroup",
            json!({ "applicationName": "app", "currentDeploymentGroupName": "fleet", "autoScalingGroups": ["web"] }),
            "InvalidAutoScalingGroupException",
        ),
        (
            "UpdateDeploymentGroup",
            json!({ "applicationName": "app", "currentDeploymentGroupName": "fleet", "ec2TagFilters": [{ "Key": "x" }] }),
            "InvalidEC2TagException",
        ),
        ("CreateDeploymentGroup", group(json!({ "terminationHookEnabled": true })), "InvalidInputException"),
        ("CreateDeploymentGroup", group(on_alarm()), "InvalidAutoRollbackConfigException"),
        ("CreateDeployment", deployment(on_alarm()), "InvalidAutoRollbackConfigException"),
        (
            "CreateDeployment",
            json!({ "applicationName": "app", "deploymentGroupName": "fleet", "deploymentMode": "RESTART",
                    "updateOutdatedInstancesOnly": true }),
            "InvalidUpdateOutdatedInstancesOnlyValueException",
        ),
        ("CreateDeployment", deployment(json!({ "deploymentMode": "SLOW" })), "InvalidInputException"),
        ("GetApplication", json!(["app"]), "SerializationException"),
        ("CreateDeployment", deployment(json!({ "revision": ["S3"] })), "SerializationException"),
        (
            "BatchGetOnPremisesInstances",
            json!({ "instanceNames": (0..26).map(|n| format!("web-{n}")).collect::<Vec<_>>() }),
            "BatchLimitExceededException",
        ),
        (
            "AddTagsToOnPremisesInstances",
            json!({ "instanceNames": ["web-0"], "tags": [{ "Key": "AWS:x", "Value": "v" }] }),
            "InvalidTagException",
        ),
        (
            "ListTagsForResource",
            json!({ "ResourceArn": "arn:aws:codedeploy:eu-west-1:123456789012:application:none" }),
            "InvalidArnException",
        ),
        (
            "CreateDeploymentGroup",
            group(
                json!({ "onPremisesInstanceTagFilters": filter, "onPremisesTagSet": { "onPremisesTagSetList": [filter] } }),
            ),
            "InvalidOnPremisesTagCombinationException",
        ),
        (
            "CreateDeploymentGroup",
            group(json!({ "onPremisesTagSet": { "onPremisesTagSetList": [filter, filter, filter, filter] } })),
            "TagSetListLimitExceededException",
        ),
        (
            "CreateDeploymentGroup",
            group(json!({ "autoRollbackConfiguration": { "enabled": true } })),
            "InvalidAutoRollbackConfigException",
        ),
        (
            "CreateDeploymentGroup",
            group(json!({ "autoRollbackConfiguration": { "events": ["X"] } })),
            "InvalidAutoRollbackConfigException",
        ),
        (
            "CreateDeploymentGroup",
            group(style("BLUE_GREEN", "WITHOUT_TRAFFIC_CONTROL")),
            "InvalidDeploymentStyleException",
        ),
        ("CreateDeploymentGroup", group(style("IN_PLACE", "WITH_TRAFFIC_CONTROL")), "InvalidDeploymentStyleException"),
        (
            "CreateDeploymentGroup",
            group(json!({ "alarmConfiguration": { "enabled": true } })),
            "InvalidAlarmConfigException",
        ),
        (
            "CreateDeploymentGroup",
            group(json!({ "triggerConfigurations": [{ "triggerName": "t" }] })),
            "InvalidTriggerConfigException",
        ),
        (
            "CreateDeploymentGroup",
            group(json!({ "loadBalancerInfo": { "elbInfoList": [] } })),
            "InvalidLoadBalancerInfoException",
        ),
        (
            "GetDeploymentGroup",
            json!({ "applicationName": "app", "deploymentGroupName": "none" }),
            "DeploymentGroupDoesNotExistException",
        ),
        ("CreateDeployment", deployment(json!({ "revision": null })), "RevisionRequiredException"),
        ("CreateDeployment", deployment(json!({ "revision": { "revisionType": "S3" } })), "InvalidRevisionException"),
        (
            "CreateDeployment",
            deployment(json!({ "deploymentGroupName": null })),
            "DeploymentGroupNameRequiredException",
        ),
        (
            "CreateDeployment",
            deployment(json!({ "deploymentGroupName": "none" })),
            "DeploymentGroupDoesNotExistException",
        ),
        (
            "CreateDeployment",
            deployment(json!({ "deploymentConfigName": "none" })),
            "DeploymentConfigDoesNotExistException",
        ),
        (
            "CreateDeployment",
            deployment(json!({ "fileExistsBehavior": "MAYBE" })),
            "InvalidFileExistsBehaviorException",
        ),
        ("CreateDeployment", deployment(json!({ "description": "x".repeat(257) })), "DescriptionTooLongException"),
        (
            "CreateDeployment",
            deployment(json!({ "targetInstances": { "tagFilters": [] } })),
            "InvalidTargetInstancesException",
        ),
        ("CreateDeployment", deployment(json!({ "deploymentMode": "MAYBE" })), "InvalidInputException"),
        ("GetDeployment", json!({ "deploymentId": "x" }), "InvalidDeploymentIdException"),
        ("GetDeployment", json!({ "deploymentId": "d-AAAAAAAAA" }), "DeploymentDoesNotExistException"),
        ("ListDeployments", json!({ "applicationName": "app" }), "DeploymentGroupNameRequiredException"),
        ("ListDeployments", json!({ "includeOnlyStatuses": ["Running"] }), "InvalidDeploymentStatusException"),
        ("ListDeployments", json!({ "createTimeRange": { "start": 2, "end": 1.5 } }), "InvalidTimeRangeException"),
        ("ListDeployments", json!({ "nextToken": "x" }), "InvalidNextTokenException"),
        ("GetDeploymentConfig", json!({ "deploymentConfigName": "none" }), "DeploymentConfigDoesNotExistException"),
        (
            "CreateDeploymentConfig",
            json!({ "deploymentConfigName": "CodeDeployDefault.Mine", "minimumHealthyHosts": { "type": "HOST_COUNT", "value": 1 } }),
            "InvalidDeploymentConfigNameException",
        ),
        (
            "CreateDeploymentConfig",
            json!({ "deploymentConfigName": "c", "minimumHealthyHosts": { "type": "FLEET_PERCENT", "value": 100 } }),
            "InvalidMinimumHealthyHostValueException",
        ),
        (
            "CreateDeploymentConfig",
            json!({ "deploymentConfigName": "c", "minimumHealthyHosts": { "type": "HOST_COUNT", "value": -1 } }),
            "InvalidMinimumHealthyHostValueException",
        ),
        (
            "DeleteDeploymentConfig",
            json!({ "deploymentConfigName": "CodeDeployDefault.AllAtOnce" }),
            "InvalidOperationException",
        ),
        ("RegisterOnPremisesInstance", json!({ "instanceName": "x" }), "IamArnRequiredException"),
        (
            "RegisterOnPremisesInstance",
            json!({ "instanceName": "x", "iamUserArn": "a", "iamSessionArn": "b" }),
            "MultipleIamArnsProvidedException",
        ),
        (
            "RegisterOnPremisesInstance",
            json!({ "instanceName": "x", "iamUserArn": "arn:aws:iam::1:user/x" }),
            "InvalidIamUserArnException",
        ),
        (
            "RegisterOnPremisesInstance",
            json!({ "instanceName": "x", "iamSessionArn": "arn:aws:iam::123456789012:user/x" }),
            "InvalidIamSessionArnException",
        ),
        (
            "RegisterOnPremisesInstance",
            json!({ "instanceName": "web-0", "iamUserArn": "arn:aws:iam::123456789012:user/web-0" }),
            "InstanceNameAlreadyRegisteredException",
        ),
        (
            "RegisterOnPremisesInstance",
            json!({ "instanceName": "x", "iamUserArn": "arn:aws:iam::123456789012:user/web-0" }),
            "IamUserArnAlreadyRegisteredException",
        ),
        ("GetOnPremisesInstance", json!({ "instanceName": "none" }), "InstanceNotRegisteredException"),
        ("AddTagsToOnPremisesInstances", json!({ "instanceNames": ["web-0"] }), "TagRequiredException"),
        (
            "AddTagsToOnPremisesInstances",
            json!({ "instanceNames": ["none"], "tags": [{ "Key": "k" }] }),
            "InstanceNotRegisteredException",
        ),
        (
            "AddTagsToOnPremisesInstances",
            json!({ "instanceNames": ["web-0"], "tags": [{ "Key": "", "Value": "v" }] }),
            "InvalidTagException",
        ),
        ("ListOnPremisesInstances", json!({ "registrationStatus": "Maybe" }), "InvalidRegistrationStatusException"),
        (
            "ListApplicationRevisions",
            json!({ "applicationName": "app", "s3KeyPrefix": "a" }),
            "BucketNameFilterRequiredException",
        ),
        ("ListApplicationRevisions", json!({ "applicationName": "app", "sortBy": "size" }), "InvalidSortByException"),
        (
            "GetApplicationRevision",
            json!({ "applicationName": "app", "revision": revision("none.zip") }),
            "RevisionDoesNotExistException",
        ),
        (
            "TagResource",
            json!({ "ResourceArn": "arn:x", "Tags": [{ "Key": "k", "Value": "v" }] }),
            "InvalidArnException",
        ),
        ("ListTagsForResource", json!({ "ResourceArn": "arn:aws:codedeploy:r:a:instance/x" }), "InvalidArnException"),
        (
            "ListTagsForResource",
            json!({ "ResourceArn": "arn:aws:codedeploy:eu-west-1:123456789012:instance:x" }),
            "ArnNotSupportedException",
        ),
    ] {
        let error = world.refused(operation, input.clone()).await;
        assert_eq!((error.name.as_str(), error.status), (name, 400), "{operation} {input}: {error}");
        assert!(error.message.len() > 20, "{operation}: {error}");
    }
}
