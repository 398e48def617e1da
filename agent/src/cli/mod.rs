//! The command line: one file per command.

mod audit;
mod aws_agent;
mod cancel;
mod config;
mod deploy_local;
mod doctor;
mod drift;
mod forget;
mod groups;
mod history;
mod image_clean;
mod logs;
mod metrics;
mod migrate;
mod local;
mod local_findings;
mod logging;
mod logging_file;
mod logging_journal;
mod other_agent;
mod next_steps;
mod notices;
mod output;
mod past;
mod pause;
mod plan;
mod recover;
mod revision_arguments;
mod rollback;
mod run;
mod script_lines;
mod services;
mod settings;
mod settings_daemon;
mod status;
mod status_problems;
mod status_watch;
mod terminal;
mod validate;
mod when;
mod whoami;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::causes::with_causes;
use crate::ids::{DeploymentId, GroupId};
use crate::process;
use terminal::{Terminal, Tone};

/// Exit status: something failed, or was found.
const FAILED: u8 = 1;
/// Exit status: bad usage, or something that was needed could not be read.
const UNREADABLE: u8 = 2;

/// Exit status: the plan clashes with what is on the host.
const CLASHES: u8 = 3;
/// Exit status: no daemon runs, as service managers have it.
const NOT_RUNNING: u8 = 3;

/// Deployment agent: downloads revisions, installs them as a transaction, runs lifecycle hooks,
/// reports and rolls back.
#[derive(Debug, Parser)]
#[command(name = "slipway-agent", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: poll the control service and carry out its deployments
    Run(ConfigFile),
    /// Deploy a bundle or directory on this host, without a control service
    DeployLocal(deploy_local::Arguments),
    /// Go back to the newest good revision of a group other than the current one; needs no network
    Rollback(rollback::Arguments),
    /// Show what is deployed, what runs, and the last error
    Status(status::Arguments),
    /// Show the deployments of this host, the newest first: events, durations, outcomes
    History(history::Arguments),
    /// Show the output of a deployment's scripts
    Logs(logs::Arguments),
    /// Show which scripts ran, their user and signer; check with `--verify` that the record was not changed
    Audit(audit::Arguments),
    /// Show who this host is, with which credentials it speaks, and where both came from
    Whoami(whoami::Arguments),
    /// Show the settings in effect, and where each came from; secrets are not shown
    Config(config::Arguments),
    /// Look at everything that this host needs to deploy, and say what to do about what is wrong
    Doctor(doctor::Arguments),
    /// Print figures for a monitoring system, as OpenMetrics
    Metrics(ConfigFile),
    /// End a deployment on this host: the hook that runs now, and whatever would come after it
    Cancel(cancel::Arguments),
    /// Take no new work from the control service, until `resume`; what runs goes on
    Pause(pause::Arguments),
    /// Take work again
    Resume(ConfigFile),
    /// Forget whose scripts stop what a group runs now, where a broken stop script blocks every deployment
    Forget(forget::Arguments),
    /// Show what `deploy-local` with the same arguments would change on this host, and change nothing
    Plan(plan::Arguments),
    /// Show what on this host no longer is what was installed
    Drift(drift::Arguments),
    /// Say what is wrong with a revision or an AppSpec file; needs no configuration, and can take one
    Validate(validate::Arguments),
    /// Finish or undo installs that were cut off, as the daemon does at every start; or give one up
    Recover(recover::Arguments),
    /// Make this host ready to be an image: remove identity, host commands and logs, keep what is deployed
    ImageClean(image_clean::Arguments),
    /// Say what this agent takes over from AWS's agent on this host, what it ignores, and what is different
    Migrate(migrate::Arguments),
    /// Run one script of a hook from its spec file; started by the agent itself
    #[command(hide = true)]
    HookRunner {
        /// The runner's directory
        directory: PathBuf,
    },
}

/// The option that every command takes.
#[derive(Clone, Debug, Args)]
struct ConfigFile {
    /// Configuration file [default: /etc/codedeploy-agent/conf/codedeployagent.yml]
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    path: Option<PathBuf>,
}

/// The command line's definition, of which manual pages and completions are made.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the arguments of the process and runs the command that they name, or what the name of a program of AWS's
/// agent stands for.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    process::set_up_heap();
    let arguments = match by_name(arguments) {
        Called::Own(arguments) => arguments,
        Called::AwsTool(arguments) => return deploy_local::run_as_aws_tool(arguments),
        Called::AwsAgent(arguments) => return aws_agent::run(arguments),
    };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command {
        Command::Run(config) => run::run(&config),
        Command::DeployLocal(arguments) => deploy_local::run(&arguments),
        Command::Rollback(arguments) => rollback::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::History(arguments) => history::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Whoami(arguments) => whoami::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Metrics(config) => metrics::run(&config),
        Command::Cancel(arguments) => cancel::run(&arguments),
        Command::Pause(arguments) => pause::run(&arguments),
        Command::Resume(config) => pause::resume(&config),
        Command::Forget(arguments) => forget::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Drift(arguments) => drift::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::ImageClean(arguments) => image_clean::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::HookRunner { directory } => crate::hooks::runner::main(&directory),
    }
}

/// As which program this one was called.
#[derive(Debug, PartialEq, Eq)]
enum Called {
    /// As itself.
    Own(Vec<OsString>),
    /// As AWS's tool for local deployments.
    AwsTool(Vec<OsString>),
    /// As AWS's agent, with one of its commands. With any other it is this program by another name.
    AwsAgent(Vec<OsString>),
}

/// By the program's name; or by the first argument, for a script in that program's place, which cannot give it the name.
fn by_name(mut arguments: Vec<OsString>) -> Called {
    const NAMES: [&str; 2] = ["codedeploy-local", "codedeploy-agent"];
    if arguments.get(1).is_some_and(|argument| NAMES.iter().any(|name| argument == name)) {
        arguments.remove(0);
    }
    let name = arguments.first().and_then(|path| Path::new(path).file_name()).and_then(|name| name.to_str());
    match name {
        Some("codedeploy-local") => Called::AwsTool(arguments),
        Some("codedeploy-agent") if aws_agent::is_command(&arguments) => Called::AwsAgent(arguments),
        _ => Called::Own(arguments),
    }
}

/// Ends a command whose arguments were wrong, or asked for help.
fn usage(error: &clap::Error) -> ExitCode {
    // Printing fails only where there is nobody to read it.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(UNREADABLE) } else { ExitCode::SUCCESS }
}

/// Ends a command that could not do its work: the error and its causes, on standard error.
fn fail(error: &anyhow::Error) -> ExitCode {
    tell(error);
    ExitCode::from(FAILED)
}

/// Ends a command whose configuration or arguments could not be used.
fn unreadable(error: &anyhow::Error) -> ExitCode {
    tell(error);
    ExitCode::from(UNREADABLE)
}

fn tell(error: &anyhow::Error) {
    const PROGRAM: &str = "slipway-agent:";
    let terminal = Terminal::stderr();
    let text = terminal.wrap("", &format!("{PROGRAM} {}", output::visible_lines(&with_causes(error))));
    let text = text.strip_prefix(PROGRAM).unwrap_or(&text);
    eprintln!("{}{text}", terminal.paint(Tone::Bad, PROGRAM));
}

fn parse_group(text: &str) -> Result<GroupId, String> {
    GroupId::parse(text).map_err(|error| error.to_string())
}

fn parse_deployment(text: &str) -> Result<DeploymentId, String> {
    DeploymentId::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_old_name_is_a_local_deploy() {
        let by = |words: &[&str]| by_name(words.iter().map(OsString::from).collect());
        let tool = "/opt/codedeploy-agent/bin/codedeploy-local";
        assert_eq!(by(&[tool, "-l", "/x"]), Called::AwsTool(vec![tool.into(), "-l".into(), "/x".into()]));
        assert_eq!(by(&["slipway-agent", "codedeploy-local", "-q"]), by(&["codedeploy-local", "-q"]));
        assert!(matches!(by(&["slipway-agent", "status"]), Called::Own(_)));
        assert!(matches!(by(&["slipway-agent", "codedeploy-agent", "status"]), Called::AwsAgent(_)));
        assert!(matches!(by(&["/opt/bin/codedeploy-agent", "run"]), Called::Own(_)));
        assert!(matches!(by(&[]), Called::Own(_)));
    }
}
