//! Nothing that a run leaves behind holds a secret of it, in no encoding that a log or a state file could have.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;
use slipway_tests::binaries;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::metadata::{Given, Metadata};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::Program;
use slipway_tests::proxy::{Answer, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::secret::Secret;
use slipway_tests::until::until_true;
use slipway_tests::web::free_port;

use crate::expect::{failed_in, succeeded};

/// Of the proxy: with signs that a URL has to encode.
const PROXY_PASSWORD: &str = "hun+ter/2&7f3a9c55e0";
const PROXY_PASSWORD_IN_A_URL: &str = "hun%2Bter%2F2%267f3a9c55e0";
/// Of the agent's environment.
const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEBQaCmV1LXdlc3Qt/of+a=test==";
const OTHER_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYsecretofatest";

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let secret = Secret::new("a secret", PROXY_PASSWORD);
    let all: String = PROXY_PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for text in [
        format!("x{PROXY_PASSWORD}y"),
        hex::encode(format!("ab{PROXY_PASSWORD}")),
        PROXY_PASSWORD_IN_A_URL.to_owned(),
        PROXY_PASSWORD_IN_A_URL.to_lowercase(),
        all,
        STANDARD.encode(format!("me:{PROXY_PASSWORD}")),
        STANDARD.encode(format!("you:{PROXY_PASSWORD}\n")),
        URL_SAFE.encode(format!("them:{PROXY_PASSWORD}")),
        STANDARD.encode(PROXY_PASSWORD),
        format!("{:?}", PROXY_PASSWORD),
    ] {
        assert!(secret.in_text(text.as_bytes()).is_some(), "{text}");
    }
    assert_eq!(secret.in_text(b"hun+ter"), None);
}

/// What takes the entries of the journal.
type Reading = JoinHandle<std::io::Result<()>>;

/// The agent with a journal of its own, whose entries end up in a file, or without one where that cannot be.
fn start(place: &Place, fleet: &Fleet<'_>, journal: &UnixDatagram) -> Result<(Program, Option<Reading>)> {
    let script = "set -e\nmount -t tmpfs none /run\nmkdir -p /run/systemd/journal\n\
                  mount --bind \"$1\" /run/systemd/journal\nshift\n\
                  export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)\nexec \"$@\"";
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c", script, "sh"]).arg(place.path().join("journal"));
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "sh", "-c", script, "sh"]).arg(place.path().join("journal")).arg("true");
    let can = probe.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success());
    let daemon = binaries::agent()?;
    let configuration = fleet.agent.config_file();
    let arguments = [OsStr::new("run"), OsStr::new("--config"), configuration.as_os_str()];
    let mut command = if can { wrapped } else { Command::new(daemon.get_program()) };
    if can {
        command.arg(daemon.get_program());
    } else {
        std::io::stderr().write_all(b"without a journal: one of one's own cannot be mounted here\n")?;
    }
    for (variable, value) in daemon.get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    command.args(arguments).env("AWS_SECRET_ACCESS_KEY", OTHER_SECRET).env("AWS_SESSION_TOKEN", SESSION_TOKEN);
    let program = Program::start(place, "agent-web-1", &mut command)?;
    if !can {
        return Ok((program, None));
    }
    let socket = journal.try_clone()?;
    let file = place.path().join("journal-entries");
    let reading = std::thread::spawn(move || {
        let mut entries = fs::OpenOptions::new().create(true).append(true).open(file)?;
        let mut buffer = vec![0; 256 << 10];
        // An empty one is the test's own, to end it.
        while let Ok(length @ 1..) = socket.recv(&mut buffer) {
            entries.write_all(&buffer[..length])?;
        }
        Ok(())
    });
    Ok((program, Some(reading)))
}

/// Lets the reader of the journal come to its end.
fn finish(place: &Place, reading: Option<Reading>) -> Result<()> {
    let Some(reading) = reading else { return Ok(()) };
    UnixDatagram::unbound()?.send_to(b"", place.path().join("journal/socket"))?;
    Ok(reading.join().map_err(|_| anyhow::anyhow!("the reader of the journal panicked"))??)
}

#[test]
fn nothing_that_a_run_leaves_holds_a_secret() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let journal = UnixDatagram::bind(place.directory("journal")?.join("socket"))?;
        let on_premises = fleet.agent.home().join("conf/codedeploy.onpremises.yml");
        let identity = fs::read_to_string(&on_premises)?;
        let key = identity.lines().find_map(|line| line.strip_prefix("aws_secret_access_key: "));
        let secrets = [
            Secret::new("the host's secret key", key.context("the host has a key")?.trim()),
            Secret::new("the secret key of the environment", OTHER_SECRET),
            Secret::new("the session token of the environment", SESSION_TOKEN),
            Secret::new("the proxy's password", PROXY_PASSWORD),
        ];
        let usual = format!(
            "verbose: true\nlog_dir: {0}/log\nmetrics_file: {0}/metrics\nkeep_bundles: true\nwait_after_error: 1\n\
             s3_proxy_uri: http://me:{PROXY_PASSWORD_IN_A_URL}@127.0.0.1:{1}\nno_proxy: 127.0.0.1\n",
            place.path().display(),
            free_port()?
        );
        // A first life in which nothing gets through the proxy.
        let proxied = usual.replace("no_proxy: 127.0.0.1\n", "").replace("s3_proxy_uri", "proxy_uri");
        fleet.agent.configure("30-secrets.yml", &proxied)?;
        let (mut daemon, reading) = start(place, &fleet, &journal)?;
        let log = place.path().join("log/codedeploy-agent.log");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        until_true("a poll to fail", PATIENCE, || Ok(said().contains("through the proxy")))?;
        daemon.stop(Duration::from_secs(30))?;
        finish(place, reading)?;

        fleet.agent.configure("30-secrets.yml", &usual)?;
        let (mut daemon, reading) = start(place, &fleet, &journal)?;
        let hooks = [Hook::new("AfterInstall", "env; cat /proc/$PPID/cmdline"), Hook::new("ApplicationStart", "true")];
        let good = app(&place.path().join("app"), "page", &hooks);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &good, BundleKind::Tgz)?)?)?;
        let bad = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", "env; exit 3")]);
        let failed = fleet.group.deploy(&fleet.group.push("v2", &bad, BundleKind::Tgz)?)?;
        failed_in(&failed, "AfterInstall")?;

        let mut printed = Vec::new();
        for arguments in [
            &["status", "--json"] as &[&str],
            &["status"],
            &["config", "--json"],
            &["config"],
            &["doctor", "--json"],
            &["doctor"],
            &["history", "--json"],
            &["metrics"],
            &["logs"],
            &["drift", "--json"],
        ] {
            let output = fleet.agent.output(arguments)?;
            ensure!(!output.stdout.is_empty(), "{arguments:?}: {output:?}");
            printed.push((arguments.join(" "), [output.stdout, output.stderr].concat()));
        }
        printed.push(("the service's reports".to_owned(), failed.info.to_string().into_bytes()));
        daemon.stop(Duration::from_secs(30))?;
        let has_journal = reading.is_some();
        finish(place, reading)?;

        // What holds secrets because it is what they were put in: the service's own data, and the configuration.
        let known = [fleet.control.data().to_owned(), fleet.agent.home().join("conf")];
        let mut searched = Vec::new();
        collect(place.path(), &known, &mut searched)?;
        let mut needed =
            vec!["spec.json", "scripts.log", "codedeploy-agent.log", "metrics", "status.json", "agent-web-1.log"];
        needed.extend(has_journal.then_some("journal-entries"));
        for name in needed {
            ensure!(
                searched.iter().any(|(path, text)| path.ends_with(name) && !text.is_empty()),
                "{name} was not searched"
            );
        }
        for (place, text) in searched.iter().chain(&printed) {
            for secret in &secrets {
                let found = secret.in_text(text).map(String::from_utf8_lossy);
                ensure!(found.is_none(), "{} is in {place}, as {}", secret.name(), found.unwrap_or_default());
            }
        }
        // The search looks at what it should: the secrets are where they belong.
        let kept = fs::read(&on_premises)?;
        ensure!(secrets[0].in_text(&kept).is_some());
        Ok(())
    })
}

/// All files below a directory, and the names of all that is there.
pub fn collect(directory: &Path, known: &[std::path::PathBuf], into: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if known.contains(&path) {
            continue;
        }
        into.push((format!("the name of {}", path.display()), path.display().to_string().into_bytes()));
        if kind.is_dir() {
            collect(&path, known, into)?;
        } else if kind.is_file() {
            into.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    Ok(())
}

/// Gives a specification that was not signed, with a token in it; and refuses a poll with the request's own headers
/// in its words, as some services do.
struct Tells(Mutex<usize>);

/// Of a deployment, for GitHub.
const GITHUB_TOKEN: &str = "ghp_9sX2kQm4VbT7wRz1LcY8nD3fH6jK0pAe5uGi";

impl Rule for Tells {
    fn answer(&self, request: &Passing, answer: Answer) -> Answer {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match request.operation.as_str() {
            "GetDeploymentSpecification" => {
                let payload = json!({"DeploymentId": "d-1", "GitHubAccessToken": GITHUB_TOKEN}).to_string();
                let envelope = json!({"Format": "TEXT/JSON", "Payload": payload});
                let body =
                    json!({"DeploymentSystem": "CodeDeploy", "DeploymentSpecification": {"GenericEnvelope": envelope}});
                Answer { status: 200, headers: answer.headers, body: body.to_string().into_bytes() }
            }
            "PollHostCommand" if *told == 0 => {
                *told += 1;
                let [token, signature] = ["x-amz-security-token", "authorization"].map(|name| request.header(name));
                let message =
                    format!("The canonical string should have been x-amz-security-token:{token} ({signature})");
                let body = json!({"__type": "ServerException", "message": message});
                Answer { status: 500, headers: answer.headers, body: body.to_string().into_bytes() }
            }
            _ => answer,
        }
    }
}

#[test]
fn the_log_of_the_wire_tells_everything_but_secrets() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let proxy = Proxy::start(&fleet.control, Tells(Mutex::new(0)))?;
        let key = fleet.control.new_key(["--host", "web-1"])?;
        let identity = "arn:aws:ec2:eu-west-1:111122223333:instance/i-0abc";
        fleet.control.know_host_as(identity)?;
        fs::remove_file(fleet.agent.home().join("conf/codedeploy.onpremises.yml"))?;
        let given = Given {
            id: key.access_key_id.clone(),
            secret: key.secret_access_key.clone(),
            token: SESSION_TOKEN.to_owned(),
            ..Given::expiring("", 6 * 3600)
        };
        let metadata = Metadata::start("i-0abc", given)?;
        let settings = format!("{}log_aws_wire: true\nwait_after_error: 0.1\nverbose: true\n", proxy.configuration());
        fleet.agent.configure("30-wire.yml", &settings)?;
        fleet.agent.start_with(|command| metadata.tells(command))?;
        let bundle = fleet.group.push("v1", &app(&place.path().join("app"), "page", &[]), BundleKind::Tgz)?;
        failed_in(&fleet.group.deploy(&bundle)?, "ApplicationStop")?;
        fleet.agent.stop()?;
        let log = fleet.agent.log();
        let parts = [
            "asked the commands service",
            "the commands service answered",
            "PollHostCommand",
            "PutHostCommandComplete",
            identity,
            "x-amz-target: CodeDeployCommandService_v20141006.PollHostCommand",
            "authorization: (secret)",
            "x-amz-security-token: (secret)",
            "The canonical string should have been x-amz-security-token:(secret)",
            "bytes, not shown",
        ];
        for part in parts {
            ensure!(log.contains(part), "{part:?} is missing in\n{log}");
        }
        ensure!(!log.contains("Signature="), "a signature is in\n{log}");
        let known = [fleet.control.data().to_owned(), fleet.agent.home().join("conf")];
        let mut searched = Vec::new();
        collect(place.path(), &known, &mut searched)?;
        for secret in [
            Secret::new("the host's secret key", &key.secret_access_key),
            Secret::new("the session token", SESSION_TOKEN),
            Secret::new("the token for GitHub", GITHUB_TOKEN),
        ] {
            for (path, text) in &searched {
                let found = secret.in_text(text).map(String::from_utf8_lossy);
                ensure!(found.is_none(), "{} is in {path}, as {}", secret.name(), found.unwrap_or_default());
            }
        }
        Ok(())
    })
}
