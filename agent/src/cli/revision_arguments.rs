//! The flags that name a revision and say for whom it is: those of AWS's `codedeploy-local`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use slipway_protocol::specification as wire;

use super::local;
use super::parse_group;
use super::settings::variable;
use crate::bundle::{is_web_address, parse_github_location, parse_s3_location};
use crate::deployment::{BundleType, DeploymentSpec, OlderBundle, OtherAppSpec, RevisionSource};
use crate::disk::Dir;
use crate::ids::{DeploymentId, GroupId};
use crate::lifecycle::{HOOK_EVENTS, IN_PLACE};
use crate::unpack;

/// What to deploy, to which group, and how.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct RevisionArguments {
    #[command(flatten)]
    location: Location,
    /// How the bundle is packed; found out by its content by default
    #[arg(short = 't', long = "type", value_enum)]
    kind: Option<Kind>,
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
    pub(super) events: Vec<String>,
    /// The AppSpec of the revision; appspec.yml or appspec.yaml by default
    #[arg(short = 'A', long, value_name = "FILE")]
    appspec_filename: Option<String>,
    /// Accept a signed bundle that has expired, or is older than the group's newest one
    #[arg(long)]
    allow_older: bool,
    /// Configuration file [default: /etc/codedeploy-agent/conf/codedeployagent.yml]
    #[arg(short = 'c', long = "config", visible_alias = "agent-configuration-file", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where the revision is, in one of two spellings.
#[derive(Debug, Args)]
#[group(id = LOCATION, required = true, multiple = false)]
struct Location {
    /// Bundle or directory: a path, s3://bucket/key?versionId=…&etag=…, or a commit's address on GitHub
    #[arg(value_name = "LOCATION")]
    location: Option<String>,
    /// The same, as AWS's tool has it
    #[arg(short = 'l', long, value_name = "LOCATION")]
    bundle_location: Option<String>,
}

/// The group of arguments of which one is needed, but for AWS's tool.
pub(super) const LOCATION: &str = "revision-location";

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

impl RevisionArguments {
    /// The configuration file that they name.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The deployment that they describe, under an id of its own.
    pub(super) fn spec(&self) -> anyhow::Result<DeploymentSpec> {
        let id = DeploymentId::parse(&local::random_id())?;
        let application = match &self.application_name {
            Some(name) => name.clone(),
            // A name that says more than a dot.
            None if self.location() == "." => absolute(Path::new("."))?.display().to_string(),
            None => self.location().to_owned(),
        };
        let source = self.source()?;
        self.require_appspec(&source)?;
        // As other programs for GitHub have it. For anything else it is nobody's business.
        let token = match source {
            RevisionSource::GitHub(_) => variable("GITHUB_TOKEN").filter(|token| !token.is_empty()),
            _ => None,
        };
        let spec = wire::DeploymentSpecification {
            deployment_id: Some(id.to_string()),
            deployment_group_id: Some(self.group.to_string()),
            deployment_group_name: Some(self.group_name.clone()),
            application_name: Some(application),
            app_spec_filename: self.appspec_filename.clone(),
            agent_action_overrides: Some(wire::AgentActionOverrides {
                agent_overrides: Some(wire::AgentOverrides {
                    file_exists_behavior: Some(format!("{:?}", self.file_exists_behavior)),
                }),
            }),
            github_access_token: token,
            all_possible_lifecycle_events: Some(possible_events(&self.events)),
            ..wire::DeploymentSpecification::default()
        };
        let mut spec = DeploymentSpec::local(spec, source)?;
        if self.appspec_filename.is_some() {
            spec.other_appspec = OtherAppSpec::Refused;
        }
        if self.allow_older {
            spec.older_bundle = OlderBundle::Allowed;
        }
        Ok(spec)
    }

    /// The current directory where none is given, as AWS's tool has it.
    fn location(&self) -> &str {
        let Location { location, bundle_location } = &self.location;
        location.as_deref().or(bundle_location.as_deref()).unwrap_or(".")
    }

    fn source(&self) -> anyhow::Result<RevisionSource> {
        let location = self.location();
        let named = self.kind.and_then(Kind::bundle_type);
        if location.starts_with("s3://") {
            let Some(bundle_type) = named.or_else(|| by_ending(location)) else {
                bail!("{location} is an object in S3: say how it is packed with --type tgz, tar or zip");
            };
            return Ok(RevisionSource::S3(parse_s3_location(location, bundle_type)?));
        }
        if is_web_address(location) {
            return Ok(RevisionSource::GitHub(parse_github_location(location, named)?));
        }
        let path = absolute(Path::new(location))?;
        let is_directory = match Dir::open(&path) {
            Ok(_) => true,
            Err(error) if error.is_not_a_directory() => false,
            Err(error) if error.is_not_found() => bail!("there is no {location}: name a directory or a bundle"),
            Err(error) => return Err(error.into()),
        };
        match (is_directory, self.kind) {
            (true, None | Some(Kind::Directory)) => Ok(RevisionSource::LocalDirectory { path }),
            (true, Some(_)) => bail!(
                "{location} is a directory, and --type says that it is a bundle: leave --type out, or pack the \
                 directory first"
            ),
            (false, Some(Kind::Directory)) => bail!(
                "{location} is a file, and --type says that it is a directory: leave --type out, and the file's \
                 content tells how it is packed"
            ),
            (false, _) => match named.map_or_else(|| unpack::recognize(&path), |kind| Ok(Some(kind)))? {
                Some(bundle_type) => Ok(RevisionSource::LocalFile { path, bundle_type }),
                None => {
                    bail!("{location} is no bundle: a tar, tgz, tar.zst or zip archive is expected, or a directory")
                }
            },
        }
    }

    /// An AppSpec that was asked for by name and is not in the directory is an error before anything is run. In a
    /// bundle it is missed once that is unpacked.
    fn require_appspec(&self, source: &RevisionSource) -> anyhow::Result<()> {
        let (Some(file), RevisionSource::LocalDirectory { path }) = (&self.appspec_filename, source) else {
            return Ok(());
        };
        let wanted = crate::deployment::RelativePath::parse(file).map_err(anyhow::Error::msg)?;
        let root = Dir::open(path)?;
        let root = root.open_dir(unpack::revision_root(&root, &wanted)?)?;
        if root.stat_if_exists(wanted.as_path())?.is_none() {
            bail!(
                "{} has no {wanted}, which --appspec-filename names: correct the name, or leave it out",
                path.display()
            );
        }
        Ok(())
    }
}

impl Kind {
    fn bundle_type(self) -> Option<BundleType> {
        match self {
            Self::Tgz => Some(BundleType::Tgz),
            Self::Tar => Some(BundleType::Tar),
            Self::Zip => Some(BundleType::Zip),
            Self::Directory => None,
        }
    }
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

/// The type of an object whose content is not here yet.
fn by_ending(location: &str) -> Option<BundleType> {
    let key = location.split('?').next().unwrap_or(location).to_ascii_lowercase();
    let rows = [
        (".tgz", BundleType::Tgz),
        (".tar.gz", BundleType::Tgz),
        (".tar", BundleType::Tar),
        (".tar.zst", BundleType::Tar),
        (".zip", BundleType::Zip),
    ];
    rows.into_iter().find(|(ending, _)| key.ends_with(ending)).map(|(_, bundle_type)| bundle_type)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} cannot be made an absolute path", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_tell_their_type_by_their_names() {
        let rows = [
            ("s3://b/app.tgz", Some(BundleType::Tgz)),
            ("s3://b/a.b/App.TAR.GZ?versionId=1&etag=2", Some(BundleType::Tgz)),
            ("s3://b/app.tar.zst", Some(BundleType::Tar)),
            ("s3://b/app.zip", Some(BundleType::Zip)),
            ("s3://b/app", None),
            ("s3://b/app?x=.zip", None),
        ];
        for (location, expected) in rows {
            assert_eq!(by_ending(location), expected, "{location}");
        }
    }
}
