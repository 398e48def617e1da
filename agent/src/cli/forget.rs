//! `forget`: the way out where a broken stop script of an old revision blocks every deployment.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::groups::{GroupName, Groups};
use super::settings::Context;
use super::{ConfigFile, fail, logging, unreadable};
use crate::disk::Lock;
use crate::store;

/// Which group, and how much of it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment group: its id, its name, or its application's
    #[arg(short = 'g', long, value_name = "GROUP")]
    group: GroupName,
    /// Forget too which files the group owns; the next deployment then finds them as somebody else's
    #[arg(long)]
    ownership: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start_quiet(context.shape());
    match forget(&context, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn forget(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let layout = &context.layout;
    let group = &Groups::look(layout)?.one(&arguments.group)?;
    let markers = store::read_markers(layout, group)?;
    // Of a group that AWS's agent deployed to, the names are not known.
    let whose = match (&markers.who, &markers.last_successful) {
        (Some(who), _) => format!("{} ({})", who.application, who.group),
        (None, Some(mark)) => format!("deployment {}", mark.deployment),
        (None, None) => {
            anyhow::bail!("nothing is known of group {group} on this host; `slipway-agent status` lists the groups")
        }
    };
    store::prepare(layout).context("the root directory cannot be used")?;
    let _group = Lock::wait(&layout.group_lock(group)).context("the group cannot be locked")?;
    store::forget_scripts(layout, group)?;
    println!(
        "Forgot whose scripts stop {whose}: the next deployment to group {group} runs no ApplicationStop, \
         BeforeBlockTraffic or AfterBlockTraffic of an earlier revision."
    );
    if arguments.ownership {
        store::forget_ownership(layout, group)?;
        println!("Forgot which files the group owns: the next deployment finds them as it finds anybody's.");
    } else {
        println!("Its files are still its own: the next deployment replaces them as usual.");
    }
    Ok(())
}
