//! `plan`: what a deployment would change on this host, before it changes anything.

mod clash;
mod diff;
mod report;
mod tree;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::output::{print, print_json};
use super::revision_arguments::RevisionArguments;
use super::settings::Context;
use super::{CLASHES, fail, logging, unreadable};
use crate::deployment::DeploymentSpec;
use crate::disk::{self, Scratch};
use crate::identity::Caller;
use crate::layout::Layout;
use crate::process;
use report::Report;

/// The flags of `deploy-local`, and how to show what it would do.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    deployment: RevisionArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show how the content of text files changes
    #[arg(long)]
    diff: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.deployment.config()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start_quiet(context.shape());
    context.warn();
    let spec = match arguments.deployment.spec() {
        Ok(spec) => spec,
        Err(error) => return unreadable(&error),
    };
    plan(&context, &spec, arguments).unwrap_or_else(|error| fail(&error))
}

fn plan(context: &Context, spec: &DeploymentSpec, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let scratch = scratch(&context.layout).context("there is no place to unpack the revision")?;
    let remover = scratch.remover()?;
    process::on_interrupt(move || drop(remover.remove()))?;
    let engine = context.engine_to_look(context.runtime_of_its_own()?, context.provider(Caller::Person))?;
    let planned = engine.plan(spec, scratch.dir())?;
    let mut report = Report::of(&spec.group_id, &planned)?;
    if arguments.diff {
        report.add_diffs(&planned)?;
    }
    if arguments.json {
        print_json(&report)?
    } else {
        print(&report.text())?
    }
    Ok(if planned.plan.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(CLASHES) })
}

/// A place beside the revisions, where there is one: it has room for them. The root directory is not made
/// for it.
fn scratch(layout: &Layout) -> Result<Scratch, disk::Error> {
    match Scratch::make(&layout.own()) {
        Err(error) if error.is_not_found() || error.is_not_permitted() => Scratch::make(&std::env::temp_dir()),
        other => other,
    }
}
