//! A clock that is set years forth and back: deadlines are counted on a clock that nobody sets. Where libfaketime
//! is not installed these say that they were skipped.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::binaries;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::Program;
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::until_true;

use crate::expect::{lines, page, succeeded};

/// Where distributions put the library, or one directory below.
const LIBRARIES: [&str; 3] = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// A wall clock that a test can set while programs run by it.
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// The right time at first; nothing where it cannot be had.
    pub(crate) fn new(place: &Place) -> Result<Option<Self>> {
        let Some(library) = library() else {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("skipped: there is no libfaketime; `tests/prepare test` installs it\n"),
            );
            return Ok(None);
        };
        let clock = Self { library, file: place.path().join("clock") };
        clock.set("+0")?;
        let said = clock.give(Command::new("date").arg("+%Y")).output()?;
        ensure!(said.status.success(), "{said:?}");
        Ok(Some(clock))
    }

    /// Sets it, relative to the right time: `+5y`, `-5y`.
    pub(crate) fn set(&self, offset: &str) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{offset}\n"))?;
        fs::rename(&new, &self.file).context("set the clock")
    }

    /// Lets a program go by it. What counts time since the boot stays right, as when a real clock is set.
    pub(crate) fn give<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DONT_RESET", "1")
    }
}

fn library() -> Option<PathBuf> {
    let below = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        std::iter::once(PathBuf::from(folder)).chain(entries.filter(|path| path.is_dir())).collect::<Vec<_>>()
    };
    let folders = LIBRARIES.into_iter().flat_map(below);
    let mut libraries =
        folders.flat_map(|folder| ["faketime/libfaketimeMT.so.1", "libfaketimeMT.so.1"].map(|name| folder.join(name)));
    libraries.find(|library| library.exists())
}

/// A script that waits to be let go, and says something now and then, by which its runner wakes up.
struct Gate {
    began: PathBuf,
    go_on: PathBuf,
    ran: PathBuf,
    said: PathBuf,
}

impl Gate {
    fn new(place: &Place) -> Self {
        let file = |name: &str| place.path().join(name);
        Self { began: file("began"), go_on: file("go-on"), ran: file("ran"), said: file("said") }
    }

    fn lines(&self) -> String {
        let Self { began, go_on, ran, said } = self;
        format!(
            "echo x >> {}\ntouch {}\nuntil [ -e {} ]; do echo x; echo x >> {}; sleep 0.05; done",
            ran.display(),
            began.display(),
            go_on.display(),
            said.display()
        )
    }

    /// Waits until it has said some more.
    fn hear(&self) -> Result<()> {
        let heard = lines(&self.said);
        until_true("the script to say more", PATIENCE, || Ok(lines(&self.said) > heard + 2))
    }

    fn open(&self) -> Result<()> {
        fs::write(&self.go_on, "").context("let the script go on")
    }
}

#[test]
fn an_agent_outlives_a_clock_that_is_years_off() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let Some(clock) = Clock::new(place)? else { return Ok(()) };
        fleet.agent.start_with(|command| {
            clock.give(command);
        })?;
        let (destination, gate) = (place.path().join("app"), Gate::new(place));
        let script = gate.lines();
        let revision = app(&destination, "page", &[Hook::new("AfterInstall", &script)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the hook to begin", PATIENCE, || Ok(gate.began.exists()))?;
        // Forth while it runs, and in the next life; back in the one after that.
        clock.set("+20y")?;
        fleet.agent.kill()?;
        fleet.agent.start_with(|command| {
            clock.give(command);
        })?;
        // No certificate is valid then: the service is not believed, and nothing is given up for it.
        until_true("status to say that polls fail", PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"]["connection"]["state"] == "failing")
        })?;
        ensure!(lines(&gate.ran) == 1 && fleet.agent.program().context("it runs")?.ended()?.is_none());
        clock.set("-20y")?;
        fleet.agent.kill()?;
        fleet.agent.start_with(|command| {
            clock.give(command);
        })?;
        gate.open()?;
        until_true("status to say that a result waits", PATIENCE, || {
            Ok(fleet.agent.status()?["unreported"].as_array().is_some_and(|waiting| !waiting.is_empty()))
        })?;
        clock.set("+0")?;
        succeeded(&finish(&fleet.api, &id, Duration::from_secs(150))?)?;
        ensure!(lines(&gate.ran) == 1, "the hook ran {} times", lines(&gate.ran));
        ensure!(page(&destination)? == "page");
        let next = app(&destination, "next", &[]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v2", &next, BundleKind::Tgz)?)?)?;
        ensure!(page(&destination)? == "next");
        Ok(())
    })
}

#[test]
fn a_script_is_not_ended_early_by_a_clock_that_jumps() -> Result<()> {
    by_a_clock(600, |clock, gate, directory| {
        for offset in ["+20y", "-20y", "+20y"] {
            clock.set(offset)?;
            gate.hear()?;
            ensure!(!directory.join("exit.json").exists(), "it has ended at {offset}");
        }
        gate.open()?;
        ensure!(result(directory)?["end"]["ended"]["how"]["exit"] == 0, "{}", result(directory)?);
        Ok(())
    })
}

#[test]
fn a_script_does_not_get_more_time_by_a_clock_that_is_put_back() -> Result<()> {
    by_a_clock(2, |clock, _gate, directory| {
        clock.set("-20y")?;
        let end = &result(directory)?["end"];
        ensure!(end["timed_out"].is_object(), "{end}");
        Ok(())
    })
}

/// Runs a script under a runner that goes by a clock; agents start runners with an empty environment, so this
/// one is started by hand, with what an agent wrote for another.
fn by_a_clock(timeout: u32, act: impl FnOnce(&Clock, &Gate, &Path) -> Result<()>) -> Result<()> {
    scenario(|place| {
        let Some(clock) = Clock::new(place)? else { return Ok(()) };
        let host = slipway_tests::agent::Agent::alone(place, "web-1")?;
        let gate = Gate::new(place);
        let script = gate.lines();
        let hook = Hook { timeout, ..Hook::new("AfterInstall", &script) };
        let revision = place.directory("revision")?;
        app(&place.path().join("app"), "page", &[hook]).write(&revision)?;
        gate.open()?;
        let deployed = host.output(&["deploy-local", "-l", &revision.display().to_string()])?;
        ensure!(deployed.status.success(), "{deployed:?}");
        fs::remove_file(&gate.go_on)?;
        fs::remove_file(&gate.began)?;
        let hooks = host.root().join(".slipway/hooks");
        let deployment = fs::read_dir(&hooks)?.next().context("a hook is on record")??;
        let directory = hooks.join("by-a-clock");
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        fs::copy(deployment.path().join("AfterInstall-0/spec.json"), directory.join("spec.json"))?;
        let mut command = binaries::agent()?;
        clock.give(command.arg("hook-runner").arg(&directory));
        let _runner = Program::start(place, "runner", &mut command)?;
        until_true("the script to begin", PATIENCE, || Ok(gate.began.exists()))?;
        act(&clock, &gate, &directory)
    })
}

/// What a runner left, once it has.
fn result(directory: &Path) -> Result<Value> {
    let file = directory.join("exit.json");
    until_true("the script to end", PATIENCE, || Ok(file.exists()))?;
    Ok(serde_json::from_slice(&fs::read(&file)?)?)
}
