use std::collections::HashMap;

use http::Method;
use jiff::Timestamp;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let map: HashMap<_, _> = pairs.iter().copied().collect();
    Environment::capture(|name| map.get(name).map(|value| (*value).to_owned()))
}

fn file() -> OnPremises {
    OnPremises::IamUser {
        path: "/etc/codedeploy-agent/conf/codedeploy.onpremises.yml".into(),
        arn: "arn:aws:iam::111122223333:user/host-1".into(),
        region: "eu-west-1".into(),
        access_key_id: "AKIAFILE".into(),
        secret: Secret::new("file-secret".into()),
    }
}

const FULL: &[(&str, &str)] = &[
    ("AWS_HOST_IDENTIFIER", "arn:aws:iam::111122223333:user/host-2"),
    ("AWS_REGION", "us-west-2"),
    ("AWS_ACCESS_KEY_ID", "AKIAENV"),
    ("AWS_SECRET_ACCESS_KEY", "env-secret"),
];

#[test]
fn the_file_comes_before_the_environment() {
    let identity = load(Some(file()), &environment(FULL)).unwrap();
    assert_eq!(identity.host_identifier, "arn:aws:iam::111122223333:user/host-1");
    assert_eq!(identity.access.credentials.access_key_id, "AKIAFILE");
    assert_eq!(identity.access.region.as_str(), "eu-west-1");
    let identity = load(None, &environment(FULL)).unwrap();
    assert_eq!(identity.host_identifier, "arn:aws:iam::111122223333:user/host-2");
    assert_eq!(identity.access.source, Source::Environment);
}

#[test]
fn credentials_in_the_environment_need_a_host_identifier_except_for_a_person() {
    let without = environment(&FULL[1..]);
    let error = load(None, &without).unwrap_err().to_string();
    assert!(
        error.contains("on-premises file: there is none; environment: AWS_HOST_IDENTIFIER is not set; EC2 metadata")
    );
    assert_eq!(for_person(None, &without).unwrap().credentials.access_key_id, "AKIAENV");
    assert_eq!(for_person(Some(file()), &without).unwrap().credentials.access_key_id, "AKIAFILE");
}

#[test]
fn what_is_missing_is_named() {
    let error = load(None, &environment(&FULL[..2])).unwrap_err().to_string();
    assert!(error.contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{error}");
    let error = for_person(None, &environment(&FULL[2..])).unwrap_err().to_string();
    assert!(error.contains("lacks AWS_REGION;"), "{error}");
}

#[test]
fn a_broken_source_is_not_passed_over() {
    let session = OnPremises::IamSession { path: "/c.yml".into(), arn: "arn:aws:sts::1:assumed-role/r/h".into() };
    let error = load(Some(session), &environment(FULL)).unwrap_err().to_string();
    assert!(error.contains("/c.yml") && error.contains("iam_user_arn"), "{error}");
    let OnPremises::IamUser { path, arn, access_key_id, secret, .. } = file() else { unreachable!() };
    let bad = OnPremises::IamUser { path, arn, region: "evil.example/".into(), access_key_id, secret };
    assert!(matches!(load(Some(bad), &environment(FULL)), Err(IdentityError::Region { .. })));
}

#[test]
fn secrets_are_never_shown() {
    let mut pairs = FULL.to_vec();
    pairs.push(("AWS_SESSION_TOKEN", "env-token"));
    let environment = environment(&pairs);
    let shown = format!("{environment:?} {:?} {:?}", load(None, &environment).unwrap(), file());
    for secret in ["env-secret", "env-token", "file-secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn domains_follow_the_region() {
    for (region, domain) in
        [("us-east-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn"), ("eusc-de-east-1", "amazonaws.eu")]
    {
        assert_eq!(Region::parse(region).unwrap().domain(), domain);
    }
}

fn keys(token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into()),
        session_token: token.map(|token| Secret::new(token.into())),
    }
}

fn header<'a>(request: &'a reqwest::Request, name: &str) -> &'a str {
    request.headers()[name].to_str().unwrap()
}

#[test]
fn a_command_is_signed_over_the_headers_that_the_protocol_names() {
    let region = Region::parse("eu-west-1").unwrap();
    let url = "https://codedeploy-commands.eu-west-1.amazonaws.com/".parse().unwrap();
    let mut request = reqwest::Request::new(Method::POST, url);
    for (name, value) in [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "CodeDeployCommandService_v20141006.PollHostCommand"),
        ("x-amz-codedeploy-agent-version", "slipway-agent/0.1.0"),
        ("user-agent", "slipway-agent"),
        ("accept", "*/*"),
    ] {
        request.headers_mut().insert(http::HeaderName::from_static(name), value.parse().unwrap());
    }
    *request.body_mut() = Some("{}".into());
    let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    sign(&mut request, &keys(None), Scope { service: "codedeploy-commands", region: &region }, now).unwrap();
    let authorization = header(&request, "authorization");
    let start = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261120/eu-west-1/codedeploy-commands/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-codedeploy-agent-version;x-amz-content-sha256;x-amz-date;x-amz-target, \
                 Signature=";
    assert!(authorization.starts_with(start), "{authorization}");
    assert_eq!(header(&request, "x-amz-date"), "20261120T100000Z");
    assert!(request.headers()["authorization"].is_sensitive() || !format!("{request:?}").contains("wJalr"));
}

/// The example of a GET that S3's documentation gives for Signature Version 4, without its Range
/// header, which is not signed here; the expected value was computed by Python's hmac alone.
#[test]
fn an_object_is_signed_as_s3_expects_it() {
    let region = Region::parse("us-east-1").unwrap();
    let url = "https://examplebucket.s3.amazonaws.com/test%24file.text?versionId=a%2Fb".parse().unwrap();
    let mut request = reqwest::Request::new(Method::GET, url);
    let now: Timestamp = "2013-05-24T00:00:00Z".parse().unwrap();
    sign(&mut request, &keys(Some("TOKEN")), Scope { service: "s3", region: &region }, now).unwrap();
    assert_eq!(header(&request, "x-amz-security-token"), "TOKEN");
    assert_eq!(
        header(&request, "authorization"),
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, \
         Signature=35d44ff9625d2d28fe20c1f29d82a5a56ff72d3b3e23d8bd9a634f77774bf3f0"
    );
}
