//! The `files` section applied to a revision: which paths it is about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::conflict::Conflict;
use super::plain_path::{below, in_order, same};
use super::state::PathState;
use crate::appspec::{AppSpec, FileMapping, Position};

/// What a revision holds, by path relative to its root; the root itself is the empty path. States are
/// as the bundle has them; files that are to be installed have their digest.
pub type Index = BTreeMap<PathBuf, PathState>;

/// One path that an AppSpec names, as it names it: symlinks on the way are not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Absolute.
    pub path: PathBuf,
    /// What it is to be.
    pub role: Role,
    /// Where in the revision it comes from.
    pub source: &'a Path,
    /// What is there.
    pub state: &'a PathState,
    /// The `files` entry.
    pub entry: Position,
}

/// What a target is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A destination, or a directory above one: made where it is missing, followed where it is a link.
    Way,
    /// A directory of the revision.
    Directory,
    /// A file or symlink of the revision.
    Leaf,
}

/// All targets in the order of paths, directories once; what the entries name and the revision lacks
/// is a conflict.
pub fn expand<'a>(appspec: &'a AppSpec, index: &'a Index, conflicts: &mut Vec<Conflict>) -> Vec<Target<'a>> {
    let mut targets = Vec::with_capacity(index.len());
    for mapping in &appspec.files {
        match index.get(mapping.source.as_path()) {
            None => conflicts
                .push(Conflict::MissingSource { source_path: mapping.source.as_path().to_owned(), at: mapping.at }),
            Some(state) => expand_one(mapping, state, index, &mut targets, conflicts),
        }
    }
    targets.sort_by(|one, other| in_order(&one.path, &other.path).then(one.role.cmp(&other.role)));
    targets.dedup_by(|later, earlier| {
        same(&later.path, &earlier.path) && later.role != Role::Leaf && earlier.role != Role::Leaf
    });
    targets
}

fn expand_one<'a>(
    mapping: &'a FileMapping,
    state: &'a PathState,
    index: &'a Index,
    targets: &mut Vec<Target<'a>>,
    conflicts: &mut Vec<Conflict>,
) {
    let (source, destination) = (mapping.source.as_path(), mapping.destination.as_path());
    let target = |path, role, source, state| Target { path, role, source, state, entry: mapping.at };
    for way in destination.ancestors().filter(|way| way.parent().is_some()) {
        targets.push(target(way.to_owned(), Role::Way, source, state));
    }
    if !state.is_directory() {
        let name = source.file_name().unwrap_or_default();
        push(target(destination.join(name), Role::Leaf, source, state), targets, conflicts);
        return;
    }
    for (path, state) in index.range(source.to_owned()..) {
        let Some(relative) = below(path, source) else { break };
        if relative.as_os_str().is_empty() {
            continue;
        }
        let role = if state.is_directory() { Role::Directory } else { Role::Leaf };
        push(target(destination.join(relative), role, path, state), targets, conflicts);
    }
}

fn push<'a>(target: Target<'a>, targets: &mut Vec<Target<'a>>, conflicts: &mut Vec<Conflict>) {
    match target.state {
        PathState::Other | PathState::Absent => {
            conflicts.push(Conflict::UnsupportedSource { source_path: target.source.to_owned() });
        }
        _ => targets.push(target),
    }
}
