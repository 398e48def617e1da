//! Who owns what before an install, and taking over from another agent.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::follow::{self, Trust};
use super::root::Root;
use super::{Cause, InstallRequest, inherited};
use crate::disk;
use crate::ids::DeploymentId;
use crate::plan::plain_path::split;
use crate::plan::{Claims, Manifest, PathExpression};
use crate::store;

/// What is known of all groups before an install.
pub(super) struct Before {
    /// Who owns what.
    pub(super) claims: Claims,
    /// The deployment whose files are there.
    pub(super) previous: Option<DeploymentId>,
    /// The number of the next install.
    pub(super) serial: u64,
}

/// Reads the manifests of all groups; where the group has none yet, what AWS's agent left.
pub(super) fn read(request: &InstallRequest<'_>) -> Result<Before, Cause> {
    let mut others = Vec::new();
    for group in store::groups(request.layout)? {
        if group != *request.group {
            others.extend(store::read_manifest(request.layout, &group)?);
        }
    }
    let mut ours = store::read_manifest(request.layout, request.group)?;
    let root = Root::open()?;
    if let Some(manifest) = &mut ours {
        relocate(&root, manifest)?;
    }
    let serial = others.iter().chain(&ours).map(|manifest| manifest.serial).max().unwrap_or(0) + 1;
    let previous = ours.as_ref().map(|manifest| manifest.deployment.clone());
    let mut before = Before { claims: Claims::new(ours, others), previous, serial };
    if before.previous.is_none() {
        take_over(request, &root, &mut before)?;
    }
    Ok(before)
}

/// Finds what was installed in a directory that root has moved elsewhere since, leaving a link.
pub(super) fn relocate(root: &Root, manifest: &mut Manifest) -> Result<(), disk::Error> {
    let mut moved: HashMap<OsString, Option<PathBuf>> = HashMap::new();
    for owned in &mut manifest.entries {
        let (parent, name) = split(&owned.path);
        let now = match moved.get(parent.as_os_str()) {
            Some(known) => known,
            None => {
                let found = follow::directory(root, parent, Trust::RootAlone)?.filter(|found| found != parent);
                moved.entry(parent.as_os_str().to_owned()).or_insert(found)
            }
        };
        if let Some(now) = now {
            owned.path = now.join(name);
        }
    }
    Ok(())
}

fn take_over(request: &InstallRequest<'_>, root: &Root, before: &mut Before) -> Result<(), Cause> {
    let Some(inherited) = inherited::inherited(request.layout, request.group)? else { return Ok(()) };
    let (mut paths, mut rules) = (Vec::new(), Vec::new());
    for path in &inherited.paths {
        paths.extend(resolved(root, path)?);
    }
    for path in &inherited.labelled {
        // AWS's agent takes the path itself for an expression, others spell it so that it is one.
        rules.push(PathExpression::of(path));
        rules.extend(path.to_string_lossy().into_owned().try_into());
    }
    before.claims.take_over(paths);
    before.claims.take_over_rules(rules);
    Ok(())
}

/// Where a path of the list really is: links above it are followed, it itself is not.
fn resolved(root: &Root, path: &Path) -> Result<Option<PathBuf>, disk::Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    if !path.is_absolute() {
        return Ok(None);
    }
    Ok(follow::directory(root, parent, Trust::Any)?.map(|parent| parent.join(name)))
}
