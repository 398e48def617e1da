//! A booted host with the agent as its unit, and the control service that deploys to it.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use slipway_tests::binaries;
use slipway_tests::control::Control;
use slipway_tests::deployment::{Finished, finish};
use slipway_tests::fleet::{Bundle, Group, OnFailure, TAG_VALUE};
use slipway_tests::program;
use slipway_tests::proxy::Proxy;
use slipway_tests::revision::{BundleKind, Revision};
use slipway_tests::until::{until, until_true};

use crate::job::Ground;
use crate::machine::{Machine, Network};
use crate::report::Report;
use crate::wire::Wire;

/// The unit under test.
pub const UNIT: &str = "slipway-agent.service";
/// Longest time for a deployment, from one event's hook to its end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The agent's configuration on the host.
pub const CONFIG: &str = "/etc/codedeploy-agent/conf";
const PROGRAM: &str = "usr/bin/slipway-agent";
const WIRE: &str = "10-wire.yml";
/// The deployment group, and the tag of its hosts.
pub const GROUP: &str = "blue";

/// The host, its service and what is between them.
pub struct Host<'a> {
    /// The booted host.
    pub machine: Machine,
    /// The service.
    pub control: Control<'a>,
    /// The deployment group that the host is in.
    pub group: Group,
    /// What passes between the two.
    pub wire: Wire,
    /// The deployment that was begun last.
    last: RefCell<Option<String>>,
    _proxy: Proxy,
}

impl<'a> Host<'a> {
    /// A host that is registered and configured, without an agent. It is not booted yet.
    pub fn register(ground: &'a Ground, name: &str) -> Result<Self> {
        Self::register_with(ground, name, Control::start(&ground.place)?, Network::Shared)
    }

    /// The same, for a service that runs, on a network.
    fn register_with(ground: &'a Ground, name: &str, control: Control<'a>, network: Network) -> Result<Self> {
        let place = &ground.place;
        let api = Arc::new(control.administrator("tests")?);
        let group = Group::create(&control, &api, GROUP, OnFailure::Leave)?;
        let machine = Machine::create(ground, name, network)?;
        let root = machine.root();
        let conf = root.join(CONFIG.trim_start_matches('/'));
        fs::create_dir_all(conf.parent().context("the configuration has a folder")?)?;
        let mut host_config = control.cli()?;
        host_config.args(["host-config", name, "--installed-in", CONFIG, "--tag", &format!("{GROUP}={TAG_VALUE}")]);
        host_config.arg("--data").arg(control.data()).arg("--dir").arg(&conf);
        program::run(place, &mut host_config)?;
        let wire = Wire::default();
        let proxy = Proxy::start(&control, wire.clone())?;
        let configuration = proxy.configuration();
        let host = Self { machine, control, group, wire, last: RefCell::default(), _proxy: proxy };
        host.configure(WIRE, &configuration)?;
        Ok(host)
    }

    /// The same with the agent and its unit, neither enabled nor started.
    pub fn install(ground: &'a Ground, name: &str) -> Result<Self> {
        Self::install_with(ground, name, Control::start(&ground.place)?, Network::Shared)
    }

    /// The same, for a service that runs, on a network.
    pub fn install_with(ground: &'a Ground, name: &str, control: Control<'a>, network: Network) -> Result<Self> {
        let host = Self::register_with(ground, name, control, network)?;
        let root = host.machine.root();
        let units = root.join("usr/lib/systemd/system");
        fs::copy(binaries::repository().join("systemd").join(UNIT), units.join(UNIT)).context("install the unit")?;
        fs::copy(binaries::profile_directory()?.join("slipway-agent"), root.join(PROGRAM))
            .context("install the agent")?;
        Ok(host)
    }

    /// The same, booted, with an agent that is enabled and runs.
    pub fn start(ground: &'a Ground, name: &str) -> Result<Self> {
        let mut host = Self::install(ground, name)?;
        host.machine.boot()?;
        host.machine.run(&["systemctl", "enable", "--now", UNIT])?;
        Ok(host)
    }

    /// Takes away what is between agent and service, once the agent is started again.
    pub fn connect_directly(&self) -> Result<()> {
        let file = self.machine.root().join(CONFIG.trim_start_matches('/')).join("conf.d").join(WIRE);
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))
    }

    /// Makes one check. One that does not hold tells what the host and the service know about it, and leaves
    /// nothing to the next one.
    pub fn check(&mut self, report: &mut Report, what: &str, act: impl FnOnce(&mut Self) -> Result<()>) {
        let result = act(self);
        self.wire.let_pass();
        let result = result.map_err(|error| {
            eprintln!("{what}:\n{}", self.last_words());
            match self.settle() {
                Ok(told) => anyhow!("{error:#}; the service was told of {told}"),
                Err(also) => anyhow!("{error:#}; what the service was told is not known: {also:#}"),
            }
        });
        report.check(what, result);
    }

    /// Ends whatever runs, as a power cut does, and the deployment with it; gives what was reported of that.
    fn settle(&mut self) -> Result<String> {
        self.machine.cut_power()?;
        self.machine.boot()?;
        self.machine.run(&["systemctl", "start", UNIT])?;
        let Some(deployment) = self.last.borrow().clone() else { return Ok("no deployment".to_owned()) };
        let finished = self.finish(&deployment)?;
        let failure = finished.events.into_iter().find(|event| event.status == "Failed");
        Ok(failure.map_or("no failure".to_owned(), |event| format!("{}: {}", event.name, event.diagnostics)))
    }

    /// Writes a file of `conf.d`.
    pub fn configure(&self, file: &str, yaml: &str) -> Result<()> {
        let folder = self.machine.root().join(CONFIG.trim_start_matches('/')).join("conf.d");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(file), yaml).with_context(|| format!("write {file}"))
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let printed = self.machine.run(&["systemctl", "show", "--property", name, "--value", unit])?;
        Ok(printed.trim().to_owned())
    }

    /// The agent's process.
    pub fn agent_pid(&self) -> Result<u32> {
        let pid = self.property(UNIT, "MainPID")?;
        pid.parse().with_context(|| format!("MainPID is {pid}"))
    }

    /// Ends the agent at once, and nothing that it started.
    pub fn kill_agent(&self) -> Result<()> {
        self.machine.run(&["systemctl", "kill", "--signal=KILL", "--kill-who=main", UNIT]).map(drop)
    }

    /// Waits until another process than `before` is the agent, and has said that it is ready.
    pub fn until_replaced(&self, before: u32) -> Result<()> {
        until_true("systemd to have started the agent again", PATIENCE, || {
            let pid = self.agent_pid()?;
            Ok(pid != 0 && pid != before && self.property(UNIT, "ActiveState")? == "active")
        })
    }

    /// Puts another build of the agent where it is, as a package does: by rename, while the old one runs.
    pub fn replace_program(&self, build: &str) -> Result<()> {
        let path = self.machine.root().join(PROGRAM);
        let mut bytes = fs::read(&path)?;
        // What follows the last section does not run, and makes it another file.
        bytes.extend_from_slice(build.as_bytes());
        let new = path.with_extension("new");
        fs::copy(&path, &new)?;
        fs::write(&new, bytes)?;
        fs::rename(&new, &path).context("replace the agent's program")
    }

    /// Whether the agent that runs is the one that is installed now.
    pub fn runs_what_is_installed(&self) -> Result<bool> {
        let running = self.machine.run(&["readlink", &format!("/proc/{}/exe", self.agent_pid()?)])?;
        Ok(running.trim() == Path::new("/").join(PROGRAM).display().to_string())
    }

    /// The units of hooks that systemd knows, whatever became of them.
    pub fn hook_units(&self) -> Result<Vec<String>> {
        let words = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "slipway-hook-*"];
        let units = self.machine.run(&words)?;
        Ok(units.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
    }

    /// The unit of that event of that deployment, which has to be the only one of the event.
    pub fn hook_unit(&self, deployment: &str, event: &str) -> Result<String> {
        let prefix = format!("slipway-hook-{deployment}-{event}-");
        let all = self.hook_units()?;
        let mut its = all.iter().filter(|unit| unit.starts_with(&prefix));
        match (its.next(), its.next()) {
            (Some(unit), None) => Ok(unit.clone()),
            _ => bail!("one unit {prefix}… was expected, and there are {all:?}"),
        }
    }

    /// Whether a process of the host runs.
    pub fn is_running(&self, pid: &str) -> Result<bool> {
        let status = self.machine.try_run(&["cat", &format!("/proc/{pid}/status")])?;
        Ok(!status.is_empty() && !status.contains("State:\tZ"))
    }

    /// Packs a revision and puts it to S3.
    pub fn push(&self, name: &str, revision: &Revision) -> Result<Bundle> {
        self.group.push(name, revision, BundleKind::Tgz)
    }

    /// Deploys and holds that everything succeeded.
    pub fn deploy(&self, bundle: &Bundle) -> Result<()> {
        succeeded(&self.finish(&self.begin(bundle)?)?)
    }

    /// Begins a deployment, and gives its id.
    pub fn begin(&self, bundle: &Bundle) -> Result<String> {
        let deployment = self.group.begin(bundle)?;
        self.last.replace(Some(deployment.clone()));
        Ok(deployment)
    }

    /// Waits for the end of a deployment.
    pub fn finish(&self, deployment: &str) -> Result<Finished> {
        self.finish_within(deployment, PATIENCE)
    }

    /// The same where it takes longer than most.
    pub fn finish_within(&self, deployment: &str, patience: Duration) -> Result<Finished> {
        finish(self.group.api(), deployment, patience)
    }

    /// Runs the agent's command line to its end; an error unless it succeeds.
    pub fn agent(&self, words: &[&str]) -> Result<String> {
        self.machine.run(&[&["slipway-agent"], words].concat())
    }

    /// What `status --json` prints, whatever it makes of that.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.machine.try_run(&["slipway-agent", "status", "--json"])?)?)
    }

    /// Goes back to the revision before, by the host's own command line.
    pub fn roll_back(&self) -> Result<()> {
        let status = self.status()?;
        let group = status["groups"][0]["id"].as_str().context("a group was deployed to")?;
        self.agent(&["rollback", "--group", group]).map(drop)
    }

    /// A file of the host, seen from outside; empty if it is not there.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.machine.root().join(path.trim_start_matches('/'))).unwrap_or_default()
    }

    /// Waits until a file of the host says something, and gives it without its last newline.
    pub fn until_written(&self, path: &str) -> Result<String> {
        until(&format!("{path} to be written on the host"), PATIENCE, || {
            Ok(Some(self.read(path)).filter(|text| text.ends_with('\n')).map(|text| text.trim_end().to_owned()))
        })
    }

    /// Holds that each command had one result. The same one may be sent again, as long as nobody is known to
    /// have taken it.
    pub fn one_result_each(&self) -> Result<()> {
        let results = self.wire.results();
        for one in &results {
            let another = results.iter().find(|other| other.id == one.id && other.status != one.status);
            ensure!(another.is_none(), "{} was reported as {} and as {another:?}", one.name, one.status);
        }
        Ok(())
    }

    /// What the agent and the hooks' units logged last, for the message of a failure.
    fn last_words(&self) -> String {
        let words = ["journalctl", "--no-pager", "--lines=100", "--output=short-monotonic"];
        let units = ["--unit=slipway-agent.service", "--unit=slipway-hook-*"];
        self.machine.try_run(&[&words[..], &units[..]].concat()).unwrap_or_else(|error| error.to_string())
    }
}

/// Holds that a deployment succeeded with all of its events.
pub fn succeeded(finished: &Finished) -> Result<()> {
    for event in &finished.events {
        ensure!(event.status == "Succeeded", "{} ended as {}: {}", event.name, event.status, event.diagnostics);
    }
    ensure!(finished.status() == "Succeeded", "it ended as {}: {}", finished.status(), finished.info);
    Ok(())
}
