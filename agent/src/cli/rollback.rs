//! `rollback`: back to a good revision that is still on this host.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use slipway_protocol::specification as wire;

use super::deploy_local::MannerArguments;
use super::groups::{GroupName, Groups};
use super::local::{self, BroughtBack, LocalDeployment};
use super::settings::Context;
use super::when::when;
use super::{ConfigFile, fail, logging, unreadable};
use crate::deployment::{DeploymentSpec, RevisionSource};
use crate::disk::Dir;
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;
use crate::lifecycle::{Command, IN_PLACE};
use crate::store::{self, Markers};

/// Which group, and how far back.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment group: its id, its name, or its application's
    #[arg(short = 'g', long, value_name = "GROUP")]
    group: GroupName,
    /// Deployment to go back to; the newest good one other than the current by default
    #[arg(long, value_name = "DEPLOYMENT")]
    to: Option<String>,
    #[command(flatten)]
    manner: MannerArguments,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    let notices = logging::start_quiet(context.shape());
    context.warn();
    let deployed = deployment(&context, arguments)
        .and_then(|deployment| local::deploy(&context, &deployment, arguments.manner.manner(), &notices));
    deployed.unwrap_or_else(|error| fail(&error))
}

fn deployment(context: &Context, arguments: &Arguments) -> anyhow::Result<LocalDeployment> {
    let group = Groups::look(&context.layout)?.one(&arguments.group)?;
    let markers = store::read_markers(&context.layout, &group)?;
    let target = match &arguments.to {
        Some(id) => retained(&context.layout, &group, DeploymentId::parse(id)?)?,
        None => newest_good(&context.layout, &group, &markers)?,
    };
    let good = markers.good.iter().find(|mark| mark.deployment == target).cloned();
    let who = markers.who.unwrap_or_else(|| store::Who { application: "unknown".into(), group: "unknown".into() });
    let spec = wire::DeploymentSpecification {
        deployment_id: Some(local::random_id()),
        deployment_group_id: Some(group.to_string()),
        deployment_group_name: Some(who.group),
        application_name: Some(who.application),
        deployment_creator: Some("codeDeployRollback".to_owned()),
        ..wire::DeploymentSpecification::default()
    };
    let spec = DeploymentSpec::local(spec, RevisionSource::Retained(target.clone()))?;
    let commands = IN_PLACE.iter().map(|name| Command::parse(name)).collect::<Result<_, _>>()?;
    Ok(LocalDeployment { spec, commands, brings_back: Some(BroughtBack { deployment: target, good }) })
}

/// The deployment that a rollback of a group goes back to by itself; nothing where there is none.
pub(super) fn target(layout: &Layout, group: &GroupId, markers: &Markers) -> Option<DeploymentId> {
    let current = markers.last_successful.as_ref().map(|mark| &mark.deployment);
    let is_retained = |id: &DeploymentId| Dir::open(layout.archive(group, id)).is_ok();
    markers.good.iter().map(|mark| &mark.deployment).find(|id| Some(*id) != current && is_retained(id)).cloned()
}

fn newest_good(layout: &Layout, group: &GroupId, markers: &Markers) -> anyhow::Result<DeploymentId> {
    match target(layout, group, markers) {
        Some(id) => Ok(id),
        None => bail!(
            "group {group} has no good revision other than the current one on this host: deploy one from its bundle, \
             or name one of the retained ones with --to:\n{}",
            listed(layout, group)?
        ),
    }
}

fn retained(layout: &Layout, group: &GroupId, id: DeploymentId) -> anyhow::Result<DeploymentId> {
    if Dir::open(layout.archive(group, &id)).is_err() {
        bail!(
            "the revision of deployment {id} is not on this host; group {group} has kept those of:\n{}",
            listed(layout, group)?
        );
    }
    Ok(id)
}

fn listed(layout: &Layout, group: &GroupId) -> anyhow::Result<String> {
    let (kept, markers) = (super::status::retained(layout, group)?, store::read_markers(layout, group)?);
    if kept.is_empty() {
        return Ok("  none".to_owned());
    }
    let current = markers.last_successful.as_ref().map(|mark| &mark.deployment);
    let line = |id: &DeploymentId| {
        let good = markers.good.iter().find(|mark| mark.deployment == *id);
        let is = match (current == Some(id), good) {
            (true, _) => "  current".to_owned(),
            (false, Some(mark)) => format!("  good, {}", when(mark.at)),
            (false, None) => String::new(),
        };
        format!("  {id}{is}")
    };
    Ok(kept.iter().rev().map(line).collect::<Vec<_>>().join("\n"))
}
