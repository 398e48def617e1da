//! From what became of a script to what the service and people are told.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::attach::{Cause, Lost};
use super::first_line::{FirstLine, first_windows_line};
use super::record::{End, Exit, Output, RunnerSpec, ScriptsOf};
use crate::disk::Dir;
use crate::ids::EventName;
use crate::outcome::{ErrorCode, Failure, MAX_LOG, tail};
use crate::process::{Ended, Holder};

/// How much of a script is looked at, in bytes.
const LOOKED_AT: u64 = 1 << 20;

/// The output of an event's scripts, of which the end is reported.
#[derive(Debug)]
pub(super) struct EventLog(String);

impl EventLog {
    pub(super) fn begin(event: &EventName) -> Self {
        Self(format!("LifecycleEvent - {event}\n"))
    }

    pub(super) fn add(&mut self, script: &str, log: &str) {
        self.0.push_str(&format!("Script - {script}\n{log}"));
        if !self.0.ends_with('\n') {
            self.0.push('\n');
        }
        self.0 = tail(&self.0, 2 * MAX_LOG).to_owned();
    }

    pub(super) fn tail(&self) -> String {
        tail(&self.0, MAX_LOG).to_owned()
    }
}

/// Judges what became of the script that a runner was to run.
pub(super) struct Verdict<'a>(pub &'a RunnerSpec);

impl Verdict<'_> {
    /// The failure of a script with a result, or nothing if it succeeded.
    pub(super) fn of_exit(&self, exit: &Exit) -> Option<Failure> {
        let at = format!("{}{}", self.what(), self.as_user());
        let (code, message) = match &exit.end {
            End::Ended { how: Ended::Exit(0), output: Output::Closed } => return None,
            End::Ended { how: Ended::Exit(0), output: Output::LeftOpen { holders } } => {
                (ErrorCode::OutputLeftOpen, format!("{at} ended, but {}", self.left_open(holders)))
            }
            End::Ended { how, output } => {
                let also = match output {
                    Output::Closed => String::new(),
                    Output::LeftOpen { holders } => format!(" Also, {}", self.left_open(holders)),
                };
                (ErrorCode::ScriptFailed, format!("{at} failed {}. {}{also}", ended(*how), self.look(exit)))
            }
            End::TimedOut { survivors } => (
                ErrorCode::ScriptTimedOut,
                format!(
                    "{at} failed to complete in {} seconds and was ended with all that it had started{}. {} If it needs \
                     longer, raise `timeout` of this script in the AppSpec's hooks.{}",
                    self.0.limits.timeout.as_secs(),
                    ran(exit),
                    last_lines(&exit.log),
                    still_there(survivors)
                ),
            ),
            End::Interrupted { survivors } => (
                ErrorCode::FailedAfterRestart,
                format!(
                    "{at} was interrupted: its runner was told to end, as by a shutdown of the host, and has ended the \
                     script{}. It is not started again by itself: see what it has done, and deploy again.{}",
                    ran(exit),
                    still_there(survivors)
                ),
            ),
            End::NotStarted { code, message } => (*code, message.clone()),
            End::Unwatched { message } => (
                ErrorCode::UnknownError,
                format!(
                    "{at} began, but could not be watched and was ended: {message}. Deploy again once that is mended."
                ),
            ),
        };
        Some(self.failure(code, message))
    }

    /// The failure of a script that was cut off.
    pub(super) fn of_loss(&self, lost: &Lost) -> Failure {
        let since = lost.since.map(|at| format!(", which began at {at:.0},")).unwrap_or_default();
        let what = format!("{}{}{since}", self.what(), self.as_user());
        let message = match &lost.cause {
            Cause::Cancelled(reason) => format!("{what} was ended with all that it had started: {reason}."),
            Cause::RunnerGone(said) => {
                let said = match said.as_deref() {
                    Some("oom-kill") => "by the kernel for lack of memory, systemd says".to_owned(),
                    Some(result) => format!("systemd says: {result}"),
                    None => "by hand or by the kernel for lack of memory".to_owned(),
                };
                format!(
                    "{what} lost its runner: slipway-agent's hook-runner process was killed ({said}; `journalctl -k` \
                     tells more). What the script had left running was ended; its result is not known."
                )
            }
            Cause::Reboot => format!(
                "{what} was interrupted by a reboot of the host, or a new start of its container. Where the script itself \
                 asked for the reboot: let it end first, and restart in the background."
            ),
        };
        let remedy =
            "A script that has started is never started again by itself: see what it has done, and deploy again.";
        self.failure(ErrorCode::FailedAfterRestart, format!("{message} {remedy}{}", still_there(&lost.survivors)))
    }

    /// The failure of a script that was not begun, for somebody's reason.
    pub(super) fn not_begun(&self, reason: &str) -> Failure {
        let message = format!("{} was not started: {reason}.", self.what());
        Failure::of_script(&self.0.subject.name, ErrorCode::UnknownError, message)
    }

    /// A failure with this message, and with whose script it is.
    pub(super) fn failure(&self, code: ErrorCode, message: String) -> Failure {
        let subject = &self.0.subject;
        let message = match &subject.scripts_of {
            ScriptsOf::ThisDeployment | ScriptsOf::Host => message,
            ScriptsOf::Earlier(deployment) => format!(
                "{message} This script comes from deployment {deployment}, not from the one you are deploying, so a \
                 correction in the new revision does not reach it. To go on: skip it once (`aws deploy create-deployment \
                 --ignore-application-stop-failures`), or let the host forget that revision's scripts (`slipway-agent \
                 forget --group {}`), or correct it in {}.",
                self.0.group,
                subject.path.display()
            ),
        };
        Failure::of_script(&subject.name, code, message)
    }

    fn what(&self) -> String {
        let subject = &self.0.subject;
        match subject.scripts_of {
            ScriptsOf::Host => format!("The host's program `{}`", subject.name),
            ScriptsOf::ThisDeployment | ScriptsOf::Earlier(_) => {
                format!("Script at specified location: {}", subject.name)
            }
        }
    }

    fn as_user(&self) -> String {
        self.0.subject.user.as_ref().map(|user| format!(" run as user {user}")).unwrap_or_default()
    }

    fn left_open(&self, holders: &[Holder]) -> String {
        let grace = self.0.limits.output_grace.as_secs_f64();
        let who = if holders.is_empty() { "a process that could not be found".to_owned() } else { list(holders) };
        format!(
            "its output was still held open {grace:.0} seconds later by {who}, which was ended. Start background \
             processes with their output elsewhere: `command >/dev/null 2>&1 &`."
        )
    }

    fn look(&self, exit: &Exit) -> String {
        let line_ends = windows_line(&self.0.subject.path).map(|line| {
            let name = &self.0.subject.name;
            format!(
                " The script has Windows line ends, the first in line {line}: a shell takes the carriage return for a \
                 part of the line. Save it with Unix line ends (`sed -i 's/\\r$//' {name}`, in git `*.sh text eol=lf` in \
                 .gitattributes)."
            )
        });
        format!(
            "{} All of its output is in {} on the host.{}",
            last_lines(&exit.log),
            self.0.logs.scripts.display(),
            line_ends.unwrap_or_default()
        )
    }
}

fn ended(how: Ended) -> String {
    match how {
        Ended::Exit(126) => "with exit code 126 (a command that it calls is there but cannot be executed)".to_owned(),
        Ended::Exit(127) => {
            "with exit code 127 (a command that it calls was not found: look at its spelling and at PATH)".to_owned()
        }
        Ended::Exit(code) => format!("with exit code {code}"),
        Ended::Signal(9) => {
            "by signal 9 (SIGKILL; the kernel does so when memory runs out, `journalctl -k` tells)".to_owned()
        }
        Ended::Signal(signal) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(name) => format!("by signal {signal} ({name})"),
            Err(_) => format!("by signal {signal}"),
        },
    }
}

fn ran(exit: &Exit) -> String {
    let ran = Duration::try_from(
        exit.began
            .until(exit.ended)
            .map_or(jiff::SignedDuration::ZERO, |span| jiff::SignedDuration::try_from(span).unwrap_or_default()),
    );
    ran.map(|ran| format!(" after {:.1} s", ran.as_secs_f64())).unwrap_or_default()
}

/// The last line that says something, and the last of the standard error where that is another one.
fn last_lines(log: &str) -> String {
    let says_something = |line: &&str| {
        let content = line.strip_prefix("[stdout]").or(line.strip_prefix("[stderr]")).unwrap_or(line);
        !content.trim().is_empty() && content.trim() != "…"
    };
    let mut lines = log.lines().rev().map(str::trim).filter(says_something);
    let Some(last) = lines.next() else { return "It wrote no output.".to_owned() };
    let of_errors = if last.starts_with("[stderr]") { None } else { lines.find(|line| line.starts_with("[stderr]")) };
    match of_errors {
        None => format!("Its last line: “{}”.", shortened(last)),
        Some(error) => format!("Its last lines: “{}” and “{}”.", shortened(error), shortened(last)),
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(200) {
        None => line.to_owned(),
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
    }
}

/// The first line of a shell script that ends as lines do on Windows.
fn windows_line(script: &Path) -> Option<usize> {
    let mut head = Vec::new();
    let parent = Dir::open(script.parent()?).ok()?;
    let file = parent.open_file(script.file_name()?).ok()?;
    file.take(LOOKED_AT).read_to_end(&mut head).ok()?;
    FirstLine::of(&head).is_of_a_shell().then(|| first_windows_line(&head)).flatten()
}

fn still_there(survivors: &[Holder]) -> String {
    if survivors.is_empty() { String::new() } else { format!(" Could not be ended: {}.", list(survivors)) }
}

fn list(holders: &[Holder]) -> String {
    let named: Vec<String> =
        holders.iter().take(3).map(|holder| format!("process {} ({})", holder.pid, holder.command)).collect();
    let more = holders.len().saturating_sub(named.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", named.join(", "))
}
