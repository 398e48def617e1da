//! Who owns what before an install, and taking over from another agent.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::follow::{self, Trust};
use super::root::Root;
use super::{Cause, InstallRequest};
use crate::disk;
use crate::ids::DeploymentId;
use crate::plan::{Claims, Manifest, PathExpression};
use crate::store;

/// The longest list of another agent that is read.
const MAX_CLEANUP: u64 = 64 << 20;

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
        let (Some(parent), Some(name)) = (owned.path.parent(), owned.path.file_name()) else { continue };
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
    let file = request.layout.cleanup_file(request.group);
    let Some(text) = disk::read_if_exists(&file, MAX_CLEANUP)? else { return Ok(()) };
    let (mut paths, mut rules) = (Vec::new(), Vec::new());
    // A last line without its newline is torn.
    for line in text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n")) {
        if let Some(path) = line.strip_prefix(b"semanage\0") {
            // AWS's agent takes the path itself for an expression, others spell it so that it is one.
            rules.push(PathExpression::of(Path::new(OsStr::from_bytes(path))));
            rules.extend(String::from_utf8_lossy(path).into_owned().try_into());
            continue;
        }
        paths.extend(resolved(root, Path::new(OsStr::from_bytes(line)))?);
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
