//! `deploy-local`: a deployment without a control service, by the same engine. Also AWS's `codedeploy-local`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::bail;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};

use super::local::{self, LocalDeployment, Manner};
use super::revision_arguments::{LOCATION, RevisionArguments};
use super::settings::Context;
use super::{fail, logging, unreadable, usage};
use crate::ids::EventName;
use crate::lifecycle::{Command, HOOK_EVENTS, IN_PLACE};

/// What to deploy, and how to show it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    revision: RevisionArguments,
    #[command(flatten)]
    manner: MannerArguments,
}

/// How a deployment is shown.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct MannerArguments {
    /// Print JSON at the end, and nothing before
    #[arg(long)]
    json: bool,
    /// Print nothing unless it fails
    #[arg(short = 'q', long)]
    quiet: bool,
}

impl MannerArguments {
    pub(super) fn manner(&self) -> Manner {
        match (self.json, self.quiet) {
            (true, _) => Manner::Json,
            (false, true) => Manner::Quiet,
            (false, false) => Manner::Table,
        }
    }
}

/// Deploy a bundle or directory on this host, as AWS's codedeploy-local does. Without a location, deploy the current
/// directory.
#[derive(Debug, Parser)]
#[command(name = "codedeploy-local", version, disable_version_flag = true)]
struct AwsTool {
    #[command(flatten)]
    arguments: Arguments,
    /// Print version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: (),
}

/// In whose order events run where none are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Those of a host without a load balancer.
    InPlace,
    /// AWS's tool also runs those around a load balancer.
    Aws,
}

/// What AWS's tool runs by itself.
const AWS_ORDER: [&str; 11] = [
    "BeforeBlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
];

/// Events that concern what runs before the revision is there, by AWS's rules of order.
const BEFORE_DOWNLOAD: [&str; 3] = ["BeforeBlockTraffic", "AfterBlockTraffic", "ApplicationStop"];

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    deploy(arguments, Order::InPlace)
}

/// Runs the program under the name of AWS's tool.
pub(super) fn run_as_aws_tool(arguments: Vec<OsString>) -> ExitCode {
    let parsed = aws_tool().try_get_matches_from(arguments).and_then(|matches| AwsTool::from_arg_matches(&matches));
    match parsed {
        Ok(tool) => deploy(&tool.arguments, Order::Aws),
        Err(error) => usage(&error),
    }
}

/// What that tool's command line is.
pub(super) fn aws_tool() -> clap::Command {
    AwsTool::command().mut_group(LOCATION, |group| group.required(false))
}

fn deploy(arguments: &Arguments, order: Order) -> ExitCode {
    let context = match Context::load(arguments.revision.config()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    let notices = logging::start_quiet(context.shape());
    context.warn();
    let deployment = match deployment(arguments, order) {
        Ok(deployment) => deployment,
        Err(error) => return unreadable(&error),
    };
    local::deploy(&context, &deployment, arguments.manner.manner(), &notices).unwrap_or_else(|error| fail(&error))
}

fn deployment(arguments: &Arguments, order: Order) -> anyhow::Result<LocalDeployment> {
    let commands = commands(&arguments.revision.events, order)?;
    let mut spec = arguments.revision.spec()?;
    spec.order = Some(commands.iter().map(|command| EventName::parse(command.name())).collect::<Result<_, _>>()?);
    Ok(LocalDeployment { spec, commands, brings_back: None })
}

/// The events in the order given; DownloadBundle and Install come first where they are left out, and the whole order
/// where nothing is given.
fn commands(events: &[String], order: Order) -> anyhow::Result<Vec<Command>> {
    let mut names: Vec<&str> = events.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        names = match order {
            Order::InPlace => IN_PLACE.to_vec(),
            Order::Aws => AWS_ORDER.to_vec(),
        };
    }
    if let Some(twice) = names.iter().enumerate().find(|(n, name)| names[..*n].contains(name)) {
        bail!("the event {} is given twice; each event runs once in a deployment", twice.1);
    }
    check_order(&names)?;
    for (n, needed) in ["DownloadBundle", "Install"].into_iter().enumerate() {
        if !names.contains(&needed) {
            let after_download = names.iter().position(|name| *name == "DownloadBundle").map_or(n, |at| at + 1);
            names.insert(after_download, needed);
        }
    }
    names.into_iter().map(check_event).collect()
}

/// Holds DownloadBundle and Install to what may come before them, as AWS's tool does. An event of the revision's own
/// may come anywhere.
fn check_order(names: &[&str]) -> anyhow::Result<()> {
    let early_for_download = |name: &&&str| **name == "Install" || is_of_new_revision(name);
    let early_for_install = |name: &&&str| is_of_new_revision(name) && **name != "BeforeInstall";
    let before = |event: &str| names.iter().position(|name| *name == event).map_or(&names[..0], |at| &names[..at]);
    if let Some(early) = before("DownloadBundle").iter().find(early_for_download) {
        bail!(
            "{early} cannot run before DownloadBundle: only {} can; correct the order of --events",
            BEFORE_DOWNLOAD.join(", ")
        );
    }
    if let Some(early) = before("Install").iter().find(early_for_install) {
        bail!(
            "{early} cannot run before Install: only {}, DownloadBundle and BeforeInstall can; correct the order of \
             --events",
            BEFORE_DOWNLOAD.join(", ")
        );
    }
    Ok(())
}

fn is_of_new_revision(name: &str) -> bool {
    HOOK_EVENTS.contains(&name) && !BEFORE_DOWNLOAD.contains(&name)
}

fn check_event(name: &str) -> anyhow::Result<Command> {
    match Command::parse(name) {
        Ok(Command::UpdateAgent) | Err(_) => {
            bail!(
                "{name:?} is not a lifecycle event that a local deployment can run; the usual ones are {}",
                IN_PLACE.join(", ")
            )
        }
        Ok(Command::Hook(event)) => Ok(Command::Hook(EventName::parse(event.as_str())?)),
        Ok(command) => Ok(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_by(events: &[&str], order: Order) -> Result<Vec<String>, String> {
        let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        let commands = commands(&events, order).map_err(|error| error.to_string())?;
        Ok(commands.iter().map(|command| command.name().to_owned()).collect())
    }

    fn names(events: &[&str]) -> Vec<String> {
        names_by(events, Order::InPlace).unwrap()
    }

    #[test]
    fn download_and_install_come_first_where_they_are_left_out() {
        assert_eq!(names(&[]), IN_PLACE);
        assert_eq!(names_by(&[], Order::Aws).unwrap(), AWS_ORDER);
        assert_eq!(names(&["ApplicationStart"]), ["DownloadBundle", "Install", "ApplicationStart"]);
        assert_eq!(names(&["BeforeInstall", "Install"]), ["DownloadBundle", "BeforeInstall", "Install"]);
        assert_eq!(names(&["DownloadBundle", "MyEvent"]), ["DownloadBundle", "Install", "MyEvent"]);
    }

    #[test]
    fn events_that_cannot_run_are_refused() {
        for bad in [&["AllowTraffic"][..], &["a/b"], &["UpdateDeploymentAgent"], &["X", "X"]] {
            assert!(names_by(bad, Order::InPlace).is_err(), "{bad:?}");
        }
    }

    /// What AWS's tool says of each order (its CLIValidator).
    #[test]
    fn what_may_come_before_download_and_install_is_as_with_awss_tool() {
        let fine: [&[&str]; 6] = [
            &["ApplicationStop", "DownloadBundle", "Install"],
            &["BeforeBlockTraffic", "AfterBlockTraffic", "ApplicationStop", "DownloadBundle"],
            &["DownloadBundle", "BeforeInstall", "Install", "AfterInstall"],
            &["MyOwn", "DownloadBundle", "MyOther", "Install"],
            &["ApplicationStart", "ApplicationStop"],
            &["BeforeInstall", "Install"],
        ];
        for events in fine {
            for order in [Order::InPlace, Order::Aws] {
                assert!(names_by(events, order).is_ok(), "{events:?}");
            }
        }
        let wrong: [(&[&str], &str); 6] = [
            (&["ApplicationStart", "DownloadBundle"], "ApplicationStart cannot run before DownloadBundle"),
            (&["Install", "DownloadBundle"], "Install cannot run before DownloadBundle"),
            (&["BeforeInstall", "DownloadBundle"], "BeforeInstall cannot run before DownloadBundle"),
            (&["ValidateService", "Install"], "ValidateService cannot run before Install"),
            (&["DownloadBundle", "AfterAllowTraffic", "Install"], "AfterAllowTraffic cannot run before Install"),
            (&["AfterInstall", "Install"], "AfterInstall cannot run before Install"),
        ];
        for (events, said) in wrong {
            let error = names_by(events, Order::Aws).unwrap_err();
            assert!(error.contains(said), "{events:?}: {error}");
        }
    }

    #[test]
    fn the_arguments_of_awss_tool_are_consistent() {
        aws_tool().debug_assert();
        let usage = aws_tool().render_usage().to_string();
        assert!(usage.contains("codedeploy-local [OPTIONS] [LOCATION"), "{usage}");
        for words in [&["codedeploy-local"][..], &["codedeploy-local", "."], &["codedeploy-local", "-l", "."]] {
            assert!(aws_tool().try_get_matches_from(words).is_ok(), "{words:?}");
        }
    }
}
