//! Keys that are accepted without doing anything.

/// Keys of AWS's agents, earlier ones too, that mean nothing here; each with the reason.
pub(super) const RETIRED: [(&str, &str); 10] = [
    ("children", "this agent is one process"),
    ("wait_between_spawning_children", "this agent is one process"),
    ("shared_dir", "nothing is shared with child processes"),
    ("group", "a user's own groups are used"),
    ("ongoing_deployment_tracking", "deployments are recorded below root_dir/.slipway"),
    ("codedeploy_test_profile", "deploy_control_endpoint names another service"),
    ("instance_service_region", "the identity gives the region"),
    ("instance_service_endpoint", "the metadata service is set by AWS_EC2_METADATA_SERVICE_ENDPOINT"),
    ("instance_service_port", "the metadata service is set by AWS_EC2_METADATA_SERVICE_ENDPOINT"),
    ("deploy_control_region", "the identity gives the region"),
];

/// Another name of `ownership`: true is `root`, false is `preserve`.
pub(super) const IGNORE_OWNERSHIP: &str = "ignore_ownership_in_bundle";

/// Accepted, and on whatever it says.
pub(super) const DISABLE_IMDS_V1: &str = "disable_imds_v1";
