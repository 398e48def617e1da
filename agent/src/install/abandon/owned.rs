//! What a group owns once an install of it was given up: what was there before, and what the install had put in place.
//! Else the next deployment would find that as somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::examine::{Found, Scene};
use crate::disk;
use crate::ids::{DeploymentId, GroupId, TransactionId};
use crate::install::follow::Trust;
use crate::install::root::{Root, shallow_state};
use crate::install::settle::SettleError;
use crate::install::{Inherited, LastInstall, claims, last_install, publish};
use crate::journal::Begin;
use crate::layout::Layout;
use crate::plan::grounds::FollowedLinks;
use crate::plan::link::Links;
use crate::plan::manifest::Claim;
use crate::plan::plain_path::in_order;
use crate::plan::{Change, Manifest, Owned, PathState, Step, trees};
use crate::store;

/// Writes the group's list of what it owns anew, by what is on the disk.
pub(super) fn own_what_is_there(layout: &Layout, begin: &Begin, scene: &Scene<'_>) -> Result<(), SettleError> {
    let Before { deployment, links, entries } = Before::read(layout, &begin.group, &begin.deployment, scene.root)?;
    let mut owned: BTreeMap<PathBuf, PathState> = entries.into_iter().map(|one| (one.path, one.state)).collect();
    for (number, first, members) in trees(&scene.story.steps) {
        let found = scene.at(number, first);
        for step in std::iter::once(first).chain(members) {
            if is_there(scene, &found, step)? {
                owned.extend(step.owned().map(|to_be| (step.path.clone(), to_be.state.into_owned())));
            } else if step.change == Change::Remove && found == Found::New {
                owned.remove(&step.path);
            }
        }
    }
    let mut entries: Vec<Owned> = owned.into_iter().map(|(path, state)| Owned { path, state }).collect();
    entries.sort_by(|one, other| in_order(&one.path, &other.path));
    let serial = latest_serial(layout)? + 1;
    let manifest = Manifest { group: begin.group.clone(), deployment, serial, at: Timestamp::now(), links, entries };
    Ok(publish::put(layout, &manifest)?)
}

/// The same, where the journal tells nothing: by the list of what was to be owned, if that is left.
pub(super) fn own_what_was_listed(layout: &Layout, id: &TransactionId, root: &Root) -> Result<(), SettleError> {
    let Some(ahead) = store::read::<Manifest>(&publish::ahead(layout, id))? else { return Ok(()) };
    let Before { deployment, links, entries } = Before::read(layout, &ahead.group, &ahead.deployment, root)?;
    let serial = latest_serial(layout)? + 1;
    let mut manifest =
        Manifest { group: ahead.group.clone(), deployment, serial, at: Timestamp::now(), links, entries };
    let known: BTreeSet<PathBuf> = manifest.entries.iter().map(|owned| owned.path.clone()).collect();
    for owned in ahead.entries.into_iter().filter(|owned| !known.contains(&owned.path)) {
        if is_of_that_kind(root, &owned.path, &owned.state)? {
            manifest.entries.push(owned);
        }
    }
    manifest.entries.sort_by(|one, other| in_order(&one.path, &other.path));
    Ok(publish::put(layout, &manifest)?)
}

/// Adds to what a committed install owns the directories that were to go and could not: the next deployment removes
/// them.
pub(super) fn own_what_was_not_removed(layout: &Layout, begin: &Begin, scene: &Scene<'_>) -> Result<(), SettleError> {
    let is_left = |(number, step, _): &(usize, &Step, &[Step])| {
        step.change == Change::RemoveDirectory && scene.at(*number, step) == Found::Old
    };
    let left = trees(&scene.story.steps).filter(is_left);
    let left: Vec<_> = left.map(|(_, step, _)| Owned { path: step.path.clone(), state: step.was().clone() }).collect();
    if let Some(mut manifest) = store::read_manifest(layout, &begin.group)?.filter(|_| !left.is_empty()) {
        manifest.entries.retain(|owned| left.iter().all(|left| left.path != owned.path));
        manifest.entries.extend(left);
        manifest.entries.sort_by(|one, other| in_order(&one.path, &other.path));
        publish::put(layout, &manifest)?;
    }
    Ok(())
}

/// Whether what the step wants is there, or may be: on a file system that is not mounted nobody can tell.
fn is_there(scene: &Scene<'_>, found: &Found, step: &Step) -> Result<bool, disk::Error> {
    if !step.is_staged() {
        return Ok(*found == Found::New);
    }
    if scene.is_out_of_reach(&step.path) {
        return Ok(true);
    }
    // A journal that lost its end does not tell the inodes of what it put in place.
    let may_be = *found == Found::New || (!scene.is_certain() && matches!(found, Found::Neither(_)));
    Ok(may_be && is_of_that_kind(scene.root, &step.path, &step.want)?)
}

fn is_of_that_kind(root: &Root, path: &Path, want: &PathState) -> Result<bool, disk::Error> {
    let facts = root.facts(path)?;
    Ok(facts.is_some_and(|facts| Claim::from(want).covers(&shallow_state(&facts.stat))))
}

/// What was the group's before the install.
struct Before {
    deployment: DeploymentId,
    links: Option<Links>,
    entries: Vec<Owned>,
}

impl Before {
    /// `own` is the deployment that is given up: what a first install put in place is of no other.
    fn read(layout: &Layout, group: &GroupId, own: &DeploymentId, root: &Root) -> Result<Self, SettleError> {
        let last = last_install(layout, group)?;
        let deployment = last.deployment().unwrap_or(own).clone();
        let (links, entries) = match last {
            LastInstall::None => (None, Vec::new()),
            LastInstall::Own(manifest) | LastInstall::OwnUnlisted(manifest) => (manifest.links, manifest.entries),
            LastInstall::Aws(install) => (None, listed(&install.list, root)?),
        };
        Ok(Self { deployment, links, entries })
    }
}

/// What AWS's agent left to the group, as it is now.
fn listed(list: &Inherited, root: &Root) -> Result<Vec<Owned>, SettleError> {
    let mut owned = Vec::new();
    for path in &list.paths {
        if let Some(path) = claims::resolved(root, path, Trust::Safe(FollowedLinks::Safe))?
            && let Some(facts) = root.facts(&path)?
        {
            owned.push(Owned { state: shallow_state(&facts.stat), path });
        }
    }
    Ok(owned)
}

fn latest_serial(layout: &Layout) -> Result<u64, SettleError> {
    let mut latest = 0;
    for group in store::groups(layout)? {
        latest = store::read_manifest(layout, &group)?.map_or(latest, |manifest| latest.max(manifest.serial));
    }
    Ok(latest)
}
