//! Who owns what before an install, and taking over from another agent.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::follow::{self, Trust};
use super::index::digest;
use super::inherited::Inherited;
use super::last_install::{self, AwsInstall, LastInstall, installed_groups, last_install};
use super::moved::{self, Moved};
use super::root::Root;
use super::{Cause, InstallRequest};
use crate::disk::{self, Kind};
use crate::ids::{DeploymentId, GroupId};
use crate::journal::ListStamp;
use crate::layout::Layout;
use crate::plan::{Claims, Links, Manifest, Owned, PathExpression, PathState};
use crate::store::{Mark, StoreError};

/// What is known of all groups before an install.
pub(super) struct Before {
    /// Who owns what.
    pub(super) claims: Claims,
    /// The deployment whose files are there.
    pub(super) previous: Option<DeploymentId>,
    /// The number of the next install.
    pub(super) serial: u64,
    /// The list for AWS's agent as it is now.
    pub(super) list: ListStamp,
    /// The symlinks through which they were installed.
    pub(super) links: Links,
    /// What people should know of that.
    pub(super) warnings: Vec<String>,
}

/// Reads who installed what last, of all groups.
pub(super) fn read(request: &InstallRequest<'_>) -> Result<Before, Cause> {
    let root = Root::open()?;
    let (others, others_serial) = others(request.layout, request.group, &root)?;
    let (last, list) = last_install::read(request.layout, request.group)?;
    let serial = others_serial.max(last.own_serial()) + 1;
    let previous = last.deployment().cloned();
    let mut moved = Moved::default();
    let links = request.policy.refusals.links;
    let mut claims = match last {
        LastInstall::None => Claims::new(None, others),
        LastInstall::Own(mut manifest) => {
            moved = moved::follow(&root, &mut manifest, request.appspec, links)?;
            Claims::new(Some(manifest), others)
        }
        LastInstall::OwnUnlisted(mut manifest) => {
            moved = moved::follow(&root, &mut manifest, request.appspec, links)?;
            keep_unchanged(&root, &mut manifest)?;
            Claims::new(Some(manifest), others)
        }
        LastInstall::Aws(install) => take_over(&install.list, &root, others, Trust::Safe(links))?,
    };
    let Moved { links, earlier, warnings } = moved;
    claims.take_back(earlier);
    Ok(Before { claims, previous, serial, list, links, warnings })
}

/// What other groups installed last, and the highest number of their installs. What AWS's agent installed has number 0:
/// where this group names the same path, the path is this group's.
pub(super) fn others(layout: &Layout, group: &GroupId, root: &Root) -> Result<(Vec<Manifest>, u64), StoreError> {
    let (mut manifests, mut serial) = (Vec::new(), 0);
    for other in installed_groups(layout)?.into_iter().filter(|other| other != group) {
        let last = last_install(layout, &other)?;
        serial = serial.max(last.own_serial());
        match last {
            LastInstall::None => {}
            LastInstall::Own(manifest) | LastInstall::OwnUnlisted(manifest) => manifests.push(manifest),
            LastInstall::Aws(install) => manifests.extend(listed(install, other, root)?),
        }
    }
    Ok((manifests, serial))
}

/// What AWS's agent has on record for another group, as a manifest. Nothing where not even the deployment is known.
fn listed(install: AwsInstall, group: GroupId, root: &Root) -> Result<Option<Manifest>, disk::Error> {
    let Some(Mark { deployment, at }) = install.deployment else { return Ok(None) };
    let mut entries = Vec::new();
    for path in &install.list.paths {
        // Of its state nothing is known, and of another group's paths nothing else is asked.
        entries.extend(resolved(root, path, Trust::Any)?.map(|path| Owned { path, state: PathState::Other }));
    }
    Ok(Some(Manifest { group, deployment, serial: 0, at, links: None, entries }))
}

/// Leaves out what is no longer as it was installed.
fn keep_unchanged(root: &Root, manifest: &mut Manifest) -> Result<(), disk::Error> {
    let mut kept = Vec::with_capacity(manifest.entries.len());
    for owned in manifest.entries.drain(..) {
        if is_unchanged(root, &owned)? {
            kept.push(owned);
        }
    }
    manifest.entries = kept;
    Ok(())
}

fn is_unchanged(root: &Root, owned: &Owned) -> Result<bool, disk::Error> {
    let path = &owned.path;
    let Some(facts) = root.facts(path)? else { return Ok(false) };
    let looked = match (&owned.state, facts.stat.kind) {
        (PathState::Directory { .. }, Kind::Directory) => Ok(true),
        (PathState::Symlink { target, .. }, Kind::Symlink) => root.read_link(path).map(|found| found == *target),
        (PathState::File { size, .. }, Kind::File) if *size != facts.stat.size => Ok(false),
        (PathState::File { sha256: Some(expected), .. }, Kind::File) => {
            root.file(path).and_then(|file| digest(&file, path)).map(|found| found == *expected)
        }
        (PathState::File { modified, .. }, Kind::File) => {
            Ok((modified.0, modified.1) == (facts.stat.modified.0, facts.stat.modified.1))
        }
        _ => Ok(false),
    };
    match looked {
        // It went since it was looked at.
        Err(error) if error.is_not_found() => Ok(false),
        looked => looked,
    }
}

fn take_over(
    inherited: &Inherited,
    root: &Root,
    mut others: Vec<Manifest>,
    trust: Trust,
) -> Result<Claims, disk::Error> {
    let (mut paths, mut rules) = (BTreeSet::new(), Vec::new());
    // What a link leads to that was put in the place of a directory of the list is somebody else's.
    let mut replaced: HashSet<&Path> = HashSet::new();
    for path in &inherited.paths {
        if path.parent().is_some_and(|parent| replaced.contains(parent)) {
            replaced.insert(path);
        } else if let Some(at) = resolved(root, path, trust)? {
            if root.facts(&at)?.is_some_and(|facts| facts.stat.kind == Kind::Symlink) {
                replaced.insert(path);
            }
            paths.insert(at);
        }
    }
    for path in &inherited.labelled {
        // AWS's agent takes the path itself for an expression, others spell it so that it is one.
        rules.push(PathExpression::of(path));
        rules.extend(path.to_string_lossy().into_owned().try_into());
    }
    // A path of two lists of that agent is replaced by whichever group is deployed to, as that agent does.
    for other in others.iter_mut().filter(|other| other.serial == 0) {
        other.entries.retain(|owned| !paths.contains(&owned.path));
    }
    let mut claims = Claims::new(None, others);
    claims.take_over(paths);
    claims.take_over_rules(rules);
    Ok(claims)
}

/// Where a path of the list really is: links above it are followed, it itself is not. Nothing where one of them is not
/// trusted: whoever made it could have what it leads to removed.
pub(super) fn resolved(root: &Root, path: &Path, trust: Trust) -> Result<Option<PathBuf>, disk::Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    if !path.is_absolute() {
        return Ok(None);
    }
    Ok(follow::directory(root, parent, trust)?.map(|parent| parent.join(name)))
}
