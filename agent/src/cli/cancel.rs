//! `cancel`: the end of a deployment on this host.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::output::print;
use super::settings::{Context, asker};
use super::{ConfigFile, FAILED, fail, parse_deployment, unreadable};
use crate::disk::{Lock, LockError};
use crate::ids::DeploymentId;
use crate::ledger::Ledger;
use crate::store::{self, Request};

/// Which deployment.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment's id, as `status` and `history` show it
    #[arg(value_name = "DEPLOYMENT", value_parser = parse_deployment)]
    deployment: DeploymentId,
    /// Why; the control service and `status` show it
    #[arg(long, value_name = "TEXT", conflicts_with = "undo")]
    reason: Option<String>,
    /// Take it back: later commands of the deployment run again
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    let done = if arguments.undo { undo(&context, arguments) } else { cancel(&context, arguments) };
    done.unwrap_or_else(|error| fail(&error))
}

fn cancel(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (layout, deployment) = (&context.layout, &arguments.deployment);
    if !is_known(context, deployment)? {
        eprintln!(
            "slipway-agent: nothing of {deployment} is known here: `slipway-agent history` lists the deployments of \
             this host"
        );
        return Ok(ExitCode::from(FAILED));
    }
    let request = Request { by: asker()?, at: jiff::Timestamp::now(), reason: arguments.reason.clone() };
    store::ask_to_cancel(layout, deployment, &request).context("the daemon could not be told")?;
    print(&if deployment.as_str().ends_with("-local") {
        format!("Told whoever deploys {deployment} from this host: its hook that runs is ended.\n")
    } else if daemon_runs(context)? {
        format!(
            "Told the daemon: the hook or download of {deployment} that runs is ended, and nothing more of it is begun \
             here. An install that runs is finished first.\n"
        )
    } else {
        format!("No daemon runs on this root: {deployment} is cancelled when one starts.\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn undo(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (layout, deployment) = (&context.layout, &arguments.deployment);
    if store::read_cancel(layout, deployment)?.is_none() {
        eprintln!("slipway-agent: {deployment} is not cancelled on this host: there is nothing to take back");
        return Ok(ExitCode::from(FAILED));
    }
    store::withdraw_cancel(layout, deployment)?;
    print(&format!("{deployment} is no longer cancelled: what was ended stays ended, later commands of it run.\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn is_known(context: &Context, deployment: &DeploymentId) -> anyhow::Result<bool> {
    let layout = &context.layout;
    if store::is_kept(layout, deployment)? {
        return Ok(true);
    }
    Ok(Ledger::look(layout).knows(deployment)?)
}

/// The lock, not a process id, tells: ids are given out again.
pub(super) fn daemon_runs(context: &Context) -> anyhow::Result<bool> {
    match Lock::try_now(&context.layout.daemon_lock()) {
        Ok(_free) => Ok(false),
        Err(LockError::Held(_)) => Ok(true),
        Err(LockError::Disk(error)) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
