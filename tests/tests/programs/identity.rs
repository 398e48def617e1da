//! Who a host is and with which credentials it speaks: EC2's metadata service, sessions, and what is waited for.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{BUCKET, Fleet, PATIENCE};
use slipway_tests::metadata::{Given, Metadata, Mood, ask_at};
use slipway_tests::place::{Place, scenario, write_private};
use slipway_tests::polled::Polled;
use slipway_tests::program;
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::sign::AccessKey;
use slipway_tests::until::{until, until_true};
use slipway_tests::web::free_port;

use crate::expect::{contains, page, succeeded};

const IDENTIFIER: &str = "arn:aws:ec2:eu-west-1:111122223333:instance/i-0abc";
/// For what waits for a pause of the agent.
const LONG: Duration = Duration::from_secs(90);

fn credentials() -> Given {
    Given::expiring("ASIAONE", 6 * 3600)
}

/// A host without an on-premises file, whose daemon polls often.
fn instance(place: &Place) -> Result<Agent<'_>> {
    let agent = Agent::alone(place, "web-1")?;
    let missing = place.path().join("no-such-file.yml");
    agent.configure("20-identity.yml", &format!("on_premises_config_file: {}\n", missing.display()))?;
    agent.configure("30-pace.yml", "wait_between_runs: 1\nwait_after_error: 1\n")?;
    Ok(agent)
}

fn whoami(place: &Place, agent: &Agent<'_>, endpoint: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = agent.command(&[&["whoami"], arguments].concat())?;
    ask_at(&mut command, endpoint);
    program::output(place, &mut command)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_instance_is_known_by_its_metadata() -> Result<()> {
    scenario(|place| {
        let agent = instance(place)?;
        let metadata = Metadata::start("i-0abc", credentials())?;
        let output = whoami(place, &agent, &metadata.endpoint(), &[])?;
        let said = text(&output);
        ensure!(output.status.success(), "{said}");
        contains(
            &said,
            &[
                IDENTIFIER,
                "https://codedeploy-commands.eu-west-1.amazonaws.com/",
                "access key ASIAONE of the EC2 metadata service (role web)",
                "(in 5 h 59 min)",
                "passed over  on-premises file: there is none at",
                "passed over  environment: AWS_HOST_IDENTIFIER is not set",
            ],
        )?;
        let asked = metadata.asked();
        ensure!(asked.first().is_some_and(|first| first.what == "PUT /latest/api/token"), "{asked:?}");
        ensure!(asked.iter().all(|asked| asked.status == 200), "nothing is asked without a token: {asked:?}");
        let output = whoami(place, &agent, &metadata.endpoint(), &["--json"])?;
        let said = text(&output);
        ensure!(!said.contains("secret-of") && !said.contains("token-of"), "{said}");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(report["host_identifier"] == IDENTIFIER && report["region"] == "eu-west-1", "{report}");
        ensure!(report["credentials"]["access_key_id"] == "ASIAONE", "{report}");
        ensure!(report["credentials"]["expires"].is_string() && report["error"].is_null(), "{report}");
        ensure!(report["passed_over"][1]["source"] == "environment", "{report}");
        Ok(())
    })
}

#[test]
fn the_metadata_service_is_never_asked_through_a_proxy() -> Result<()> {
    scenario(|place| {
        let agent = instance(place)?;
        let nobody = format!("http://127.0.0.1:{}", free_port()?);
        agent.configure("40-proxy.yml", &format!("proxy_uri: {nobody}\n"))?;
        let metadata = Metadata::start("i-0abc", credentials())?;
        let mut command = agent.command(&["whoami"])?;
        metadata.tells(&mut command);
        for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(variable, &nobody);
        }
        let output = program::output(place, &mut command)?;
        ensure!(output.status.success(), "{}", text(&output));
        Ok(())
    })
}

/// What `whoami` says, and does with its exit status, when the metadata service is like that.
fn said_when(mood: Mood, parts: &[&str]) -> Result<()> {
    scenario(|place| {
        let agent = instance(place)?;
        let metadata = Metadata::start("i-0abc", credentials())?;
        metadata.turns(mood);
        let output = whoami(place, &agent, &metadata.endpoint(), &[])?;
        ensure!(output.status.code() == Some(1), "{}", output.status);
        contains(&text(&output), parts)?;
        let output = whoami(place, &agent, &metadata.endpoint(), &["--json"])?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(output.status.code() == Some(1) && report["error"].is_string(), "{report}");
        Ok(())
    })
}

#[test]
fn a_token_that_is_refused_is_explained() -> Result<()> {
    let order = "on-premises file: there is none at";
    said_when(Mood::RefusesTokens, &["not known", order, "gives no token (HTTP 403)", "--http-endpoint enabled"])
}

#[test]
fn silence_is_explained_by_the_hop_limit() -> Result<()> {
    said_when(Mood::Silent, &["not known", "did not answer within", "--http-put-response-hop-limit 2"])
}

#[test]
fn an_instance_without_a_role_is_known_and_told_what_it_lacks() -> Result<()> {
    said_when(Mood::HasNoRole, &[IDENTIFIER, "credentials  none", "no role", "attach an instance profile"])
}

#[test]
fn a_role_that_cannot_be_assumed_is_named() -> Result<()> {
    said_when(Mood::CannotAssume, &[IDENTIFIER, "role web", "AssumeRoleUnauthorizedAccess", "trust policy"])
}

#[test]
fn a_service_that_fails_is_named() -> Result<()> {
    said_when(Mood::Fails, &["not known", "EC2 metadata service", "HTTP 500"])
}

#[test]
fn a_host_that_is_nowhere_is_told_what_was_tried() -> Result<()> {
    scenario(|place| {
        let agent = instance(place)?;
        let nobody = format!("http://127.0.0.1:{}", free_port()?);
        let output = whoami(place, &agent, &nobody, &[])?;
        ensure!(output.status.code() == Some(1), "{}", output.status);
        let all =
            ["on-premises file: there is none", "environment: AWS_HOST_IDENTIFIER", "EC2 metadata service: nothing"];
        contains(&text(&output), &all)?;
        contains(&text(&output), &["Connection refused", "register the host"])
    })
}

#[test]
fn a_start_without_metadata_waits_says_why_and_goes_on_by_itself() -> Result<()> {
    scenario(|place| {
        let mut agent = instance(place)?;
        let service = Polled::start()?;
        agent.configure("40-service.yml", &format!("deploy_control_endpoint: {}\n", service.endpoint()))?;
        let port = free_port()?;
        let systemd = UnixDatagram::bind(place.path().join("notify"))?;
        systemd.set_nonblocking(true)?;
        agent.start_with(|command| {
            ask_at(command, &format!("http://127.0.0.1:{port}"));
            command.env("NOTIFY_SOCKET", place.path().join("notify"));
        })?;
        until_told(&systemd, &["READY=1"])?;
        until_told(&systemd, &["STATUS=", "EC2 metadata service: nothing answers"])?;
        until("status to say why", PATIENCE, || {
            let connection = agent.status()?["daemon"]["connection"].clone();
            let why = connection["why"].as_str().unwrap_or_default();
            Ok(why.contains("it is not known who this host is").then_some(()))
        })?;
        contains(&agent.log(), &["AWS_HOST_IDENTIFIER is not set", "EC2 metadata service: nothing answers"])?;
        ensure!(service.polls().is_empty());
        let _metadata = Metadata::start_at(port, "i-0abc", credentials())?;
        until_true("a poll as the instance", LONG, || Ok(service.last_key() == "ASIAONE"))?;
        let poll = service.polls().pop().context("a poll")?;
        ensure!(poll.token == "token-of-ASIAONE" && poll.body.contains(IDENTIFIER), "{poll:?}");
        until_told(&systemd, &["STATUS=polling"])?;
        until_true("status to say who it is", PATIENCE, || {
            let status = agent.status()?["daemon"].clone();
            Ok(status["host"] == IDENTIFIER && status["connection"]["state"] == "connected")
        })
    })
}

/// Reads what systemd is told until it holds all of that.
fn until_told(systemd: &UnixDatagram, parts: &[&str]) -> Result<()> {
    until(&format!("systemd to be told {parts:?}"), PATIENCE, || {
        let mut buffer = [0; 4096];
        let Ok(length) = systemd.recv(&mut buffer) else { return Ok(None) };
        let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
        Ok(parts.iter().all(|part| told.contains(part)).then_some(()))
    })
}

#[test]
fn an_end_that_is_asked_for_while_it_waits_comes_at_once() -> Result<()> {
    scenario(|place| {
        let mut agent = instance(place)?;
        let nobody = format!("http://127.0.0.1:{}", free_port()?);
        agent.start_with(|command| ask_at(command, &nobody))?;
        until_true("the agent to wait", PATIENCE, || Ok(agent.log().contains("it is asked again who this host is")))?;
        agent.stop()?;
        ensure!(agent.status()?["daemon"]["connection"]["state"] == "stopped");
        Ok(())
    })
}

#[test]
fn credentials_are_renewed_before_they_expire_and_kept_while_that_fails() -> Result<()> {
    scenario(|place| {
        let mut agent = instance(place)?;
        let service = Polled::start()?;
        agent.configure("40-service.yml", &format!("deploy_control_endpoint: {}\n", service.endpoint()))?;
        // Five minutes before the end is five seconds from now.
        let metadata = Metadata::start("i-0abc", Given::expiring("ASIAONE", 305))?;
        agent.start_with(|command| metadata.tells(command))?;
        until_true("polls with the first key", PATIENCE, || Ok(service.last_key() == "ASIAONE"))?;
        // The next ones are old already, so they are asked for again; but not with each poll.
        metadata.gives(Given::expiring("ASIATWO", 200));
        until_true("polls with the second key", LONG, || Ok(service.last_key() == "ASIATWO"))?;
        // A token that does not count any more is replaced, and what is not given leaves what is valid.
        metadata.forgets_tokens();
        metadata.turns(Mood::HasNoRole);
        until_true("the renewal to fail", LONG, || Ok(agent.log().contains("those that there are stay")))?;
        let before = service.polls().len();
        until_true("polls to go on", PATIENCE, || Ok(service.polls().len() > before + 1))?;
        ensure!(service.last_key() == "ASIATWO" && agent.status()?["daemon"]["connection"]["state"] == "connected");
        metadata.gives(credentials());
        metadata.turns(Mood::Serves);
        until_true("polls with the third key", LONG, || Ok(service.last_key() == "ASIAONE"))?;
        let roles = metadata.asked().iter().filter(|asked| asked.what.ends_with("/web")).count();
        let polls = service.polls().len();
        ensure!(roles < polls, "credentials were asked for {roles} times in {polls} polls");
        let failed = service.polls().iter().any(|poll| poll.key.is_empty() || poll.token.is_empty());
        ensure!(!failed, "every poll was signed");
        Ok(())
    })
}

#[test]
fn credentials_that_the_service_refuses_are_renewed_at_once() -> Result<()> {
    scenario(|place| {
        let mut agent = instance(place)?;
        let service = Polled::start()?;
        agent.configure("40-service.yml", &format!("deploy_control_endpoint: {}\n", service.endpoint()))?;
        let metadata = Metadata::start("i-0abc", credentials())?;
        agent.start_with(|command| metadata.tells(command))?;
        until_true("polls with the first key", PATIENCE, || Ok(service.last_key() == "ASIAONE"))?;
        metadata.gives(Given::expiring("ASIATWO", 6 * 3600));
        service.refuses("ASIAONE");
        until_true("polls with the second key", PATIENCE, || Ok(service.last_key() == "ASIATWO"))
    })
}

/// The file of a session's credentials, as whatever keeps it fresh writes it.
fn write_session(path: &Path, key: &AccessKey) -> Result<()> {
    let AccessKey { access_key_id, secret_access_key } = key;
    let fresh = path.with_extension("fresh");
    let text = format!("[default]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret_access_key}\n");
    write_private(&fresh, &text)?;
    Ok(std::fs::rename(&fresh, path)?)
}

#[test]
fn a_deployment_goes_on_while_its_sessions_credentials_change() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let (session, on_premises) =
            (place.path().join("session"), fleet.agent.home().join("conf/codedeploy.onpremises.yml"));
        let user = std::fs::read_to_string(&on_premises)?;
        let arn = user.lines().find_map(|line| line.strip_prefix("iam_user_arn: ")).context("its ARN")?;
        let text = format!(
            "region: us-east-1\niam_session_arn: {}\naws_credentials_file: {}\n",
            arn.trim_matches(['"', '\'']),
            session.display()
        );
        std::fs::remove_file(&on_premises)?;
        write_private(&on_premises, &text)?;
        fleet.agent.start()?;
        until_true("the agent to miss its credentials", PATIENCE, || {
            Ok(fleet.agent.log().contains("the session's credentials cannot be read"))
        })?;
        let first = fleet.control.new_key(["--host", "web-1"])?;
        write_session(&session, &first)?;
        let destination = place.path().join("app");
        let (began, go_on) = (place.path().join("began"), place.path().join("go-on"));
        let hook = format!("touch {}\nuntil [ -e {} ]; do sleep 0.05; done", began.display(), go_on.display());
        let revision = app(&destination, "page", &[Hook::new("BeforeInstall", &hook)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the hook to begin", LONG, || Ok(began.exists()))?;
        std::fs::write(&session, "[default]\naws_access")?;
        let second = fleet.control.new_key(["--host", "web-1"])?;
        write_session(&session, &second)?;
        fleet.control.revoke(&first.access_key_id)?;
        std::fs::write(&go_on, "")?;
        succeeded(&finish(&fleet.api, &id, LONG)?)?;
        ensure!(page(&destination)? == "page");
        let log = fleet.agent.log();
        contains(&log, &[&second.access_key_id])?;
        ensure!(!log.contains(&second.secret_access_key) && !log.contains(&first.secret_access_key));
        Ok(())
    })
}

#[test]
fn a_bundle_is_fetched_with_the_instances_role() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let agent = instance(place)?;
        let (s3, ca) = (fleet.control.endpoint(), fleet.control.ca_file());
        agent.configure("40-s3.yml", &format!("s3_endpoint_override: {s3}\nca_bundle: {}\n", ca.display()))?;
        let key = fleet.control.new_key(["--administrator", "role"])?;
        let given = Given { id: key.access_key_id, secret: key.secret_access_key, ..credentials() };
        let metadata = Metadata::start("i-0abc", given)?;
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1.tgz", &app(&destination, "page", &[]), BundleKind::Tgz)?;
        let location = format!("s3://{BUCKET}/{}", bundle.key());
        let deploy = || -> Result<Output> {
            let mut command = agent.command(&["deploy-local", "-l", &location, "-t", "tgz", "-b", "OVERWRITE"])?;
            metadata.tells(&mut command);
            program::output(place, &mut command)
        };
        let output = deploy()?;
        ensure!(output.status.success(), "{}", text(&output));
        ensure!(page(&destination)? == "page");
        metadata.turns(Mood::HasNoRole);
        let output = deploy()?;
        ensure!(!output.status.success());
        contains(&text(&output), &["the bundle cannot be fetched", "attach an instance profile"])
    })
}

#[test]
fn a_broken_on_premises_file_ends_the_start_whatever_else_there_is() -> Result<()> {
    scenario(|place| {
        let agent = instance(place)?;
        let metadata = Metadata::start("i-0abc", credentials())?;
        write_private(&place.path().join("no-such-file.yml"), "region: eu-west-1\n")?;
        let mut command = agent.command(&["run"])?;
        metadata.tells(&mut command);
        let output = program::output(place, &mut command)?;
        ensure!(output.status.code() == Some(1), "{}", output.status);
        contains(&text(&output), &["no-such-file.yml:1:1", "iam_user_arn", "neither"])?;
        ensure!(metadata.asked().is_empty(), "{:?}", metadata.asked());
        Ok(())
    })
}

/// Deploys by hand, so that there is something in the ledger.
fn deploy(place: &Place, agent: &Agent<'_>, command: &mut Command) -> Result<()> {
    program::run(place, command)?;
    ensure!(count(&agent.root().join(".slipway/ledger")) > 0, "the ledger knows of it");
    Ok(())
}

fn count(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

#[test]
fn the_state_of_an_image_is_let_go_of_on_another_instance() -> Result<()> {
    scenario(|place| {
        let mut agent = instance(place)?;
        let service = Polled::start()?;
        agent.configure("40-service.yml", &format!("deploy_control_endpoint: {}\n", service.endpoint()))?;
        let revision = place.directory("revision")?;
        app(&place.path().join("app"), "page", &[]).write(&revision)?;
        let location = revision.display().to_string();
        deploy(place, &agent, &mut agent.command(&["deploy-local", "-l", &location])?)?;
        let own = agent.root().join(".slipway");
        let life = |agent: &mut Agent<'_>, id: &str, key: &str| -> Result<String> {
            let metadata = Metadata::start(id, Given::expiring(key, 6 * 3600))?;
            let before = agent.log().len();
            agent.start_with(|command| metadata.tells(command))?;
            until_true("a poll", PATIENCE, || Ok(service.last_key() == key))?;
            agent.stop()?;
            Ok(agent.log()[before..].to_owned())
        };
        let said = "the agent's state is of another instance";
        for key in ["ASIAONE", "ASIATWO"] {
            ensure!(!life(&mut agent, "i-0abc", key)?.contains(said), "it is its own");
        }
        ensure!(count(&own.join("ledger")) > 0);
        let log = life(&mut agent, "i-0def", "ASIATHREE")?;
        ensure!(log.matches(said).count() == 1, "{log}");
        contains(&log, &["of i-0abc, and this is i-0def"])?;
        ensure!(count(&own.join("ledger")) == 0 && count(&own.join("hooks")) == 0 && count(&own.join("outbox")) == 0);
        let status = agent.status()?;
        ensure!(status["groups"][0]["last_successful"].is_object() && count(&own.join("manifests")) > 0, "{status}");
        ensure!(!life(&mut agent, "i-0def", "ASIAFOUR")?.contains(said), "it is said once");
        deploy(place, &agent, &mut agent.command(&["deploy-local", "-l", &location])?)
    })
}

#[test]
fn elsewhere_the_machines_id_tells_and_results_of_another_machine_are_not_reported() -> Result<()> {
    if std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().is_empty() {
        eprintln!("skipped: this machine has no /etc/machine-id");
        return Ok(());
    }
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let revision = app(&destination, "page", &[]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?)?;
        fleet.agent.stop()?;
        let own = fleet.agent.root().join(".slipway");
        ensure!(count(&own.join("ledger")) > 0);
        // As it was written on the machine that the image was made of.
        std::fs::write(
            own.join("host.json"),
            r#"{"format":1,"machine":"00112233445566778899aabbccddeeff","instance":null}"#,
        )?;
        fleet.agent.start()?;
        until_true("the state to be let go of", PATIENCE, || Ok(fleet.agent.log().contains("of another instance")))?;
        until_true("the ledger to be empty", PATIENCE, || Ok(count(&own.join("ledger")) == 0))?;
        contains(&fleet.agent.log(), &["machine 00112233445566778899aabbccddeeff"])?;
        let next = app(&destination, "next", &[]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v2", &next, BundleKind::Tgz)?)?)?;
        ensure!(page(&destination)? == "next");
        Ok(())
    })
}
