//! What a host may do as who it is: each thing that takes that from it, alone.

use std::fs;

use anyhow::{Context, Result, ensure};
use http::HeaderValue;
use nix::unistd::Uid;
use slipway_tests::agent::Agent;
use slipway_tests::fleet::{BUCKET, Fleet, PATIENCE};
use slipway_tests::metadata::{Given, Metadata, Mood};
use slipway_tests::place::{Place, scenario};
use slipway_tests::polled::Polled;
use slipway_tests::proxy::{Answer, Fate, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, app};
use slipway_tests::until::until_true;

use super::Diagnosis;
use crate::expect::{contains, succeeded};

/// Replaces a part of the host's on-premises file.
fn mistake(agent: &Agent<'_>, right: impl Fn(&str) -> bool, wrong: &str) -> Result<()> {
    let file = agent.home().join("conf/codedeploy.onpremises.yml");
    let text = fs::read_to_string(&file)?;
    let lines = text.lines().map(|line| if right(line) { wrong } else { line });
    let changed = lines.collect::<Vec<_>>().join("\n");
    ensure!(changed != text.trim_end(), "nothing was replaced in {text}");
    fs::write(&file, changed).with_context(|| format!("write {}", file.display()))
}

/// A host without an on-premises file, of a service that has nothing to do.
fn instance<'a>(place: &'a Place, service: &Polled) -> Result<Agent<'a>> {
    let agent = Agent::alone(place, "web-1")?;
    let (missing, endpoint) = (place.path().join("none.yml"), service.endpoint());
    agent.configure(
        "20-place.yml",
        &format!(
            "on_premises_config_file: {}\ndeploy_control_endpoint: {endpoint}\ns3_endpoint_override: {endpoint}\n",
            missing.display()
        ),
    )?;
    Ok(agent)
}

fn given() -> Given {
    Given::expiring("ASIAONE", 3600)
}

#[test]
fn a_wrong_secret_is_a_failure_of_the_credentials() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        mistake(&fleet.agent, |line| line.contains("aws_secret_access_key"), "aws_secret_access_key: not-the-secret")?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.only_fails(&["credentials"])?;
        diagnosis
            .failed("credentials", &["InvalidSignatureException", "belong together", "codedeploy.onpremises.yml"])?;
        contains(&diagnosis.row("permission to poll")?.to_string(), &["not_tried", "not accepted"])?;
        ensure!(!diagnosis.0.to_string().contains("not-the-secret"));
        mistake(&fleet.agent, |line| line.contains("aws_access_key_id"), "aws_access_key_id: AKIAUNKNOWN")?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.only_fails(&["credentials"])?;
        diagnosis.failed("credentials", &["UnrecognizedClientException", "AKIAUNKNOWN"])
    })
}

#[test]
fn the_key_of_another_host_may_not_poll() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let other = "iam_user_arn: arn:aws:iam::000000000000:user/somebody-else";
        mistake(&fleet.agent, |line| line.contains("iam_user_arn"), other)?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.only_fails(&["permission to poll"])?;
        diagnosis
            .failed("permission to poll", &["AccessDeniedException", "user/somebody-else", "key that belongs to it"])
    })
}

#[test]
fn an_instance_without_a_role_has_no_credentials() -> Result<()> {
    scenario(|place| {
        let service = Polled::start()?;
        let agent = instance(place, &service)?;
        let metadata = Metadata::start("i-0abc", given())?;
        let diagnose = || {
            Diagnosis::with(place, &agent, |command| {
                metadata.tells(command);
                command
            })
        };
        diagnose()?.only_fails(&[])?;
        metadata.turns(Mood::HasNoRole);
        let diagnosis = diagnose()?;
        diagnosis.only_fails(&["credentials"])?;
        diagnosis.failed("credentials", &["no role", "instance profile"])?;
        metadata.turns(Mood::RefusesTokens);
        let diagnosis = diagnose()?;
        diagnosis.only_fails(&["credentials"])?;
        diagnosis
            .failed("credentials", &["gives no token", "on-premises file: there is none", "AWS_HOST_IDENTIFIER"])?;
        contains(&diagnosis.row("state")?.to_string(), &["not_tried"])
    })
}

/// Every bucket is in a region that answers in the same way.
struct Elsewhere;

impl Rule for Elsewhere {
    fn request(&self, passing: &Passing) -> Fate {
        if !passing.operation.contains(BUCKET) {
            return Fate::Forward;
        }
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("x-amz-bucket-region", HeaderValue::from_static("eu-central-1"));
        let body = b"<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>".to_vec();
        Fate::Answer(Answer { status: 301, headers, body })
    }
}

#[test]
fn a_bucket_that_stays_in_another_region_is_named_with_it() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let proxy = Proxy::start(&fleet.control, Elsewhere)?;
        fleet.agent.configure("20-s3.yml", &proxy.configuration())?;
        let diagnosis = Diagnosis::asking(place, &fleet.agent, &["--bundle", "s3://bundles/blue/v1"])?;
        diagnosis.only_fails(&["bundle in S3"])?;
        diagnosis.failed("bundle in S3", &["eu-central-1", "s3_endpoint_override"])
    })
}

#[test]
fn a_bundle_that_may_not_be_read_is_named_with_who_asks() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        fleet.group.push("secret", &app(&place.path().join("app"), "one", &[]), BundleKind::Tgz)?;
        let diagnosis = Diagnosis::asking(place, &fleet.agent, &["--bundle", "s3://bundles/blue/secret"])?;
        diagnosis.only_fails(&["bundle in S3"])?;
        diagnosis
            .failed("bundle in S3", &["access denied", "s3:GetObject", "access key", "s3://bundles/blue/secret"])?;
        let diagnosis = Diagnosis::asking(place, &fleet.agent, &["--bundle", "bundles/blue/secret"])?;
        diagnosis.failed("bundle in S3", &["s3://BUCKET/KEY"])?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.only_fails(&[])?;
        contains(&diagnosis.row("bundle in S3")?.to_string(), &["not_tried", "--bundle"])
    })
}

#[test]
fn the_bundle_that_was_asked_for_last_may_have_gone() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let bundle = fleet.group.push("v1", &app(&place.path().join("app"), "one", &[]), BundleKind::Tgz)?;
        succeeded(&fleet.group.deploy(&bundle)?)?;
        fleet.agent.stop()?;
        let proxy = Proxy::start(&fleet.control, Gone)?;
        fleet.agent.configure("20-s3.yml", &proxy.configuration())?;
        let diagnosis = Diagnosis::of(place, &fleet.agent)?;
        diagnosis.only_fails(&[])?;
        contains(&diagnosis.row("bundle in S3")?.to_string(), &["not there any more"])?;
        let named = Diagnosis::asking(place, &fleet.agent, &["--bundle", "s3://bundles/blue/v1"])?;
        named.failed("bundle in S3", &["no such object", "uploaded"])
    })
}

/// No bucket has anything.
struct Gone;

impl Rule for Gone {
    fn request(&self, passing: &Passing) -> Fate {
        if !passing.operation.contains(BUCKET) {
            return Fate::Forward;
        }
        let body = b"<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>".to_vec();
        Fate::Answer(Answer { status: 404, headers: axum::http::HeaderMap::new(), body })
    }
}

#[test]
fn state_that_an_image_brought_from_another_instance_is_named() -> Result<()> {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can read the agent's state");
        return Ok(());
    }
    scenario(|place| {
        let service = Polled::start()?;
        let mut agent = instance(place, &service)?;
        let first = Metadata::start("i-0abc", given())?;
        agent.start_with(|command| first.tells(command))?;
        until_true("the first poll", PATIENCE, || Ok(!service.polls().is_empty()))?;
        agent.stop()?;
        let second = Metadata::start("i-0def", given())?;
        let diagnose = |metadata: &Metadata| {
            Diagnosis::with(place, &agent, |command| {
                metadata.tells(command);
                command
            })
        };
        diagnose(&first)?.only_fails(&[])?;
        let diagnosis = diagnose(&second)?;
        diagnosis.only_fails(&["state"])?;
        diagnosis.failed("state", &["of i-0abc, and this is i-0def", "start the agent again"])
    })
}
