//! `pause` and `resume`: whether the daemon takes new work.

use std::process::ExitCode;

use clap::Args;

use super::cancel::daemon_runs;
use super::output::print;
use super::settings::{Context, asker};
use super::{ConfigFile, fail, unreadable};
use crate::store::{self, Request};

/// Why.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Why; `status` shows it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    with(&arguments.config, |context| pause(context, arguments))
}

pub(super) fn resume(config: &ConfigFile) -> ExitCode {
    with(config, take_back)
}

fn with(config: &ConfigFile, work: impl FnOnce(&Context) -> anyhow::Result<()>) -> ExitCode {
    let context = match Context::load(config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    match work(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn pause(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(earlier) = store::read_pause(&context.layout)? {
        return print(&format!("Paused already, {earlier}. `slipway-agent resume` ends that.\n"));
    }
    let request = Request { by: asker()?, at: jiff::Timestamp::now(), reason: arguments.reason.clone() };
    store::ask_to_pause(&context.layout, &request)?;
    print(if daemon_runs(context)? {
        "Paused: the daemon takes no new command, what runs goes on. It stays so over restarts until `slipway-agent resume`.\n"
    } else {
        "Paused: no daemon runs on this root, and one that starts takes no command until `slipway-agent resume`.\n"
    })
}

fn take_back(context: &Context) -> anyhow::Result<()> {
    let Some(earlier) = store::read_pause(&context.layout)? else {
        return print("Not paused: there is nothing to resume.\n");
    };
    store::withdraw_pause(&context.layout)?;
    print(&format!("Resumed; it was paused {earlier}.\n"))
}
