use serde_json::{Value, json};

use super::*;

fn spec() -> Value {
    json!({
        "DeploymentId": "d-ABC123DEF", "DeploymentGroupId": "5f2e", "DeploymentGroupName": "web",
        "ApplicationName": "shop", "DeploymentCreator": "user", "DeploymentType": "IN_PLACE",
        "Revision": {"RevisionType": "S3", "S3Revision": {
            "Bucket": "b", "Key": "k", "BundleType": "zip", "Version": null, "ETag": "\"abc\""}}
    })
}

fn parse(spec: &Value) -> Result<DeploymentSpec, SpecError> {
    DeploymentSpec::from_json(spec.to_string().as_bytes())
}

#[test]
fn a_minimal_specification_has_the_documented_defaults() {
    let parsed = parse(&spec()).unwrap();
    assert_eq!(parsed.appspec_filename.as_path(), Path::new("appspec.yml"));
    assert_eq!(parsed.file_exists_behavior, None);
    assert_eq!(parsed.situation, Situation::Ordinary);
    let RevisionSource::S3(s3) = parsed.source else { panic!() };
    assert_eq!(s3.etag.as_deref(), Some("abc"));
}

#[test]
fn what_is_required_is_named_when_it_is_missing_or_empty() {
    for member in ["DeploymentId", "DeploymentGroupId", "DeploymentGroupName", "ApplicationName"] {
        for bad in [Value::Null, json!("")] {
            let mut spec = spec();
            spec[member] = bad;
            assert!(parse(&spec).unwrap_err().to_string().contains(member));
        }
    }
}

#[test]
fn ids_that_are_not_path_safe_are_refused() {
    for bad in ["../../etc", "a/b", ".slipway", "deployment-instructions"] {
        for member in ["DeploymentId", "DeploymentGroupId"] {
            let mut spec = spec();
            spec[member] = json!(bad);
            assert!(matches!(parse(&spec), Err(SpecError::Id(_))), "{member} {bad}");
        }
    }
}

#[test]
fn a_service_cannot_name_local_sources() {
    let mut spec = spec();
    spec["Revision"] =
        json!({"RevisionType": "Local File", "LocalRevision": {"Location": "/etc/shadow", "BundleType": "tar"}});
    assert!(parse(&spec).unwrap_err().to_string().contains("S3 or GitHub"));
}

#[test]
fn the_appspec_cannot_be_outside_of_the_revision() {
    let mut spec = spec();
    spec["AppSpecFilename"] = json!("../appspec.yml");
    assert!(parse(&spec).is_err());
    spec["AppSpecFilename"] = json!("/deploy/./appspec.yml");
    assert_eq!(parse(&spec).unwrap().appspec_filename.as_path(), Path::new("deploy/appspec.yml"));
}

#[test]
fn behaviours_are_read_in_any_case() {
    let mut spec = spec();
    spec["AgentActionOverrides"] = json!({"AgentOverrides": {"FileExistsBehavior": "overwrite"}});
    assert_eq!(parse(&spec).unwrap().file_exists_behavior, Some(FileExistsBehavior::Overwrite));
    spec["AgentActionOverrides"] = json!({"AgentOverrides": {"FileExistsBehavior": "sometimes"}});
    assert!(parse(&spec).is_err());
}

#[test]
fn a_token_is_never_printed() {
    let mut spec = spec();
    spec["GitHubAccessToken"] = json!("ghp_verysecret");
    spec["Revision"] = json!({"RevisionType": "GitHub", "GitHubRevision": {
        "Account": "a", "Repository": "r", "CommitId": "abc", "BundleType": "tar"}});
    let parsed = parse(&spec).unwrap();
    assert!(!format!("{parsed:?}").contains("verysecret"));
    spec["Revision"]["GitHubRevision"]["Repository"] = json!("../../x");
    assert!(parse(&spec).is_err());
}
