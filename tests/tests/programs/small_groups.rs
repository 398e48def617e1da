//! Agents and hooks in small control groups: little memory, few processes. As root, where the old hierarchies of
//! control groups are writable; elsewhere these say that they were skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::binaries;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::{self, Place, scenario};
use slipway_tests::program;
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, failed_in, names, page, succeeded};

/// Most memory of an agent and its hooks.
const MEMORY: u64 = 64 << 20;
/// Content that is larger than that and does not compress.
const LARGE: usize = 100 << 20;
/// A script that holds more than there is.
const GREEDY: &str = "held=$(head -c 200000000 /dev/zero | tr '\\0' x)\necho \"held ${#held}\"";

/// A control group of one hierarchy; it goes with this value.
struct Group(PathBuf);

impl Group {
    /// Nothing where none can be made.
    fn create(place: &Place, controller: &str) -> Option<Self> {
        let name = place.path().file_name()?;
        let path = Path::new("/sys/fs/cgroup").join(controller).join(name);
        match fs::create_dir(&path) {
            Ok(()) if path.join("cgroup.procs").exists() => Some(Self(path)),
            made => {
                let why = made.err().map_or("it is no control group".to_owned(), |error| error.to_string());
                let _ = fs::remove_dir(&path);
                let _ = std::io::Write::write_fmt(
                    &mut std::io::stderr(),
                    format_args!("skipped: no control group can be made at {}: {why}\n", path.display()),
                );
                None
            }
        }
    }

    fn set(&self, file: &str, value: impl ToString) -> Result<()> {
        let value = value.to_string();
        fs::write(self.0.join(file), &value).with_context(|| format!("write {value} to {file}"))
    }

    fn get(&self, file: &str) -> Result<u64> {
        Ok(fs::read_to_string(self.0.join(file))?.trim().parse()?)
    }

    /// The same command, begun in the group.
    fn command(&self, command: &Command) -> Command {
        let mut within = Command::new("sh");
        within.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        within.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => within.env(name, value),
                None => within.env_remove(name),
            };
        }
        within
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What was ended a moment ago may still count.
        let _ = until_true("the control group to be empty", Duration::from_secs(5), || {
            Ok(!self.0.exists() || fs::remove_dir(&self.0).is_ok())
        });
    }
}

#[test]
fn a_bundle_larger_than_the_memory_is_deployed() -> Result<()> {
    // Not in /tmp, which may be memory, and count as such.
    let place = Place::new_in(&binaries::profile_directory()?)?;
    with_little_memory(&place).inspect_err(|_| eprintln!("{}", place.last_words()))
}

fn with_little_memory(place: &Place) -> Result<()> {
    let mut fleet = Fleet::gather(place)?;
    let Some(group) = Group::create(place, "memory") else { return Ok(()) };
    group.set("memory.limit_in_bytes", MEMORY)?;
    fleet.agent.start_with(|command| *command = group.command(command))?;
    let destination = place.path().join("app");
    let mut noise = vec![0; LARGE];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    let revision = app(&destination, "large", &[Hook::new("AfterInstall", "true")]).file("content/noise", &noise);
    let id = fleet.group.begin(&fleet.group.push("large", &revision, BundleKind::Tgz)?)?;
    succeeded(&finish(&fleet.api, &id, Duration::from_secs(300))?)?;
    ensure!(fs::read(destination.join("noise"))? == noise, "it is not what was sent");
    let most = group.get("memory.max_usage_in_bytes")?;
    ensure!(most > MEMORY / 10 * 9, "{most} bytes at most: the limit was never met");

    // A hook that takes what there is, and more, is ended, not the agent.
    let greedy = app(&destination, "greedy", &[Hook::new("AfterInstall", GREEDY)]);
    let finished = fleet.group.deploy(&fleet.group.push("greedy", &greedy, BundleKind::Tgz)?)?;
    failed_in(&finished, "AfterInstall")?;
    ensure!(!finished.failed_event()?.diagnostic("logTail").contains("held"), "{}", finished.info);
    fleet.agent.program().context("it runs")?.must_run()?;
    let next = app(&destination, "next", &[Hook::new("AfterInstall", "true")]);
    succeeded(&fleet.group.deploy(&fleet.group.push("next", &next, BundleKind::Tgz)?)?)?;
    ensure!(page(&destination)? == "next" && names(&destination) == ["page"]);
    fleet.agent.stop()
}

#[test]
fn too_few_processes_are_an_error_and_no_damage() -> Result<()> {
    scenario(|place| {
        let Some(group) = Group::create(place, "pids") else { return Ok(()) };
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let deploy = |page: &str| -> Result<Output> {
            let directory = place.directory(page)?;
            app(&destination, page, &[Hook::new("AfterInstall", "true | true")]).write(&directory)?;
            let location = directory.display().to_string();
            program::output(place, &mut group.command(&host.command(&["deploy-local", "-g", "shop", "-l", &location])?))
        };
        group.set("pids.max", "max")?;
        let first = deploy("page-0")?;
        ensure!(first.status.success(), "{first:?}");
        let (mut last, mut refused) = ("page-0".to_owned(), 0);
        for most in 1..=12 {
            group.set("pids.max", most)?;
            let name = format!("page-{most}");
            let output = deploy(&name)?;
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            ensure!(!said.contains("panicked"), "with {most} processes:\n{said}");
            let found = page(&destination)?;
            ensure!(found == name || found == last, "with {most} processes: {found}");
            if !output.status.success() {
                refused += 1;
                // The agent's words, or the script's own shell's.
                let is_told = said.contains("os error 11") || said.contains("Cannot fork");
                ensure!(is_told, "with {most} processes:\n{said}");
            }
            last = found;
            until_true("all of it to be gone", Duration::from_secs(30), || {
                Ok(place::processes(place.path()).is_empty())
            })?;
        }
        ensure!(refused > 1, "{refused} deployments had too few processes");
        group.set("pids.max", "max")?;
        let after = deploy("after")?;
        ensure!(after.status.success() && page(&destination)? == "after", "{after:?}");
        Ok(())
    })
}

#[test]
fn an_agent_that_may_start_nothing_says_so_and_goes_on_later() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let Some(group) = Group::create(place, "pids") else { return Ok(()) };
        fleet.agent.start_with(|command| *command = group.command(command))?;
        let destination = place.path().join("app");
        let deploy = |page: &str| {
            let revision = app(&destination, page, &[Hook::new("AfterInstall", "true | true")]);
            fleet.group.deploy(&fleet.group.push(page, &revision, BundleKind::Tgz)?)
        };
        succeeded(&deploy("one")?)?;
        group.set("pids.max", group.get("pids.current")?)?;
        let refused = deploy("two")?;
        ensure!(refused.status() == "Failed", "{}", refused.info);
        contains(refused.failed_event()?.diagnostic("message"), &["os error 11"])?;
        fleet.agent.program().context("it runs")?.must_run()?;
        ensure!(["one", "two"].contains(&page(&destination)?.as_str()));
        group.set("pids.max", "max")?;
        succeeded(&deploy("three")?)?;
        ensure!(page(&destination)? == "three");
        fleet.agent.stop()
    })
}
