//! Configuration that is wrong.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use slipway_tests::agent::Agent;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::metadata::ask_at;
use slipway_tests::place::{scenario, write_private};
use slipway_tests::polled::Polled;
use slipway_tests::program;
use slipway_tests::until::until_true;
use slipway_tests::web::free_port;

use crate::expect::contains;

/// For what waits for a pause of the agent.
const LONG: Duration = Duration::from_secs(90);

#[test]
fn a_bad_value_stops_the_agent_with_its_place_and_what_is_allowed() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("20-bad.yml", "# a comment\nmax_revisions: 0\nwait_between_runs: often\n")?;
        let output = agent.output(&["run"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2), "it ended with {}:\n{said}", output.status);
        contains(&said, &["20-bad.yml:2", "max_revisions", "0", "20-bad.yml:3", "wait_between_runs", "often"])
    })
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest_known_one() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("20-typo.yml", "max_revision: 3\n")?;
        let output = agent.output(&["recover"])?;
        let warned = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{warned}");
        contains(&warned, &["20-typo.yml:1", "max_revision", "max_revisions"])
    })
}

#[test]
fn a_host_without_an_identity_is_told_what_was_tried() -> Result<()> {
    scenario(|place| {
        let mut agent = Agent::alone(place, "web-1")?;
        let missing = place.path().join("no-such-file.yml");
        agent.configure("20-identity.yml", &format!("on_premises_config_file: {}\n", missing.display()))?;
        agent.start()?;
        slipway_tests::until::until("the agent to say what is missing", std::time::Duration::from_secs(20), || {
            let log = agent.log();
            Ok((log.contains("on-premises file") && log.contains("AWS_HOST_IDENTIFIER")).then_some(()))
        })
    })
}

/// The row of a check in what `doctor --json` prints.
fn check(agent: &Agent<'_>, name: &str) -> Result<Value> {
    let output = agent.output(&["doctor", "--json"])?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let rows = report["checks"].as_array().context("checks is a list")?;
    rows.iter().find(|row| row["check"] == name).cloned().with_context(|| format!("{name} is not in {report}"))
}

/// The package starts the daemon before there is anything to configure it. What comes then counts as a whole, before a
/// key of it signs anything.
#[test]
fn a_configuration_that_comes_after_the_start_counts_as_a_whole() -> Result<()> {
    scenario(|place| {
        let mut agent = Agent::alone(place, "web-1")?;
        let on_premises = place.path().join("onpremises.yml");
        let nobody = format!("http://127.0.0.1:{}", free_port()?);
        agent.configure("20-identity.yml", &format!("on_premises_config_file: {}\n", on_premises.display()))?;
        agent.configure("30-pace.yml", "wait_between_runs: 1\nwait_after_error: 1\n")?;
        agent.start_with(|command| ask_at(command, &nobody))?;
        let asked_again = || agent.log().matches("it is asked again who this host is").count();
        until_true("the agent to wait", PATIENCE, || Ok(asked_again() > 0))?;
        let pid = agent.status()?["daemon"]["pid"].clone();
        // Written half, it is waited for; whoever the host is by then.
        agent.configure("40-service.yml", "deploy_control_endpoint: half\n")?;
        write_private(&on_premises, &identity("AKIAFIRST"))?;
        until_true("the mistake to be told", LONG, || {
            let log = agent.log();
            Ok(log.contains("the configuration has changed and cannot be used") && log.contains("40-service.yml:1"))
        })?;
        let service = Polled::start()?;
        agent.configure("40-service.yml", &format!("deploy_control_endpoint: {}\n", service.endpoint()))?;
        until_true("polls at the service of the files", LONG, || Ok(service.last_key() == "AKIAFIRST"))?;
        let status = agent.status()?["daemon"].clone();
        ensure!(status["pid"] == pid && status["outdated"] == json!([]), "{status}");
        until_true("status to say so", PATIENCE, || {
            Ok(agent.status()?["daemon"]["connection"]["state"] == "connected")
        })?;
        let log = agent.log();
        contains(&log, &["the configuration has changed before it was known who this host is"])?;
        ensure!(!log.contains("amazonaws.com"), "{log}");
        let row = check(&agent, "running daemon")?;
        ensure!(row["result"] == "pass", "{row}");

        // From now on it is told, by the setting's name.
        let another = Polled::start()?;
        agent.configure("40-service.yml", &format!("deploy_control_endpoint: {}\n", another.endpoint()))?;
        let status = agent.status()?["daemon"].clone();
        ensure!(status["outdated"][0]["key"] == "deploy_control_endpoint", "{status}");
        let shown = String::from_utf8(agent.output(&["status"])?.stdout)?;
        contains(&shown, &["deploy_control_endpoint", "systemctl restart slipway-agent"])?;
        let row = check(&agent, "running daemon")?;
        let found = row["found"].as_str().unwrap_or_default();
        ensure!(row["result"] == "fail", "{row}");
        contains(found, &["deploy_control_endpoint", service.endpoint(), another.endpoint()])?;
        // What SIGHUP takes is no difference.
        agent.configure(
            "40-service.yml",
            &format!("deploy_control_endpoint: {}\nverbose: true\n", service.endpoint()),
        )?;
        ensure!(agent.status()?["daemon"]["outdated"][0]["key"] == "verbose");
        agent.program().context("it runs")?.signal(Signal::SIGHUP)?;
        until_true("nothing to differ", PATIENCE, || Ok(agent.status()?["daemon"]["outdated"] == json!([])))
    })
}

fn identity(key: &str) -> String {
    format!(
        "region: eu-central-1\niam_user_arn: arn:aws:iam::111122223333:user/web-1\naws_access_key_id: {key}\n\
         aws_secret_access_key: geheim\n"
    )
}

/// The row of a key in what `config --json` printed.
fn row<'v>(shown: &'v Value, key: &str) -> Result<&'v Value> {
    let rows = shown["settings"].as_array().context("settings is a list")?;
    rows.iter().find(|row| row["key"] == key).with_context(|| format!("{key} has no row in {shown}"))
}

#[test]
fn every_setting_is_shown_with_where_it_came_from_and_no_password() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let text = "# a comment\nprofile: strict\nmax_revisions: 3\nreject_symlinks_in_bundle: false\nmax_revision: 4\n\
                    proxy_uri: http://me:hunter2@proxy:3128\nwait_between_runs: 2\n";
        agent.configure("20-mine.yml", text)?;
        let file = agent.home().join("conf/conf.d/20-mine.yml").display().to_string();
        let output = program::output(place, agent.command(&["config", "--json"])?.env("NO_PROXY", "a,.b"))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let shown: Value = serde_json::from_slice(&output.stdout)?;
        let rows = [
            ("max_revisions", json!(3), json!({"kind": "file", "file": file, "line": 3})),
            ("wait_between_runs", json!(2), json!({"kind": "file", "file": file, "line": 7})),
            ("reject_symlinks_in_bundle", json!(false), json!({"kind": "file", "file": file, "line": 4})),
            ("disable_core_dumps", json!(true), json!({"kind": "strict_profile"})),
            ("http_read_timeout", json!(80), json!({"kind": "default"})),
            ("user", Value::Null, json!({"kind": "default"})),
            ("no_proxy", json!(["a", ".b"]), json!({"kind": "environment", "variable": "NO_PROXY"})),
            ("proxy_uri", json!("http://(credentials)@proxy:3128"), json!({"kind": "file", "file": file, "line": 6})),
        ];
        for (key, value, origin) in rows {
            let row = row(&shown, key)?;
            ensure!(row["value"] == value && row["origin"] == origin, "{row}");
        }
        let warning = shown["warnings"][0].as_str().unwrap_or_default();
        contains(warning, &["20-mine.yml:5", "max_revision"])?;
        let plain = agent.output(&["config"])?;
        let lines = String::from_utf8(plain.stdout)?;
        let line = |key: &str| {
            let words = lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            words.into_iter().find(|words| words.first() == Some(&key)).map(|words| words.join(" "))
        };
        ensure!(line("max_revisions") == Some(format!("max_revisions 3 {file}:3")), "{lines}");
        ensure!(line("disable_core_dumps").as_deref() == Some("disable_core_dumps true profile: strict"), "{lines}");
        ensure!(line("verbose").as_deref() == Some("verbose false default"), "{lines}");
        ensure!(!lines.contains("hunter2") && !shown.to_string().contains("hunter2"));
        Ok(())
    })
}

#[test]
fn a_configuration_that_is_wrong_is_not_shown() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("20-bad.yml", "max_revisions: 0\n")?;
        let output = agent.output(&["config", "--json"])?;
        ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
        contains(&String::from_utf8_lossy(&output.stderr), &["20-bad.yml:1"])
    })
}

#[test]
fn strict_does_not_start_with_plain_http_or_specifications_by_any_signer() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let (endpoint, s3) =
            ("deploy_control_endpoint: http://deploy.example.com\n", "s3_endpoint_override: http://s3.example.com\n");
        agent.configure("20-service.yml", &format!("{endpoint}{s3}"))?;
        agent.configure("50-strict.yml", "# hardened\nprofile: strict\n")?;
        for command in ["run", "config", "status"] {
            let output = agent.output(&[command])?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() == Some(2), "{command} ended with {}:\n{said}", output.status);
            let places = [
                "20-service.yml:1: deploy_control_endpoint is http:",
                "20-service.yml:2: s3_endpoint_override is http:",
            ];
            contains(&said, &places)?;
            contains(&said, &["20-service.yml:1: deployment_spec_ca_file is not set", "50-strict.yml:2"])?;
        }
        agent.configure("20-service.yml", "deploy_control_endpoint: https://deploy.example.com\n")?;
        let output = agent.output(&["run"])?;
        ensure!(output.status.code() == Some(2), "it ended with {}", output.status);
        contains(&String::from_utf8_lossy(&output.stderr), &["deployment_spec_ca_file is not set"])?;
        // The metadata service has nothing but plain HTTP, on the host's own link.
        agent.configure("20-service.yml", "s3_endpoint_override: http://127.0.0.1:9000\n")?;
        for (address, accepted) in [("http://169.254.169.254", true), ("http://192.0.2.1", false)] {
            let mut command = agent.command(&["config"])?;
            let output = program::output(place, command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", address))?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success() == accepted, "{address}: {said}");
            ensure!(accepted || said.contains("AWS_EC2_METADATA_SERVICE_ENDPOINT is http://192.0.2.1/"), "{said}");
        }
        Ok(())
    })
}

#[test]
fn plain_http_and_a_missing_authority_are_said_in_every_profile() -> Result<()> {
    scenario(|place| {
        let mut agent = Agent::alone(place, "web-1")?;
        // Nobody listens there, and it is not loopback by its number.
        agent.configure("20-service.yml", &format!("deploy_control_endpoint: http://0.0.0.0:{}\n", free_port()?))?;
        let parts = [
            "deploy_control_endpoint is http://0.0.0.0",
            "with plain HTTP",
            "deployment_spec_ca_file is not set",
            "20-service.yml:1",
        ];
        let status = agent.output(&["status"])?;
        contains(&String::from_utf8_lossy(&status.stdout).split_whitespace().collect::<Vec<_>>().join(" "), &parts)?;
        ensure!(agent.status()?["exposed"].as_array().context("a list")?.len() == 2);
        let doctor: Value = serde_json::from_slice(&agent.output(&["doctor", "--json"])?.stdout)?;
        let checks = doctor["checks"].as_array().context("checks is a list")?;
        let warned: Vec<&Value> = checks.iter().filter(|check| check["result"] == "warn").collect();
        ensure!(warned.len() == 2 && warned.iter().all(|check| check["check"] == "trust in services"), "{doctor}");
        contains(&Value::from_iter(warned.into_iter().cloned()).to_string(), &parts)?;
        agent.start()?;
        until_true("the daemon to say it", LONG, || {
            let log = agent.log();
            Ok(parts.iter().all(|part| log.contains(part)))
        })?;
        // Behind TLS and with an authority there is nothing to say.
        let settings = "deploy_control_endpoint: https://deploy.example.com\ndeployment_spec_ca_file: /ca.pem\n";
        agent.configure("20-service.yml", settings)?;
        ensure!(agent.status()?["exposed"] == json!([]));
        Ok(())
    })
}
