//! An error that does not go away, at each call of a recovery: the install cannot be settled, and the rest of the
//! host goes on. Other groups deploy, the daemon runs and says it, and giving the install up ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slipway_tests::until::until;

use crate::calls::{Call, Fault, inject, inject_on, record, was_killed};
use crate::corrupt::{after_commit, before_commit, before_moves};
use crate::host::{Host, State, done, said};
use crate::kill::{calls_of_deployment, spread};
use crate::report::Report;
use crate::revisions::Version;

/// How many calls of each recovery meet an error.
const CALLS: usize = 7;
/// Longest time for a daemon to look at what was cut off.
const PATIENCE: Duration = Duration::from_secs(30);
/// An error of a disk; nobody takes it for anything else.
const ERROR: &str = "EIO";

/// An error at calls of the recoveries from three moments of an install, for as long as it takes.
pub fn settling(host: &mut Host) -> Result<Report> {
    let calls = calls_of_deployment(host)?;
    let mut report = Report::default();
    for moment in [before_moves(&calls)?, before_commit(&calls)?, after_commit(&calls)?] {
        cut_off(host, &moment)?;
        let (recovery, output) = record(host.place(), &host.recover()?)?;
        done(&output)?;
        let mut shown_by_daemon = false;
        for call in spread(&distinct(&recovery), CALLS) {
            cut_off(host, &moment)?;
            let mut stuck = Stuck { host, call: &call, path: path_of(&call)? };
            match stuck.tried(&mut shown_by_daemon)? {
                Ok(end) => report.count(end),
                Err(problem) => report.violation(format!("{ERROR} at {call}, after {moment}: {problem}")),
            }
        }
        if !shown_by_daemon {
            report.complain(format!("no error kept a recovery from {moment} from its end, as a daemon would tell"));
        }
    }
    Ok(report)
}

/// Puts the host back and kills the next install at that moment.
fn cut_off(host: &mut Host, moment: &Call) -> Result<()> {
    host.reset()?;
    let output = inject(moment, Fault::Killed, &host.deploy(Version::New)?)?;
    ensure!(was_killed(output.status), "{moment}: it was not killed: {}", said(&output));
    Ok(())
}

/// One call of each name on each path: the same one again fails in the same way.
fn distinct(calls: &[Call]) -> Vec<Call> {
    let mut found: Vec<Call> = Vec::new();
    for call in calls {
        let is_known = found.iter().any(|known| known.name == call.name && path_of(known).ok() == path_of(call).ok());
        if !is_known && path_of(call).is_ok() {
            found.push(call.clone());
        }
    }
    found
}

/// The file or directory that a call works on: that of its first descriptor, or the path that it gives.
fn path_of(call: &Call) -> Result<PathBuf> {
    let (_, arguments) = call.line.split_once('(').context("a call has arguments")?;
    let of_descriptor = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
    let given = || arguments.split('"').nth(1);
    let path = if arguments.starts_with("AT_FDCWD") { given() } else { of_descriptor.or_else(given) };
    Ok(PathBuf::from(path.context("a call has a path")?))
}

/// A call that fails for ever, in whatever program.
struct Stuck<'a> {
    host: &'a mut Host,
    call: &'a Call,
    path: PathBuf,
}

impl Stuck<'_> {
    fn tried(&mut self, shown_by_daemon: &mut bool) -> Result<Result<&'static str, String>> {
        let transaction = self.host.transactions()?.first().context("a transaction is left")?.clone();
        let id = transaction.file_name().context("it has a name")?.to_string_lossy().into_owned();
        let command = format!("slipway-agent recover --abandon {id}");
        let recovered = self.run(&self.host.recover()?)?;
        if recovered.status.success() {
            return Ok(self.host.judge()?.map(|_| "settled in spite of it"));
        }
        if recovered.status.code() != Some(1) || !all(&recovered).contains(&command) {
            return Ok(Err(format!("recover ended with {}: {}", recovered.status, all(&recovered))));
        }
        if self.path.starts_with(self.host.root()) {
            return self.once_mended();
        }
        let other = self.run(&self.host.deploy_elsewhere()?)?;
        if !other.status.success() {
            return Ok(Err(format!("another group is held back: {}", all(&other))));
        }
        let own = self.run(&self.host.deploy(Version::New)?)?;
        if own.status.code() != Some(1) || !all(&own).contains(&command) {
            return Ok(Err(format!("its own group ended with {}: {}", own.status, all(&own))));
        }
        if !*shown_by_daemon {
            self.shown_by_daemon(&id)?;
            *shown_by_daemon = true;
        }
        let given_up = self.run(&self.host.abandon(&id)?)?;
        if !given_up.status.success() || !self.host.transactions()?.is_empty() {
            return Ok(Err(format!("it was not given up: {}", all(&given_up))));
        }
        self.after_that(&id)
    }

    /// The agent's own state is what fails: nothing can be given up there, and all is well once that is over.
    fn once_mended(&mut self) -> Result<Result<&'static str, String>> {
        done(&self.host.recover()?.output()?)?;
        Ok(self.host.judge()?.map(|_| "settled once the agent's own state was mended"))
    }

    /// The error is over, and old states that were kept are removed: the group is deployed to as if nothing had been.
    fn after_that(&mut self, id: &str) -> Result<Result<&'static str, String>> {
        self.host.remove_kept(id)?;
        let deployed = self.host.deploy(Version::New)?.output()?;
        if !deployed.status.success() {
            return Ok(Err(format!("the next deployment failed: {}", all(&deployed))));
        }
        Ok(match self.host.judge()? {
            Ok(State::New) => Ok("given up"),
            other => Err(format!("after the next deployment: {other:?}")),
        })
    }

    /// A daemon runs in spite of it, and says so.
    fn shown_by_daemon(&self, id: &str) -> Result<()> {
        let status = self.host.root().join(".slipway/status.json");
        let _ = fs::remove_file(&status);
        let mut daemon = inject_on(&self.call.name, &self.path, Fault::Error(ERROR), &self.host.daemon()?);
        let mut daemon = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start a daemon")?;
        let shown = until("a daemon to show what is not settled", PATIENCE, || {
            ensure!(daemon.try_wait()?.is_none(), "the daemon ended");
            let text = fs::read_to_string(&status).unwrap_or_default();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let is_shown = json["unsettled"][0].as_str().is_some_and(|shown| shown.contains(id));
            Ok(is_shown.then(|| json["pid"].as_i64()).flatten())
        });
        if let Ok(pid) = &shown {
            kill(Pid::from_raw(i32::try_from(*pid)?), Signal::SIGKILL)?;
        } else {
            daemon.kill()?;
        }
        daemon.wait()?;
        shown.map(drop)
    }

    fn run(&self, command: &Command) -> Result<Output> {
        inject_on(&self.call.name, &self.path, Fault::Error(ERROR), command).output().context("run strace")
    }
}

/// All that a command printed.
fn all(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether a name is one of the transaction's.
pub fn is_name_of(path: &Path, id: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(&format!(".{id}.")))
}
