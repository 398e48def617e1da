use std::collections::HashMap;
use std::path::Path;

use http::Method;
use jiff::Timestamp;

use super::sources::Chosen;
use super::*;
use crate::deployment::Secret;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let map: HashMap<_, _> = pairs.iter().copied().collect();
    Environment::capture(|name| map.get(name).map(|value| (*value).to_owned()))
}

const USER: &str = "region: eu-west-1\niam_user_arn: arn:aws:iam::111122223333:user/host-1\n\
                    aws_access_key_id: AKIAFILE\naws_secret_access_key: file-secret\n";
const SESSION: &str = "region: eu-west-1\niam_session_arn: arn:aws:sts::111122223333:assumed-role/hosts/host-1\n\
                       aws_credentials_file: CREDENTIALS\n";
const FULL: &[(&str, &str)] = &[
    ("AWS_HOST_IDENTIFIER", "arn:aws:iam::111122223333:user/host-2"),
    ("AWS_REGION", "us-west-2"),
    ("AWS_ACCESS_KEY_ID", "AKIAENV"),
    ("AWS_SECRET_ACCESS_KEY", "env-secret"),
];
const KEYS: &[(&str, &str)] =
    &[("AWS_REGION", "us-west-2"), ("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "env-secret")];

/// The sources of a host whose on-premises file, if it has one, is in `directory`.
fn sources(directory: &Path, file: Option<&str>, variables: &[(&str, &str)], caller: Caller) -> Sources {
    let on_premises_file = directory.join("onpremises.yml");
    if let Some(text) = file {
        let text = text.replace("CREDENTIALS", &directory.join("credentials").display().to_string());
        crate::disk::write_unsynced(&on_premises_file, text.as_bytes(), 0o600).unwrap();
    }
    Sources { on_premises_file, environment: environment(variables), caller }
}

/// What was chosen, or the error.
fn choose(file: Option<&str>, variables: &[(&str, &str)], caller: Caller) -> (String, Vec<&'static str>) {
    let directory = tempfile::tempdir().unwrap();
    match sources(directory.path(), file, variables, caller).choose() {
        Ok(choice) => {
            let chosen = match choice.chosen {
                Chosen::Keys { access, .. } => access.credentials.access_key_id.clone(),
                Chosen::Session { host, .. } => host.identifier.clone(),
                Chosen::Metadata(_) => "metadata".to_owned(),
            };
            (chosen, choice.passed_over.iter().map(|passed| passed.source).collect())
        }
        Err(error) => (format!("error: {error}"), Vec::new()),
    }
}

#[test]
fn there_is_one_order_for_everything() {
    use Caller::{Host, Person};
    let both = [USER, "iam_session_arn: arn:aws:sts::111122223333:assumed-role/hosts/host-1\n"].concat();
    let off = [("AWS_EC2_METADATA_DISABLED", "true")];
    let (on_premises, environment, none): (&[&str], &[&str], &[&str]) =
        (&["on-premises file"], &["on-premises file", "environment"], &[]);
    for (file, variables, caller, chosen, passed_over) in [
        (Some(USER), FULL, Host, "AKIAFILE", none),
        (Some(USER), &[], Host, "AKIAFILE", none),
        (Some(USER), KEYS, Person, "AKIAFILE", none),
        (Some(SESSION), FULL, Host, "arn:aws:sts::111122223333:assumed-role/hosts/host-1", none),
        (None, FULL, Host, "AKIAENV", on_premises),
        (None, FULL, Person, "AKIAENV", on_premises),
        (None, KEYS, Person, "AKIAENV", on_premises),
        (None, KEYS, Host, "metadata", environment),
        (None, &[], Host, "metadata", environment),
        (None, &[], Person, "metadata", environment),
        // What is there and broken is never passed over.
        (Some(both.as_str()), FULL, Host, "error: DIR/onpremises.yml:5:18: expected either `iam_user_arn`", none),
        (
            Some("region: eu-west-1\n"),
            FULL,
            Host,
            "error: DIR/onpremises.yml:1:1: expected either `iam_user_arn`",
            none,
        ),
        (Some("\u{0}"), FULL, Host, "error: DIR/onpremises.yml", none),
        (
            None,
            &FULL[..2],
            Host,
            "error: the environment gives an identity, but lacks AWS_ACCESS_KEY_ID and AWS_SEC",
            none,
        ),
        (None, &KEYS[1..], Person, "error: the environment gives an identity, but lacks AWS_REGION;", none),
        (None, &off, Host, "error: it is not known who this host is. Tried in this order: on-premises file: ", none),
    ] {
        let (found, passed) = choose(file, variables, caller);
        // The directory is another one each time.
        let found = match found.split_once("/onpremises.yml:") {
            Some((_, rest)) if found.starts_with("error: /") => format!("error: DIR/onpremises.yml:{rest}"),
            _ => found,
        };
        assert!(found.starts_with(chosen), "{found}\nexpected {chosen}");
        assert_eq!(passed, passed_over, "{chosen}");
    }
}

#[test]
fn an_unreadable_file_is_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut sources = sources(directory.path(), None, FULL, Caller::Host);
    sources.on_premises_file = directory.path().to_owned();
    let error = sources.choose().unwrap_err();
    assert!(matches!(error, IdentityError::OnPremises(_)) && error.is_of_configuration(), "{error}");
}

#[test]
fn a_region_that_cannot_be_one_is_refused() {
    let variables = [&FULL[..1], &[("AWS_REGION", "evil.example/")], &FULL[2..]].concat();
    let directory = tempfile::tempdir().unwrap();
    let error = sources(directory.path(), None, &variables, Caller::Host).choose().unwrap_err();
    assert!(matches!(error, IdentityError::Region { .. }), "{error}");
}

#[test]
fn the_metadata_service_is_where_the_environment_says() {
    let address = |variables: &[(&str, &str)]| metadata::address(&environment(variables)).map(String::from);
    assert_eq!(address(&[]).unwrap(), "http://169.254.169.254/");
    let mode = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
    assert_eq!(address(&[(mode, "IPv6")]).unwrap(), "http://[fd00:ec2::254]/");
    assert_eq!(address(&[(mode, "IPv4")]).unwrap(), "http://169.254.169.254/");
    let own = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338");
    assert_eq!(address(&[own, (mode, "IPv6")]).unwrap(), "http://127.0.0.1:1338/");
    assert_eq!(address(&[own, ("AWS_EC2_METADATA_DISABLED", "False")]).unwrap(), "http://127.0.0.1:1338/");
    for (name, value) in [
        (mode, "IPv5"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "169.254.169.254"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ftp://169.254.169.254"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254/?x"),
    ] {
        let error = address(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(value) && error.contains("expected"), "{error}");
    }
    let disabled = [own, ("AWS_EC2_METADATA_DISABLED", "TRUE")];
    assert_eq!(address(&disabled), Err(metadata::MetadataError::Disabled));
}

#[tokio::test]
async fn a_sessions_file_counts_as_it_is_now() {
    let directory = tempfile::tempdir().unwrap();
    let provider = Provider::new(sources(directory.path(), Some(SESSION), &[], Caller::Host));
    let write = |id: &str| {
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = s\naws_session_token = t\n");
        crate::disk::write_unsynced(&directory.path().join("credentials"), text.as_bytes(), 0o600).unwrap();
    };
    let id = async || provider.access().await.map(|access| access.credentials.access_key_id.clone());
    let host = provider.host().await.unwrap();
    assert_eq!(host.identifier, "arn:aws:sts::111122223333:assumed-role/hosts/host-1", "known without credentials");
    let error = id().await.unwrap_err();
    assert!(error.to_string().contains("/credentials") && error.to_string().contains("onpremises.yml"), "{error}");
    assert!(!error.is_of_configuration(), "it is waited for");
    write("ASIAONE");
    assert_eq!(id().await.unwrap(), "ASIAONE");
    write("ASIATWO");
    assert_eq!(id().await.unwrap(), "ASIATWO");
    crate::disk::write_unsynced(&directory.path().join("credentials"), b"[default]\naws_acc", 0o600).unwrap();
    assert_eq!(id().await.unwrap(), "ASIATWO", "what is being written does not take away what there is");
    write("ASIATHREE");
    assert_eq!(id().await.unwrap(), "ASIATHREE");
}

#[tokio::test]
async fn an_on_premises_file_that_comes_later_counts() {
    let directory = tempfile::tempdir().unwrap();
    let off = [("AWS_EC2_METADATA_DISABLED", "true")];
    let provider = Provider::new(sources(directory.path(), None, &off, Caller::Host));
    let error = provider.host().await.unwrap_err();
    assert_eq!(error.tried().len(), 3, "{error}");
    assert!(!error.is_of_configuration());
    sources(directory.path(), Some(USER), &[], Caller::Host);
    assert_eq!(provider.host().await.unwrap().identifier, "arn:aws:iam::111122223333:user/host-1");
    assert_eq!(provider.access().await.unwrap().credentials.access_key_id, "AKIAFILE");
}

#[tokio::test]
async fn a_person_is_no_host() {
    let directory = tempfile::tempdir().unwrap();
    let provider = Provider::new(sources(directory.path(), None, KEYS, Caller::Person));
    assert_eq!(provider.access().await.unwrap().region.as_str(), "us-west-2");
    assert!(matches!(provider.host().await, Err(IdentityError::NoHost)));
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [FULL, &[("AWS_SESSION_TOKEN", "env-token")]].concat();
    for file in [None, Some(USER)] {
        let sources = sources(directory.path(), file, &variables, Caller::Host);
        let shown = format!("{sources:?} {:?}", sources.choose().unwrap());
        let provider = Provider::new(sources);
        let access = provider.access().await.unwrap();
        let shown = format!("{shown} {access:?} {provider:?}");
        for secret in ["env-secret", "env-token", "file-secret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn partitions_and_domains_follow_the_region() {
    for (region, partition, domain) in [
        ("us-east-1", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-east-1", "aws-us-gov", "amazonaws.com"),
        ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
        ("us-iso-west-1", "aws-iso", "c2s.ic.gov"),
        ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
        ("eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk"),
        ("us-isof-south-1", "aws-iso-f", "csp.hci.ic.gov"),
    ] {
        let region = Region::parse(region).unwrap();
        assert_eq!((region.partition(), region.domain()), (partition, domain), "{region}");
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

/// What the on-premises file says now counts, and what it said before stays while it cannot be used.
#[tokio::test]
async fn an_on_premises_file_that_is_replaced_counts_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let provider = Provider::new(sources(directory.path(), Some(USER), &[], Caller::Host));
    let key = async || provider.access().await.unwrap().credentials.access_key_id.clone();
    let write = |text: &str| drop(sources(directory.path(), Some(text), &[], Caller::Host));
    assert_eq!(key().await, "AKIAFILE");
    write(&USER.replace("AKIAFILE", "AKIANEXT").replace("host-1", "host-2"));
    assert_eq!(key().await, "AKIANEXT");
    assert!(provider.host().await.unwrap().identifier.ends_with("host-2"));
    for (broken, said) in [("region: eu-west-1\n", "cannot be used"), ("", "cannot be used")] {
        write(broken);
        assert_eq!(key().await, "AKIANEXT");
        let trouble = provider.known().await.trouble.unwrap();
        assert!(trouble.contains(said), "{trouble}");
    }
    crate::disk::remove_if_exists(&directory.path().join("onpremises.yml")).unwrap();
    assert_eq!(key().await, "AKIANEXT");
    assert!(provider.known().await.trouble.unwrap().contains("is gone"));
    // Another form of it, whose credentials are not there yet.
    write(SESSION);
    let known = provider.read_again().await.unwrap();
    assert_eq!((known.access_key, known.trouble), (None, None));
    assert!(provider.access().await.is_err());
    // A source that gives an identity of its own is not left for a file that comes later: that waits for a start.
    let directory = tempfile::tempdir().unwrap();
    let provider = Provider::new(sources(directory.path(), None, FULL, Caller::Host));
    assert_eq!(provider.access().await.unwrap().credentials.access_key_id, "AKIAENV");
    drop(sources(directory.path(), Some(USER), &[], Caller::Host));
    assert_eq!(provider.access().await.unwrap().credentials.access_key_id, "AKIAENV");
}
