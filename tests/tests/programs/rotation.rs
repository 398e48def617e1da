//! Credentials of a role that are replaced, and the old ones refused, while something that takes long is under way.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use slipway_tests::deployment::{Finished, finish};
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::metadata::{Given, Metadata};
use slipway_tests::place::{Place, scenario};
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
