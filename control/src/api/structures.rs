//! The places at which a request has to hold JSON objects. The derived readers would also take an array with the members in their order.

use serde_json::Value;

/// Members that are structures in the API's model.
const STRUCTURES: [&str; 26] = [
    "alarmConfiguration",
    "appSpecContent",
    "autoRollbackConfiguration",
    "blueGreenDeploymentConfiguration",
    "createTimeRange",
    "deploymentReadyOption",
    "deploymentStyle",
    "ec2DeploymentOptions",
    "ec2TagSet",
    "gitHubLocation",
    "greenFleetProvisioningOption",
    "loadBalancerInfo",
    "minimumHealthyHosts",
    "minimumHealthyHostsPerZone",
    "onPremisesTagSet",
    "overrideAlarmConfiguration",
    "revision",
    "s3Location",
    "string",
    "targetFilters",
    "targetInstances",
    "terminateBlueInstancesOnDeploymentSuccess",
    "timeBasedCanary",
    "timeBasedLinear",
    "trafficRoutingConfig",
    "zonalConfig",
];
/// Members that are lists of structures.
const LISTS: [&str; 10] = [
    "Tags",
    "alarms",
    "ec2TagFilters",
    "ecsServices",
    "elbInfoList",
    "onPremisesInstanceTagFilters",
    "revisions",
    "tagFilters",
    "tags",
    "triggerConfigurations",
];
/// Members that are lists of lists of structures.
const LISTS_OF_LISTS: [&str; 2] = ["ec2TagSetList", "onPremisesTagSetList"];

/// Checks that a request is an object, and that its structures are.
///
/// # Errors
/// Part of a sentence that names the one that is not.
pub(super) fn check(request: &Value) -> Result<(), String> {
    match request {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| check_member(name, value)),
        other => Err(format!("it is {}, and has to be an object", kind(other))),
    }
}

fn check_member(name: &str, value: &Value) -> Result<(), String> {
    let depth = if STRUCTURES.contains(&name) {
        0
    } else if LISTS.contains(&name) {
        1
    } else if LISTS_OF_LISTS.contains(&name) {
        2
    } else {
        return Ok(());
    };
    check_depth(name, value, depth)
}

/// Below `depth` lists there have to be objects; what is no list there is told by the readers.
fn check_depth(name: &str, value: &Value, depth: u8) -> Result<(), String> {
    match (value, depth) {
        (Value::Array(_), 0) => Err(format!("{name} holds {}, and has to hold an object", kind(value))),
        (Value::Array(items), _) => items.iter().try_for_each(|item| check_depth(name, item, depth - 1)),
        (Value::Object(members), 0) => members.iter().try_for_each(|(name, value)| check_member(name, value)),
        _ => Ok(()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arrays_are_no_objects_wherever_they_stand() {
        for good in [
            json!({}),
            json!({ "revision": { "s3Location": { "bucket": "b" } }, "tags": [{ "Key": "a" }], "instanceNames": ["a"] }),
            json!({ "revision": null, "onPremisesTagSet": { "onPremisesTagSetList": [[{ "Key": "a" }], []] } }),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        for (bad, named) in [
            (json!([]), "it is an array"),
            (json!("text"), "it is a string"),
            (json!({ "revision": [] }), "revision"),
            (json!({ "revision": { "s3Location": ["b", "k"] } }), "s3Location"),
            (json!({ "tags": [["a", "b"]] }), "tags"),
            (json!({ "onPremisesTagSet": { "onPremisesTagSetList": [[["a"]]] } }), "onPremisesTagSetList"),
        ] {
            assert!(check(&bad).unwrap_err().contains(named), "{bad}");
        }
    }
}
