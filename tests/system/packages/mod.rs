//! The packages, on booted hosts: made by the recipe that ships, of the programs that these tests were built with.

pub mod control;
pub mod deb;
pub mod rpm;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries;
use slipway_tests::until::until_true;

use crate::app::{self, Order};
use crate::host::{CONFIG, Host, PATIENCE, UNIT, succeeded};
use crate::machine::Machine;

/// How many checks there are of the agent's deb.
pub const DEB_AGENT: u64 = 9;
/// How many there are of taking the place of AWS's package.
pub const DEB_TAKEOVER: u64 = 3;
/// How many there are of the control service's deb.
pub const DEB_CONTROL: u64 = 6;
/// How many there are of the agent's rpm.
pub const RPM_AGENT: u64 = 7;

/// Versions that `make test-system` makes packages of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The workspace's.
    Own,
    /// One that is higher.
    Next,
}

impl Version {
    /// Its number.
    pub fn number(self) -> &'static str {
        match self {
            Self::Own => env!("CARGO_PKG_VERSION"),
            Self::Next => "99.0.0",
        }
    }
}

/// Installs the agent in a version, as the one kind of packages does.
type Install = fn(&Host<'_>, Version) -> Result<()>;

const PROGRAM: &str = "slipway-agent";
const EDIT: &str = "\n# an edit of the administrator\n";

/// A package's file, by how its name begins and ends.
pub fn package(version: Version, program: &str, kind: &str) -> Result<PathBuf> {
    let folder = binaries::profile_directory()?.join("packages");
    let number = version.number();
    let is_it = |name: &str| {
        name.strip_prefix(program).is_some_and(|rest| rest[1..].starts_with(&format!("{number}-1")))
            && name.ends_with(kind)
    };
    let files =
        fs::read_dir(&folder).with_context(|| format!("{}: `make test-system` makes packages", folder.display()))?;
    let found = files.flatten().find(|file| is_it(&file.file_name().to_string_lossy()));
    Ok(found.with_context(|| format!("there is no {kind} of {program} {number} in {}", folder.display()))?.path())
}

/// Brings a file to /root of a host, and gives its path there.
pub fn bring(machine: &Machine, file: &Path) -> Result<String> {
    let name = file.file_name().context("a file was expected")?.to_string_lossy().into_owned();
    fs::copy(file, machine.root().join("root").join(&name)).with_context(|| format!("copy {name} to the host"))?;
    Ok(format!("/root/{name}"))
}

/// Whether systemd calls a unit so.
fn is(host: &Host<'_>, question: &str, unit: &str, answer: &str) -> Result<()> {
    let said = host.machine.try_run(&["systemctl", question, unit])?;
    ensure!(said.trim() == answer, "systemctl {question} {unit} says {}, and {answer} was expected", said.trim());
    Ok(())
}

/// Enabled under both names, and ready.
fn runs(host: &Host<'_>) -> Result<()> {
    is(host, "is-enabled", UNIT, "enabled")?;
    is(host, "is-enabled", "codedeploy-agent.service", "alias")?;
    until_true("the agent to be ready", PATIENCE, || Ok(host.property(UNIT, "ActiveState")? == "active"))
}

fn config(host: &Host<'_>) -> String {
    host.read(&format!("{CONFIG}/codedeployagent.yml"))
}

/// Over a configuration that is there already.
fn installed(host: &Host<'_>, install: Install) -> Result<()> {
    let before = config(host);
    install(host, Version::Own)?;
    runs(host)?;
    ensure!(config(host) == before, "the configuration was changed");
    ensure!(host.runs_what_is_installed()?, "another program runs");
    Ok(())
}

/// In the middle of a hook, and after somebody has edited the configuration.
fn upgraded(host: &Host<'_>, install: Install) -> Result<()> {
    let path = host.machine.root().join(CONFIG.trim_start_matches('/')).join("codedeployagent.yml");
    fs::write(&path, config(host) + EDIT)?;
    let order = Order::wait(host.machine.root(), "AfterInstall")?;
    let deployment = host.begin(&host.push("v2", &app::revision("v2"))?)?;
    order.begun()?;
    let before = host.agent_pid()?;
    install(host, Version::Next)?;
    host.until_replaced(before)?;
    ensure!(host.runs_what_is_installed()?, "the old agent runs still");
    order.end_with(0)?;
    succeeded(&host.finish(&deployment)?)?;
    let times = order.runs().len();
    ensure!(times == 1, "the hook ran {times} times");
    host.one_result_each()?;
    ensure!(config(host).ends_with(EDIT), "the edit is gone:\n{}", config(host));
    Ok(())
}

/// An upgrade does not start what somebody stopped.
fn stays_stopped(host: &Host<'_>, install: Install) -> Result<()> {
    host.machine.run(&["systemctl", "stop", UNIT])?;
    install(host, Version::Own)?;
    is(host, "is-active", UNIT, "inactive")?;
    is(host, "is-enabled", UNIT, "enabled")
}
