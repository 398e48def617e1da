//! Which of a group's deployments is the last successful, the last good and the most recent one.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, update_from};
use crate::disk::{self, Dir};
use crate::ids::{DeploymentId, EventName, GroupId};
use crate::layout::Layout;

/// How many good deployments are remembered; retention removes their revisions much earlier.
const REMEMBERED: usize = 64;
/// The longest path that is read from a file of AWS's agent, in bytes.
const MAX_PATH: u64 = 8192;

/// What is remembered of a group's deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Markers {
    /// Whose group it is, as the last deployment said.
    pub who: Option<Who>,
    /// The deployment whose Install succeeded last: its files are on the host, its scripts stop them.
    pub last_successful: Option<Mark>,
    /// Deployments that ended well: installed, and each event after that succeeded. The newest first, each once.
    #[serde(default)]
    pub good: Vec<Mark>,
    /// The deployment that is installed and has not ended yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_trial: Option<Trial>,
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

/// A deployment that is installed and has not ended yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The event with which it ends.
    pub until: EventName,
}

/// What shows that a deployment ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// This event of it succeeded, which counts if it is the last one.
    Event(&'a EventName),
    /// All of its events succeeded.
    WholeDeployment,
}

impl Trial {
    fn ends_by(&self, deployment: &DeploymentId, proof: Proof<'_>) -> bool {
        self.deployment == *deployment
            && match proof {
                Proof::Event(event) => self.until == *event,
                Proof::WholeDeployment => true,
            }
    }
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

/// A group's markers. The two that AWS's agent keeps too are what its files say: where one names another deployment than
/// this agent remembers, AWS's agent has worked on the group since; where one is gone, an operator removed it, so that no
/// script of an earlier revision runs.
pub fn read_markers(layout: &Layout, group: &GroupId) -> Result<Markers, StoreError> {
    with_aws_files(layout, group, read(&layout.markers(group))?)
}

fn change(layout: &Layout, group: &GroupId, change: impl FnOnce(&mut Markers)) -> Result<Markers, StoreError> {
    update_from(&layout.markers(group), |found| with_aws_files(layout, group, found), change)
}

/// Takes over what AWS's agent has written since. Whether its last deployment was a good one is not in its files.
fn with_aws_files(layout: &Layout, group: &GroupId, own: Option<Markers>) -> Result<Markers, StoreError> {
    let mut markers = own.unwrap_or_default();
    let marks = [
        (layout.last_successful_file(group), &mut markers.last_successful),
        (layout.most_recent_file(group), &mut markers.most_recent),
    ];
    for (file, mark) in marks {
        match read_deployment_path(group, &file)? {
            Found::Nothing => *mark = None,
            Found::Useless => {}
            Found::Deployment(found) => {
                if mark.as_ref().is_none_or(|own| own.deployment != found.deployment) {
                    *mark = Some(found);
                }
            }
        }
    }
    Ok(markers)
}

/// Remembers that a deployment's revision was unpacked, for AWS's agent too.
pub fn mark_most_recent(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
    who: &Who,
) -> Result<Markers, StoreError> {
    // First: cut off after it, what it says is true, and is taken over.
    write_deployment_path(layout, group, deployment, &layout.most_recent_file(group))?;
    change(layout, group, |markers| {
        markers.most_recent = Some(mark(deployment));
        markers.who = Some(who.clone());
    })
}

/// Remembers that a deployment's Install succeeded, for AWS's agent too. The install transaction does
/// this itself, after its commit.
pub fn mark_last_successful(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
) -> Result<Markers, StoreError> {
    // First: cut off after it, what it says is true, and is taken over.
    write_deployment_path(layout, group, deployment, &layout.last_successful_file(group))?;
    change(layout, group, |markers| {
        let already = markers.last_successful.as_ref().is_some_and(|mark| mark.deployment == *deployment);
        if !already {
            markers.last_successful = Some(mark(deployment));
        }
    })
}

/// Remembers that a deployment is installed, and with which event it ends. Until then it is none to go back to.
pub fn put_on_trial(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
    until: &EventName,
) -> Result<Markers, StoreError> {
    change(layout, group, |markers| {
        markers.good.retain(|mark| mark.deployment != *deployment);
        markers.on_trial = Some(Trial { deployment: deployment.clone(), until: until.clone() });
    })
}

/// Remembers that a deployment ended well, if that is proved and it is the one that is installed.
pub fn mark_last_good(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
    proof: Proof<'_>,
) -> Result<(), StoreError> {
    let ends = |markers: &Markers| markers.on_trial.as_ref().is_some_and(|trial| trial.ends_by(deployment, proof));
    if !ends(&read_markers(layout, group)?) {
        return Ok(());
    }
    change(layout, group, |markers| {
        // Another install may have come in between.
        if ends(markers) {
            markers.on_trial = None;
            markers.good.retain(|mark| mark.deployment != *deployment);
            markers.good.insert(0, mark(deployment));
            markers.good.truncate(REMEMBERED);
        }
    })?;
    Ok(())
}

/// Takes a deployment out of those that a rollback can go back to, now and later: an event of it failed.
pub fn withdraw_good(layout: &Layout, group: &GroupId, deployment: &DeploymentId) -> Result<(), StoreError> {
    let is_on_trial =
        |markers: &Markers| markers.on_trial.as_ref().is_some_and(|trial| trial.deployment == *deployment);
    let markers = read_markers(layout, group)?;
    if is_on_trial(&markers) || markers.good.iter().any(|mark| mark.deployment == *deployment) {
        change(layout, group, |markers| {
            markers.good.retain(|mark| mark.deployment != *deployment);
            markers.on_trial.take_if(|trial| trial.deployment == *deployment);
        })?;
    }
    Ok(())
}

/// Forgets whose scripts stop what runs now, here and for AWS's agent: the next deployment starts as on
/// a host that has none. The ownership of files stays.
pub fn forget_scripts(layout: &Layout, group: &GroupId) -> Result<(), StoreError> {
    disk::remove_if_exists(&layout.last_successful_file(group))?;
    change(layout, group, |markers| markers.last_successful = None).map(drop)
}

/// Forgets which files the group owns: the next deployment finds them as it finds anybody's.
pub fn forget_ownership(layout: &Layout, group: &GroupId) -> Result<(), StoreError> {
    // The manifest last: without it the list would be taken over.
    disk::remove_if_exists(&layout.cleanup_file(group))?;
    Ok(disk::remove_if_exists(&layout.manifest(group))?)
}

fn mark(deployment: &DeploymentId) -> Mark {
    Mark { deployment: deployment.clone(), at: Timestamp::now() }
}

/// What a file of AWS's agent says.
enum Found {
    /// There is none.
    Nothing,
    /// It names no deployment of the group.
    Useless,
    Deployment(Mark),
}

/// The deployment whose directory is in a file of AWS's agent: `<root>/<group>/<deployment>`.
fn read_deployment_path(group: &GroupId, file: &Path) -> Result<Found, disk::Error> {
    let Some(text) = disk::read_if_exists(file, MAX_PATH)? else { return Ok(Found::Nothing) };
    let text = String::from_utf8_lossy(&text);
    let directory = Path::new(text.trim_end());
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str().map(str::to_owned));
    let deployment = name(directory).and_then(|name| DeploymentId::parse(&name).ok());
    let is_the_groups = directory.parent().and_then(name).is_some_and(|parent| parent == group.as_str());
    let Some(deployment) = deployment.filter(|_| is_the_groups) else {
        let file = file.display();
        tracing::warn!(%file, "the file names no deployment of the group, so nothing is taken over from it");
        return Ok(Found::Useless);
    };
    let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return Ok(Found::Useless) };
    let (seconds, nanos) = Dir::open(parent)?.stat(name)?.modified;
    let at = Timestamp::new(seconds, i32::try_from(nanos).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Found::Deployment(Mark { deployment, at }))
}

/// AWS's agent keeps the deployment's directory in a file of its own, without a newline.
fn write_deployment_path(
    layout: &Layout,
    group: &GroupId,
    deployment: &DeploymentId,
    file: &Path,
) -> Result<(), disk::Error> {
    use std::os::unix::ffi::OsStrExt;
    Dir::open_or_create(layout.instructions(), 0o755)?;
    disk::write_atomic(file, layout.deployment(group, deployment).as_os_str().as_bytes(), 0o644)
}
