use std::path::Path;

use crate::disk::{self, Dir, Kind, Result};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;

/// Of a directory that others may pass, and not list.
const PASSED: u32 = 0o711;
/// Of a directory that is the agent's alone.
const CLOSED: u32 = 0o700;

/// Who else than the agent's user gets at a deployment's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody.
    Kept,
    /// Who knows its id: scripts that run as other users are below it.
    Pass,
}

/// Closes what is below the root to all but the agent's user: the setting `restrict_agent_dir_permissions`. What
/// others have to pass to reach their scripts can be passed, and not listed. That goes for deployments that are
/// open from before too, since their scripts are still to run.
pub fn restrict(layout: &Layout) -> Result<()> {
    let root = narrow(layout.root(), PASSED)?;
    narrow(&layout.instructions(), CLOSED)?;
    if let Some(logs) = layout.deployments_log().parent() {
        narrow(logs, CLOSED)?;
    }
    for group in directories(&root)?.iter().filter_map(|name| GroupId::parse(name).ok()) {
        let place = layout.group(&group);
        if [layout.own(), layout.instructions()].contains(&place) || is_logs(layout, &group) {
            continue;
        }
        let directory = narrow(&place, PASSED)?;
        for deployment in directories(&directory)?.iter().filter_map(|name| DeploymentId::parse(name).ok()) {
            narrow(&layout.deployment(&group, &deployment), PASSED)?;
            close_logs(layout, &group, &deployment)?;
        }
    }
    Ok(())
}

/// The same for one deployment, whose directory is there.
pub fn restrict_deployment(layout: &Layout, group: &GroupId, deployment: &DeploymentId, others: Others) -> Result<()> {
    narrow(&layout.group(group), PASSED)?;
    let place = layout.deployment(group, deployment);
    let mode = if others == Others::Pass { PASSED } else { CLOSED };
    disk::set_mode(Dir::open(&place)?, &place, mode)?;
    close_logs(layout, group, deployment)
}

fn close_logs(layout: &Layout, group: &GroupId, deployment: &DeploymentId) -> Result<()> {
    let log = layout.scripts_log(group, deployment);
    let Some(logs) = log.parent() else { return Ok(()) };
    match narrow(logs, CLOSED) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn is_logs(layout: &Layout, group: &GroupId) -> bool {
    layout.deployments_log().parent() == Some(layout.group(group).as_path())
}

/// Takes from a directory's mode what is not in `most`.
fn narrow(path: &Path, most: u32) -> Result<Dir> {
    let directory = Dir::open(path)?;
    let mode = directory.stat_self()?.mode;
    if mode & !most != 0 {
        disk::set_mode(&directory, path, mode & most)?;
    }
    Ok(directory)
}

fn directories(of: &Dir) -> Result<Vec<String>> {
    let entries = of.entries()?.into_iter().filter(|entry| entry.kind == Kind::Directory);
    Ok(entries.filter_map(|entry| entry.name.into_string().ok()).collect())
}
