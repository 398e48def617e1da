//! `rollback`: back to a good revision that is still on this host.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use slipway_protocol::specification as wire;

use super::local::{self, LocalDeployment};
use super::settings::Context;
use super::{ConfigFile, fail, logging, parse_group, unreadable};
use crate::deployment::{DeploymentSpec, RevisionSource};
use crate::disk::Dir;
use crate::ids::{DeploymentId, GroupId};
use crate::lifecycle::{Command, IN_PLACE};
use crate::store::{self, Markers};

/// Which group, and how far back.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Id of the deployment group, as `status` shows it
    #[arg(short = 'g', long, value_name = "ID", value_parser = parse_group)]
    group: GroupId,
    /// Deployment to go back to; the newest good one other than the current by default
    #[arg(long, value_name = "DEPLOYMENT")]
    to: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start_quiet(context.shape());
    context.warn();
    match deployment(&context, arguments).and_then(|deployment| local::deploy(&context, &deployment)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn deployment(context: &Context, arguments: &Arguments) -> anyhow::Result<LocalDeployment> {
    let markers = store::read_markers(&context.layout, &arguments.group)?;
    let target = match &arguments.to {
        Some(id) => retained(context, arguments, DeploymentId::parse(id)?)?,
        None => newest_good(context, arguments, &markers)?,
    };
    println!("Going back to the revision of deployment {target}.");
    let who = markers.who.unwrap_or_else(|| store::Who { application: "unknown".into(), group: "unknown".into() });
    let spec = wire::DeploymentSpecification {
        deployment_id: Some(local::random_id()),
        deployment_group_id: Some(arguments.group.to_string()),
        deployment_group_name: Some(who.group),
        application_name: Some(who.application),
        deployment_creator: Some("codeDeployRollback".to_owned()),
        ..wire::DeploymentSpecification::default()
    };
    let spec = DeploymentSpec::local(spec, RevisionSource::Retained(target))?;
    let commands = IN_PLACE.iter().map(|name| Command::parse(name)).collect::<Result<_, _>>()?;
    Ok(LocalDeployment { spec, commands })
}

fn newest_good(context: &Context, arguments: &Arguments, markers: &Markers) -> anyhow::Result<DeploymentId> {
    let current = markers.last_successful.as_ref().map(|mark| &mark.deployment);
    let is_retained = |id: &DeploymentId| Dir::open(context.layout.archive(&arguments.group, id)).is_ok();
    markers
        .good
        .iter()
        .map(|mark| &mark.deployment)
        .find(|id| Some(*id) != current && is_retained(id))
        .cloned()
        .with_context(|| {
            format!(
                "group {} has no good revision other than the current one on this host; deploy one from its bundle. \
                 `slipway-agent status` lists the retained revisions",
                arguments.group
            )
        })
}

fn retained(context: &Context, arguments: &Arguments, id: DeploymentId) -> anyhow::Result<DeploymentId> {
    let archive = context.layout.archive(&arguments.group, &id);
    if Dir::open(&archive).is_err() {
        bail!(
            "the revision of deployment {id} is not on this host (there is no {}); `slipway-agent status` lists those \
             that are",
            archive.display()
        );
    }
    Ok(id)
}
