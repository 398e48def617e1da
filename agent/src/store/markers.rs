//! Which of a group's deployments is the last successful, the last good and the most recent one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, update};
use crate::disk::{self, Dir};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;

/// How many good deployments are remembered; retention removes their revisions much earlier.
const REMEMBERED: usize = 64;

/// What is remembered of a group's deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Markers {
    /// Whose group it is, as the last deployment said.
    pub who: Option<Who>,
    /// The deployment whose Install succeeded last: its files are on the host, its scripts stop them.
    pub last_successful: Option<Mark>,
    /// Deployments that were installed and of which no later event failed, the newest first, each once.
    #[serde(default)]
    pub good: Vec<Mark>,
    /// The deployment whose revision was unpacked last.
    pub most_recent: Option<Mark>,
}

/// A deployment and when it was marked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The deployment.
    pub deployment: DeploymentId,
    /// When it was marked; for people.
    pub at: Timestamp,
}

/// Names for people: a group is known by its id otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The application.
    pub application: String,
    /// The deployment group.
    pub group: String,
}

impl Stored for Markers {
    const WHAT: &'static str = "the record of a deployment group's last deployments";
    const FORMAT: u32 = 1;
}

impl Markers {
    /// The deployment that a rollback goes back to if the current one fails.
    pub fn last_good(&self) -> Option<&DeploymentId> {
        self.good.first().map(|mark| &mark.deployment)
    }

    /// The newest good deployment other than `current`: where `rollback` goes.
    pub fn last_good_before(&self, current: &DeploymentId) -> Option<&DeploymentId> {
        self.good.iter().map(|mark| &mark.deployment).find(|id| *id != current)
    }

    /// Deployments whose revisions must stay on disk.
    pub fn protected(&self) -> Vec<DeploymentId> {
        let marks = [&self.last_successful, &self.most_recent];
        let ids = marks.into_iter().flatten().map(|mark| &mark.deployment).chain(self.last_good());
        ids.cloned().collect()
    }
}

/// A group's markers; all empty if it has none yet.
pub fn read_markers(layout: &Layout, group: &GroupId) -> Result<Markers, StoreError> {
    Ok(read(&layout.markers(group))?.unwrap_or_default())
}

/// Remembers that a deployment's revision was unpacked, for AWS's agent too.
pub fn mark_most_recent(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
    who: &Who,
) -> Result<Markers, StoreError> {
    let markers = update(&layout.markers(group), |markers: &mut Markers| {
        markers.most_recent = Some(mark(deployment));
        markers.who = Some(who.clone());
    })?;
    write_deployment_path(layout, group, deployment, &layout.most_recent_file(group))?;
    Ok(markers)
}

/// Remembers that a deployment's Install succeeded, for AWS's agent too. The install transaction does
/// this itself, after its commit.
pub fn mark_last_successful(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
) -> Result<Markers, StoreError> {
    let markers = update(&layout.markers(group), |markers: &mut Markers| {
        let already = markers.last_successful.as_ref().is_some_and(|mark| mark.deployment == *deployment);
        if !already {
            markers.last_successful = Some(mark(deployment));
        }
    })?;
    write_deployment_path(layout, group, deployment, &layout.last_successful_file(group))?;
    Ok(markers)
}

/// Remembers that a deployment ended well: Install committed, and no event after it failed.
pub fn mark_last_good(layout: &Layout, group: &GroupId, deployment: &DeploymentId) -> Result<Markers, StoreError> {
    update(&layout.markers(group), |markers: &mut Markers| {
        markers.good.retain(|mark| mark.deployment != *deployment);
        markers.good.insert(0, mark(deployment));
        markers.good.truncate(REMEMBERED);
    })
}

/// Takes a deployment out of those that a rollback can go back to: an event after its Install failed.
pub fn withdraw_good(layout: &Layout, group: &GroupId, deployment: &DeploymentId) -> Result<(), StoreError> {
    if read_markers(layout, group)?.good.iter().any(|mark| mark.deployment == *deployment) {
        update(&layout.markers(group), |markers: &mut Markers| {
            markers.good.retain(|mark| mark.deployment != *deployment);
        })?;
    }
    Ok(())
}

/// Forgets whose scripts stop what runs now, here and for AWS's agent: the next deployment starts as on
/// a host that has none. The ownership of files stays.
pub fn forget_scripts(layout: &Layout, group: &GroupId) -> Result<(), StoreError> {
    update(&layout.markers(group), |markers: &mut Markers| markers.last_successful = None)?;
    Ok(disk::remove_if_exists(&layout.last_successful_file(group))?)
}

/// Forgets which files the group owns: the next deployment finds them as it finds anybody's.
pub fn forget_ownership(layout: &Layout, group: &GroupId) -> Result<(), StoreError> {
    disk::remove_if_exists(&layout.manifest(group))?;
    Ok(disk::remove_if_exists(&layout.cleanup_file(group))?)
}

fn mark(deployment: &DeploymentId) -> Mark {
    Mark { deployment: deployment.clone(), at: Timestamp::now() }
}

/// AWS's agent keeps the deployment's directory in a file of its own, without a newline.
fn write_deployment_path(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
    file: &std::path::Path,
) -> Result<(), disk::Error> {
    use std::os::unix::ffi::OsStrExt;
    Dir::open_or_create(layout.instructions(), 0o755)?;
    disk::write_atomic(file, layout.deployment(group, deployment).as_os_str().as_bytes(), 0o644)
}
