//! `metrics`: figures for a monitoring system.

use std::process::ExitCode;

use super::cancel::daemon_runs;
use super::output::print;
use super::settings::Context;
use super::{ConfigFile, fail, unreadable};
use crate::daemon::figures::{self, Daemon, Usage};
use crate::daemon::status;

pub(super) fn run(config: &ConfigFile) -> ExitCode {
    let context = match Context::load(config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    match show(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn show(context: &Context) -> anyhow::Result<()> {
    let status = status::read(&context.layout.status())?;
    let daemon = if daemon_runs(context)? { Daemon::Runs } else { Daemon::Ended };
    print(&figures::text(&context.layout, daemon, status.as_ref(), &mut Usage::default())?)
}
