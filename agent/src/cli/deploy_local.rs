//! `deploy-local`: a deployment without a control service, by the same engine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use slipway_protocol::specification as wire;

use super::local::{self, LocalDeployment};
use super::settings::{Context, variable};
use super::{fail, logging, parse_group, unreadable};
use crate::bundle::{is_web_address, parse_github_location, parse_s3_location};
use crate::deployment::{BundleType, DeploymentSpec, RevisionSource};
use crate::ids::{DeploymentId, EventName, GroupId};
use crate::lifecycle::{Command, HOOK_EVENTS, IN_PLACE};

/// The flags of AWS's `codedeploy-local`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Bundle or directory: a path, s3://bucket/key?versionId=…&etag=…, or a commit's address on GitHub
    #[arg(short = 'l', long, value_name = "LOCATION")]
    bundle_location: String,
    /// How the bundle is packed
    #[arg(short = 't', long = "type", value_enum, default_value = "directory")]
    kind: Kind,
    /// What to do about files that exist already
    #[arg(short = 'b', long, value_name = "BEHAVIOR", default_value = "DISALLOW", ignore_case = true)]
    file_exists_behavior: Behavior,
    /// Id of the deployment group; owns the files
    #[arg(short = 'g', long = "deployment-group", alias = "group", value_name = "ID",
          default_value = "default-local-deployment-group", value_parser = parse_group)]
    group: GroupId,
    /// Name of the deployment group, for hooks
    #[arg(short = 'd', long = "deployment-group-name", value_name = "NAME", default_value = "LocalFleet")]
    group_name: String,
    /// Name of the application, for hooks; the location's by default
    #[arg(short = 'a', long, value_name = "NAME")]
    application_name: Option<String>,
    /// Lifecycle events to run, in this order; DownloadBundle and Install run first if left out
    #[arg(short = 'e', long, value_name = "EVENT", value_delimiter = ',')]
    events: Vec<String>,
    /// Where in the revision the AppSpec is
    #[arg(short = 'A', long, value_name = "FILE", default_value = "appspec.yml")]
    appspec_filename: String,
    /// Configuration file [default: /etc/codedeploy-agent/conf/codedeployagent.yml]
    #[arg(short = 'c', long = "config", visible_alias = "agent-configuration-file", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Tgz,
    Tar,
    Zip,
    Directory,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Behavior {
    Disallow,
    Overwrite,
    Retain,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start_quiet(context.shape());
    context.warn();
    let deployment = match deployment(arguments) {
        Ok(deployment) => deployment,
        Err(error) => return unreadable(&error),
    };
    match local::deploy(&context, &deployment) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn deployment(arguments: &Arguments) -> anyhow::Result<LocalDeployment> {
    let commands = commands(&arguments.events)?;
    let mut spec = arguments.spec()?;
    spec.order = Some(commands.iter().map(|command| EventName::parse(command.name())).collect::<Result<_, _>>()?);
    Ok(LocalDeployment { spec, commands })
}

impl Arguments {
    /// The configuration file that they name.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The deployment that they describe, under an id of its own.
    pub(super) fn spec(&self) -> anyhow::Result<DeploymentSpec> {
        spec(self)
    }
}

fn spec(arguments: &Arguments) -> anyhow::Result<DeploymentSpec> {
    let id = DeploymentId::parse(&local::random_id())?;
    let application = arguments.application_name.clone().unwrap_or_else(|| arguments.bundle_location.clone());
    let source = source(arguments)?;
    // As other programs for GitHub have it. For anything else it is nobody's business.
    let token = match source {
        RevisionSource::GitHub(_) => variable("GITHUB_TOKEN").filter(|token| !token.is_empty()),
        _ => None,
    };
    let spec = wire::DeploymentSpecification {
        deployment_id: Some(id.to_string()),
        deployment_group_id: Some(arguments.group.to_string()),
        deployment_group_name: Some(arguments.group_name.clone()),
        application_name: Some(application),
        app_spec_filename: Some(arguments.appspec_filename.clone()),
        agent_action_overrides: Some(wire::AgentActionOverrides {
            agent_overrides: Some(wire::AgentOverrides {
                file_exists_behavior: Some(format!("{:?}", arguments.file_exists_behavior)),
            }),
        }),
        github_access_token: token,
        all_possible_lifecycle_events: Some(possible_events(&arguments.events)),
        ..wire::DeploymentSpecification::default()
    };
    Ok(DeploymentSpec::local(spec, source)?)
}

fn source(arguments: &Arguments) -> anyhow::Result<RevisionSource> {
    let location = &arguments.bundle_location;
    let bundle_type = match arguments.kind {
        Kind::Tgz => Some(BundleType::Tgz),
        Kind::Tar => Some(BundleType::Tar),
        Kind::Zip => Some(BundleType::Zip),
        Kind::Directory => None,
    };
    if location.starts_with("s3://") {
        let Some(bundle_type) = bundle_type else {
            bail!("{location} is an object in S3: say how it is packed with --type tgz, tar or zip");
        };
        return Ok(RevisionSource::S3(parse_s3_location(location, bundle_type)?));
    }
    if is_web_address(location) {
        return Ok(RevisionSource::GitHub(parse_github_location(location, bundle_type)?));
    }
    let path = absolute(Path::new(location))?;
    Ok(match bundle_type {
        Some(bundle_type) => RevisionSource::LocalFile { path, bundle_type },
        None => RevisionSource::LocalDirectory { path },
    })
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} cannot be made an absolute path", path.display()))
}

/// The events that an AppSpec can have scripts for: those of every order, and those that are asked for by name. AWS's
/// tool gives its agent such a list too, so scripts of any other event are refused and not passed over.
fn possible_events(asked: &[String]) -> Vec<String> {
    let asked = asked.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    let mut names: Vec<String> = Vec::new();
    for name in HOOK_EVENTS.into_iter().chain(IN_PLACE).chain(asked) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The events in the order given; DownloadBundle and Install come first where they are left out,
/// and the whole in-place order where nothing is given.
fn commands(events: &[String]) -> anyhow::Result<Vec<Command>> {
    let mut names: Vec<&str> = events.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        names = IN_PLACE.to_vec();
    }
    if let Some(twice) = names.iter().enumerate().find(|(n, name)| names[..*n].contains(name)) {
        bail!("the event {} is given twice; each event runs once in a deployment", twice.1);
    }
    for (n, needed) in ["DownloadBundle", "Install"].into_iter().enumerate() {
        if !names.contains(&needed) {
            let after_download = names.iter().position(|name| *name == "DownloadBundle").map_or(n, |at| at + 1);
            names.insert(after_download, needed);
        }
    }
    names.into_iter().map(check_event).collect()
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

    fn names(events: &[&str]) -> Vec<String> {
        let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        commands(&events).unwrap().iter().map(|command| command.name().to_owned()).collect()
    }

    #[test]
    fn download_and_install_come_first_where_they_are_left_out() {
        assert_eq!(names(&[]), IN_PLACE);
        assert_eq!(names(&["ApplicationStart"]), ["DownloadBundle", "Install", "ApplicationStart"]);
        assert_eq!(names(&["BeforeInstall", "Install"]), ["DownloadBundle", "BeforeInstall", "Install"]);
        assert_eq!(names(&["DownloadBundle", "MyEvent"]), ["DownloadBundle", "Install", "MyEvent"]);
    }

    #[test]
    fn events_that_cannot_run_are_refused() {
        for bad in [&["AllowTraffic"][..], &["a/b"], &["UpdateDeploymentAgent"], &["X", "X"]] {
            let events: Vec<String> = bad.iter().map(|event| (*event).to_owned()).collect();
            assert!(commands(&events).is_err(), "{bad:?}");
        }
    }
}
