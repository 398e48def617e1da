//! Whose install of a group was the last one on this host: this agent's, or that of AWS's agent, which may have worked
//! on the same root since.
//!
//! After each commit this agent writes the files that AWS's agent would have written. As long as they are still those
//! that follow from its manifest, the manifest counts. Where they are not, AWS's agent has installed something since,
//! and has removed what the manifest names: its files count, and the manifest is out of date.

use std::collections::BTreeSet;

use super::inherited::{self, Inherited};
use crate::disk::{self, Dir};
use crate::ids::{DeploymentId, GroupId};
use crate::journal::ListStamp;
use crate::layout::Layout;
use crate::plan::Manifest;
use crate::store::{self, Mark, StoreError};

/// How the names of lists end.
const LIST: &str = "-cleanup";

/// The last install of a group, as far as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastInstall {
    /// There is no record of one.
    None,
    /// This agent's.
    Own(Manifest),
    /// This agent's, but its list for AWS's agent is gone: an operator removed it, or an install of AWS's agent failed
    /// after it had removed what was listed. What is no longer as it was installed may be somebody else's.
    OwnUnlisted(Manifest),
    /// That of AWS's agent.
    Aws(AwsInstall),
}

/// What AWS's agent has on record of its last install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsInstall {
    /// What it installed.
    pub list: Inherited,
    /// The deployment; the one that was begun last where none is known to have ended well.
    pub deployment: Option<Mark>,
    /// The number of this agent's own last install of the group, which AWS's agent has replaced; 0 where there was none.
    pub own_serial: u64,
}

impl LastInstall {
    /// The deployment whose files are there.
    pub fn deployment(&self) -> Option<&DeploymentId> {
        match self {
            Self::None => None,
            Self::Own(manifest) | Self::OwnUnlisted(manifest) => Some(&manifest.deployment),
            Self::Aws(install) => install.deployment.as_ref().map(|mark| &mark.deployment),
        }
    }

    /// The number of this agent's own last install of the group; 0 where there was none.
    pub fn own_serial(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Own(manifest) | Self::OwnUnlisted(manifest) => manifest.serial,
            Self::Aws(install) => install.own_serial,
        }
    }
}

/// Reads the record of a group's last install.
pub fn last_install(layout: &Layout, group: &GroupId) -> Result<LastInstall, StoreError> {
    read(layout, group).map(|(last, _)| last)
}

/// As [`last_install`], with what tells the list for AWS's agent from a later one.
pub(super) fn read(layout: &Layout, group: &GroupId) -> Result<(LastInstall, ListStamp), StoreError> {
    let list = inherited::read(layout, group)?;
    let stamp = ListStamp::of(list.as_deref());
    Ok((judge(layout, group, list.as_deref())?, stamp))
}

fn judge(layout: &Layout, group: &GroupId, list: Option<&[u8]>) -> Result<LastInstall, StoreError> {
    let manifest = store::read_manifest(layout, group)?;
    let (list, manifest) = match (list, manifest) {
        (None, None) => return Ok(LastInstall::None),
        (None, Some(manifest)) => return Ok(LastInstall::OwnUnlisted(manifest)),
        (Some(list), manifest) => (list, manifest),
    };
    let markers = store::read_markers(layout, group)?;
    let own_serial = match manifest {
        None => 0,
        Some(manifest) => {
            // A list can read the same by chance; the deployment's id cannot.
            let is_other = |mark: &Mark| mark.deployment != manifest.deployment;
            if !markers.last_successful.as_ref().is_some_and(is_other) && inherited::is_of(list, &manifest) {
                return Ok(LastInstall::Own(manifest));
            }
            manifest.serial
        }
    };
    let deployment = markers.last_successful.or(markers.most_recent);
    Ok(LastInstall::Aws(AwsInstall { list: inherited::parse(list), deployment, own_serial }))
}

/// The groups of which an install is on record, this agent's or that of AWS's agent, in order.
pub fn installed_groups(layout: &Layout) -> Result<BTreeSet<GroupId>, StoreError> {
    let mut groups: BTreeSet<GroupId> = store::groups(layout)?.into_iter().collect();
    let entries = match Dir::open(layout.instructions()) {
        Err(error) if error.is_not_found() => Vec::new(),
        other => other?.entries()?,
    };
    let group = |entry: &disk::Entry| GroupId::parse(entry.name.to_str()?.strip_suffix(LIST)?).ok();
    groups.extend(entries.iter().filter_map(group));
    Ok(groups)
}
