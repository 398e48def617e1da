//! `logs`: the output of a deployment's scripts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::output::{say, visible_lines};
use super::settings::Context;
use super::{ConfigFile, fail, parse_deployment, unreadable};
use crate::disk::{Dir, Follower, Kind, Watch};
use crate::ids::{DeploymentId, GroupId};

/// How often a log is looked at where the kernel tells nothing of it, and at least.
const LOOK: Duration = Duration::from_secs(1);

/// Whose output, and for how long.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment; the newest on this host by default
    #[arg(value_name = "DEPLOYMENT", value_parser = parse_deployment)]
    deployment: Option<DeploymentId>,
    /// Go on as more comes, until it is interrupted
    #[arg(short = 'f', long)]
    follow: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    match show(&context, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn show(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let (deployment, log) = find(context, arguments.deployment.as_ref())?;
    let mut follower = Follower::open(&log)?;
    let mut has_said = false;
    let mut rest = Vec::new();
    let watch = log.parent().map(Watch::directory);
    loop {
        let bytes = follower.read()?;
        if !bytes.is_empty() {
            has_said = true;
            rest.extend(bytes);
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = rest.drain(..whole).collect();
            if !say(&visible_lines(&String::from_utf8_lossy(&lines)))? {
                return Ok(());
            }
        } else if arguments.follow {
            match &watch {
                Some(Ok(watch)) => watch.wait(LOOK)?,
                _ => std::thread::sleep(LOOK),
            }
        } else {
            say(&visible_lines(&String::from_utf8_lossy(&rest)))?;
            break;
        }
    }
    if !has_said {
        eprintln!(
            "No script of {deployment} has said anything on this host ({} is empty or not there).",
            log.display()
        );
    }
    Ok(())
}

/// The log of that deployment, or of the newest one.
fn find(context: &Context, wanted: Option<&DeploymentId>) -> anyhow::Result<(DeploymentId, PathBuf)> {
    let mut found = Vec::new();
    for group in groups(context)? {
        for entry in Dir::open(context.layout.group(&group))?.entries()? {
            if entry.kind == Kind::Directory
                && let Some(id) = entry.name.to_str().and_then(|name| DeploymentId::parse(name).ok())
                && wanted.is_none_or(|wanted| *wanted == id)
            {
                let log = context.layout.scripts_log(&group, &id);
                let since = log.parent().map(Dir::open).transpose();
                let since = since.ok().flatten().and_then(|dir| dir.stat_self().ok()).map(|stat| stat.modified);
                found.push((since, id, log));
            }
        }
    }
    match (found.into_iter().max(), wanted) {
        (Some((_, id, log)), _) => Ok((id, log)),
        (None, Some(wanted)) => bail!(
            "nothing of {wanted} is on this host, or no longer: max_revisions says how many deployments are kept; \
             `slipway-agent status` lists them"
        ),
        (None, None) => bail!("no deployment has happened on this host yet, so there is no output to show"),
    }
}

fn groups(context: &Context) -> anyhow::Result<Vec<GroupId>> {
    let root = match Dir::open(context.layout.root()) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let directories = root.entries()?.into_iter().filter(|entry| entry.kind == Kind::Directory);
    Ok(directories.filter_map(|entry| GroupId::parse(entry.name.to_str()?).ok()).collect())
}
