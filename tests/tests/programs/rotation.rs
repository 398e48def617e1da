//! Credentials of a role that are replaced, and the old ones refused, while something that takes long is under way.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use slipway_tests::agent::Agent;
use slipway_tests::deployment::{Finished, finish};
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::metadata::{Given, Metadata};
use slipway_tests::place::{Place, replace_private, scenario};
use slipway_tests::polled::Polled;
use slipway_tests::proxy::{Answer, Fate, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::sign::AccessKey;
use slipway_tests::until::until_true;
use tokio::sync::watch;

use crate::expect::{contains, lines, page, succeeded};

const IDENTIFIER: &str = "arn:aws:ec2:eu-west-1:111122223333:instance/i-0abc";
/// For a deployment on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// A host that has its credentials from a metadata service, with a key that the service knows.
struct Instance<'a> {
    fleet: Fleet<'a>,
    metadata: Metadata,
    first: AccessKey,
}

impl<'a> Instance<'a> {
    fn gather(place: &'a Place) -> Result<Self> {
        let fleet = Fleet::gather(place)?;
        let first = fleet.control.new_key(["--host", "web-1"])?;
        fleet.control.know_host_as(IDENTIFIER)?;
        std::fs::remove_file(fleet.agent.home().join("conf/codedeploy.onpremises.yml"))?;
        let metadata = Metadata::start("i-0abc", given(&first))?;
        Ok(Self { fleet, metadata, first })
    }

    fn start(&mut self) -> Result<()> {
        let metadata = &self.metadata;
        self.fleet.agent.start_with(|command| metadata.tells(command))
    }

    /// The role has other credentials from now on, and those before count no more.
    fn rotate(&self) -> Result<AccessKey> {
        let second = self.fleet.control.new_key(["--host", "web-1"])?;
        self.fleet.control.know_host_as(IDENTIFIER)?;
        self.metadata.gives(given(&second));
        self.fleet.control.revoke(&self.first.access_key_id)?;
        Ok(second)
    }

    /// Nothing failed, nothing was begun a second time, and the new credentials were used.
    fn is_whole(&self, finished: &Finished, second: &AccessKey, destination: &Path) -> Result<()> {
        succeeded(finished)?;
        ensure!(page(destination)? == "page");
        let log = self.fleet.agent.log();
        contains(&log, &[&self.first.access_key_id, &second.access_key_id])?;
        for twice in ["offered again", "begins anew", "ERROR"] {
            ensure!(!log.contains(twice), "{twice:?} is in\n{log}");
        }
        Ok(())
    }
}

fn given(key: &AccessKey) -> Given {
    let AccessKey { access_key_id, secret_access_key } = key.clone();
    Given { id: access_key_id, secret: secret_access_key, ..Given::expiring("", 6 * 3600) }
}

#[test]
fn credentials_change_while_a_hook_runs() -> Result<()> {
    scenario(|place| {
        let mut instance = Instance::gather(place)?;
        instance.start()?;
        let file = |name: &str| place.path().join(name);
        let (began, go_on, ran) = (file("began"), file("go-on"), file("ran"));
        let hook = format!(
            "echo x >> {}\ntouch {}\nuntil [ -e {} ]; do sleep 0.05; done",
            ran.display(),
            began.display(),
            go_on.display()
        );
        let fleet = &instance.fleet;
        let revision = app(&file("app"), "page", &[Hook::new("BeforeInstall", &hook)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the hook to begin", PATIENCE, || Ok(began.exists()))?;
        let second = instance.rotate()?;
        // Its poll finds out; nothing but the hook's result is to be told yet.
        until_true("the agent to have the new credentials", PATIENCE, || {
            Ok(fleet.agent.log().contains(&second.access_key_id))
        })?;
        ensure!(!ran.with_file_name("app").exists(), "it was installed before the hook ended");
        std::fs::write(&go_on, "")?;
        instance.is_whole(&finish(&fleet.api, &id, LONG)?, &second, &file("app"))?;
        ensure!(lines(&ran) == 1, "the hook ran {} times", lines(&ran));
        Ok(())
    })
}

fn user(arn: &str, key: &str, secret: &str) -> String {
    format!("region: us-east-1\niam_user_arn: {arn}\naws_access_key_id: {key}\naws_secret_access_key: {secret}\n")
}

/// `host-config` again, while the daemon runs: the new key counts at once, and nobody is told to look at the old one.
#[test]
fn an_on_premises_file_that_is_replaced_counts_at_once() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let file = fleet.agent.home().join("conf/codedeploy.onpremises.yml");
        let text = std::fs::read_to_string(&file)?;
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
        let (arn, old) = (line("iam_user_arn:").to_owned(), line("aws_access_key_id:").to_owned());
        fleet.agent.start()?;
        let key_is = |agent: &Agent<'_>, key: &str| {
            let daemon = agent.status()?["daemon"].clone();
            Ok(daemon["access_key"] == key && daemon["connection"]["state"] == "connected")
        };
        until_true("polls with the first key", PATIENCE, || key_is(&fleet.agent, old.trim_matches(['"', '\''])))?;
        let AccessKey { access_key_id, secret_access_key } = fleet.control.new_key(["--host", "web-1"])?;
        replace_private(&file, &user(&arn, &access_key_id, &secret_access_key))?;
        fleet.control.revoke(old.trim_matches(['"', '\'']))?;
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1", &app(&destination, "page", &[]), BundleKind::Tgz)?;
        succeeded(&fleet.group.deploy(&bundle)?)?;
        until_true("polls with the second key", PATIENCE, || key_is(&fleet.agent, &access_key_id))?;
        let log = fleet.agent.log();
        contains(&log, &["was replaced and read", &access_key_id])?;
        ensure!(!log.contains("check that key and secret belong together"), "{log}");
        ensure!(!log.contains(&secret_access_key));
        Ok(())
    })
}

/// What cannot be used is told, and what was known before it stays; SIGHUP says which of the two there is.
#[test]
fn an_on_premises_file_that_cannot_be_used_is_told_at_sighup() -> Result<()> {
    scenario(|place| {
        let mut agent = Agent::alone(place, "web-1")?;
        let service = Polled::start()?;
        let file = place.path().join("onpremises.yml");
        let arn = "arn:aws:iam::111122223333:user/web-1";
        replace_private(&file, &user(arn, "AKIAONE", "geheim"))?;
        agent.configure(
            "20-host.yml",
            &format!(
                "on_premises_config_file: {}\ndeploy_control_endpoint: {}\nwait_between_runs: 1\nwait_after_error: 1\n",
                file.display(),
                service.endpoint()
            ),
        )?;
        agent.start()?;
        until_true("polls with the first key", PATIENCE, || Ok(service.last_key() == "AKIAONE"))?;
        replace_private(&file, "region: us-east-1\n")?;
        until_true("the change to be told", PATIENCE, || Ok(agent.log().contains("cannot be used")))?;
        let before = service.polls().len();
        until_true("polls to go on", PATIENCE, || Ok(service.polls().len() > before + 1))?;
        ensure!(service.last_key() == "AKIAONE");
        agent.program().context("it runs")?.signal(Signal::SIGHUP)?;
        until_true("SIGHUP to say that it was not read", PATIENCE, || {
            let status = agent.status()?;
            let error = status["daemon"]["last_error"]["message"].as_str().unwrap_or_default().to_owned();
            Ok(error.contains("the identity was not read again at SIGHUP") && error.contains("iam_user_arn"))
        })?;
        // Refused, it is not the old key that is to be looked at.
        service.refuses("AKIAONE");
        until_true("the refusal to name the file's mistake", PATIENCE, || {
            let status = agent.status()?;
            let why = status["daemon"]["connection"]["why"].as_str().unwrap_or_default().to_owned();
            Ok(why.contains("the on-premises file was replaced and cannot be used"))
        })?;
        // Another host by now, with another key.
        let other = "arn:aws:iam::111122223333:user/web-2";
        replace_private(&file, &user(other, "AKIATWO", "geheim"))?;
        agent.program().context("it runs")?.signal(Signal::SIGHUP)?;
        until_true("SIGHUP to say who it is", PATIENCE, || {
            let log = agent.log();
            Ok(log.lines().any(|line| {
                ["SIGHUP: the identity was read again", "web-2", "AKIATWO"].iter().all(|part| line.contains(part))
            }))
        })?;
        until_true("polls as the other host", PATIENCE, || {
            Ok(service.polls().last().is_some_and(|poll| poll.key == "AKIATWO" && poll.body.contains(other)))
        })?;
        until_true("status to say so", PATIENCE, || {
            let daemon = agent.status()?["daemon"].clone();
            Ok(daemon["host"] == other && daemon["access_key"] == "AKIATWO")
        })?;

        // A daemon that has not looked yet is told from the file.
        let program = agent.program().context("it runs")?;
        program.signal(Signal::SIGSTOP)?;
        replace_private(&file, &user(other, "AKIATHREE", "geheim"))?;
        let output = agent.output(&["doctor", "--json"])?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let rows = report["checks"].as_array().context("a list")?;
        let row = rows.iter().find(|row| row["check"] == "running daemon").context("its check")?;
        let found = row["found"].as_str().unwrap_or_default();
        ensure!(row["result"] == "fail" && found.contains("AKIATWO") && found.contains("AKIATHREE"), "{row}");
        agent.program().context("it runs")?.signal(Signal::SIGCONT)?;
        until_true("polls with the third key", PATIENCE, || Ok(service.last_key() == "AKIATHREE"))
    })
}

/// One answer to a request for a part of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    range: String,
    status: u16,
}

/// Holds back all parts of a bundle but the first two, until somebody lets go of them.
struct Holds {
    go: watch::Receiver<bool>,
    held: Arc<Mutex<usize>>,
    answered: Arc<Mutex<Vec<Part>>>,
}

/// Bytes of a bundle that come before others are held back.
const AHEAD: u64 = 16 << 20;

fn begin_of(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
}

impl Rule for Holds {
    fn request(&self, request: &Passing) -> Fate {
        if begin_of(request.header("range")).is_none_or(|begin| begin < AHEAD) {
            return Fate::Forward;
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Fate::Hold(self.go.clone())
    }

    fn answer(&self, request: &Passing, answer: Answer) -> Answer {
        if request.operation.starts_with("GET ") {
            let part = Part { range: request.header("range").to_owned(), status: answer.status };
            self.answered.lock().unwrap_or_else(PoisonError::into_inner).push(part);
        }
        answer
    }
}

#[test]
fn credentials_change_in_the_middle_of_a_download() -> Result<()> {
    scenario(|place| {
        let mut instance = Instance::gather(place)?;
        let (let_go, go) = watch::channel(false);
        let (held, answered) = (Arc::<Mutex<usize>>::default(), Arc::<Mutex<Vec<Part>>>::default());
        let rule = Holds { go, held: Arc::clone(&held), answered: Arc::clone(&answered) };
        let proxy = Proxy::start(&instance.fleet.control, rule)?;
        let settings = format!("s3_endpoint_override: {}\n", proxy.endpoint());
        instance.fleet.agent.configure("20-proxy.yml", &settings)?;
        instance.start()?;
        let mut noise = vec![0; 40 << 20];
        fastrand::Rng::with_seed(5).fill(&mut noise);
        let destination = place.path().join("app");
        let revision = app(&destination, "page", &[]).file("content/noise", &noise);
        let fleet = &instance.fleet;
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tar)?)?;
        let parts = || answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        until_true("some parts to come, and the others to be held back", PATIENCE, || {
            let came = parts().iter().filter(|part| part.status == 206).count();
            Ok(came >= 2 && *held.lock().unwrap_or_else(PoisonError::into_inner) >= 3)
        })?;
        let second = instance.rotate()?;
        let_go.send(true)?;
        instance.is_whole(&finish(&fleet.api, &id, LONG)?, &second, &destination)?;
        ensure!(std::fs::read(destination.join("noise"))? == noise, "what is installed is not what was sent");
        let parts = parts();
        ensure!(parts.iter().any(|part| part.status == 403), "nothing was refused: {parts:?}");
        let mut came: Vec<_> = parts.iter().filter(|part| part.status == 206).map(|part| &part.range).collect();
        let all = came.len();
        came.sort();
        came.dedup();
        ensure!(came.len() == all, "a part came twice: {parts:?}");
        ensure!(parts.iter().filter(|part| part.range.is_empty()).count() == 1, "it was begun anew: {parts:?}");
        Ok(())
    })
}
