//! A program that runs beside a scenario.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::place::{PLACE_VARIABLE, Place};
use crate::until::until;

/// A started program in a process group of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` for `place`; its output is appended to the log of that name.
    pub fn start(place: &Place, name: &str, command: &mut Command) -> Result<Self> {
        let log = place.logs().join(format!("{name}.log"));
        let child = command
            .env(PLACE_VARIABLE, place.path())
            .stdin(Stdio::null())
            .stdout(append(&log)?)
            .stderr(append(&log)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would, and waits until it is gone. What it started lives on.
    pub fn kill(&mut self) -> Result<()> {
        let _ = kill(self.pid(), Signal::SIGKILL);
        self.child.wait()?;
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    /// Asks it to end, waits, and says so if it does not.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        kill(self.pid(), Signal::SIGTERM)?;
        let what = format!("{} to end after TERM", self.name);
        until(&what, patience, || Ok(self.child.try_wait()?))
    }

    /// Its end, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error with its last words if it has ended, since then there is nothing to wait for.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.log_text()),
        }
    }

    /// All that it printed so far.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Lets it run beyond this value.
    pub fn release(mut self) {
        // The group stays: `Drop` kills only what is still this value's.
        self.name.clear();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        if let Ok(None) = self.child.try_wait() {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Runs a command to its end; an error with all of its output unless it succeeds.
pub fn run(place: &Place, command: &mut Command) -> Result<String> {
    let output = output(place, command)?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a command to its end, whatever that is.
pub fn output(place: &Place, command: &mut Command) -> Result<Output> {
    let command = command.env(PLACE_VARIABLE, place.path()).stdin(Stdio::null());
    command.output().with_context(|| format!("run {command:?}"))
}

fn append(log: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))
}
