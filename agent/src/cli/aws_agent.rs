//! The daemon's service by the commands of AWS's `codedeploy-agent`, for scripts that know it: `start`, `stop`,
//! `restart` and `status`, with that program's words and exit statuses.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use super::cancel::daemon_runs;
use super::output::print;
use super::settings::Context;
use super::{FAILED, usage};
use crate::daemon::status;
use crate::disk::Dir;
use crate::process::{self, find_program};

/// The unit; that of AWS's agent is another name of it.
const UNIT: &str = "slipway-agent.service";
/// How long systemd may take: a daemon that ends lets its commands be handed over first.
const PATIENCE: Duration = Duration::from_secs(180);

/// Start, stop and look at the agent's service, with the commands of AWS's agent.
#[derive(Debug, Parser)]
#[command(name = "codedeploy-agent", version)]
struct AwsAgent {
    /// Configuration file
    #[arg(
        long = "config_file",
        alias = "config-file",
        alias = "config",
        short = 'c',
        value_name = "FILE",
        global = true
    )]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Start the service
    Start,
    /// Stop the service; a hook that runs goes on, and its result is reported after the next start
    Stop,
    /// Stop and start the service
    Restart,
    /// Say whether the agent runs, and as which process
    Status,
}

/// Whether arguments are a command of AWS's program, and no more than that.
pub(super) fn is_command(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().skip(1).map(|argument| argument.to_string_lossy());
    let mut command = None;
    while let Some(word) = words.next() {
        if matches!(&*word, "--config_file" | "--config-file" | "--config" | "-c") {
            words.next();
        } else if !word.starts_with("--config") && command.replace(word).is_some() {
            return false;
        }
    }
    matches!(command.as_deref(), Some("start" | "stop" | "restart" | "status"))
}

pub(super) fn run(arguments: Vec<OsString>) -> ExitCode {
    let agent = match AwsAgent::try_parse_from(arguments) {
        Ok(agent) => agent,
        Err(error) => return usage(&error),
    };
    carry_out(&agent).unwrap_or_else(|error| {
        // As that program begins its errors.
        eprintln!("error: {}", crate::causes::with_causes(&error));
        ExitCode::from(FAILED)
    })
}

fn carry_out(agent: &AwsAgent) -> anyhow::Result<ExitCode> {
    let context = Context::load(agent.config.as_deref())?;
    let before = running(&context)?;
    match (agent.command, before) {
        (Command::Status, Some(pid)) => print(&format!("The AWS CodeDeploy agent is running as PID {pid}\n"))?,
        (Command::Status, None) => bail!("No AWS CodeDeploy agent running"),
        (Command::Start, Some(pid)) => print(&format!("The AWS CodeDeploy agent is running already, as PID {pid}\n"))?,
        (Command::Start, None) => ask_systemd("start")?,
        (Command::Restart, _) => ask_systemd("restart")?,
        (Command::Stop, None) => print("Nothing running that could be stopped\n")?,
        (Command::Stop, Some(pid)) => {
            print(&format!("Stopping master {pid}\n"))?;
            ask_systemd("stop")?;
            if let Some(pid) = running(&context)? {
                bail!(
                    "AWS CodeDeploy agent is still running, as PID {pid}: {UNIT} has stopped, so something else runs \
                     it; end it there"
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The process of the daemon on this root.
fn running(context: &Context) -> anyhow::Result<Option<u32>> {
    if !daemon_runs(context)? {
        return Ok(None);
    }
    Ok(status::read(&context.layout.status())?.map(|status| status.pid))
}

fn ask_systemd(verb: &str) -> anyhow::Result<()> {
    let systemctl = find_program("systemctl").filter(|_| Dir::open("/run/systemd/system").is_ok());
    let Some(systemctl) = systemctl else {
        bail!(
            "systemd does not run this host, so there is no service to {verb}: have the host's own supervisor {verb} \
             `slipway-agent run`"
        );
    };
    ask(&systemctl, verb)
}

fn ask(systemctl: &Path, verb: &str) -> anyhow::Result<()> {
    let answer = process::ask(systemctl, &[OsStr::new(verb), OsStr::new(UNIT)], b"", PATIENCE)
        .with_context(|| format!("systemctl could not be asked to {verb} {UNIT}"))?;
    if let Some(failure) = answer.failure {
        let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        bail!("`systemctl {verb} {UNIT}` {failure}: {said}; `journalctl -u slipway-agent` tells more");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_commands_of_awss_program_are_taken() {
        let is = |words: &[&str]| is_command(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for words in [&["x", "status"][..], &["x", "--config_file", "f", "stop"], &["x", "--config_file=f", "start"]] {
            assert!(is(words), "{words:?}");
        }
        for words in
            [&["x"][..], &["x", "run"], &["x", "status", "--json"], &["x", "logs", "status"], &["x", "-c", "status"]]
        {
            assert!(!is(words), "{words:?}");
        }
    }
}
