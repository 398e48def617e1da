//! What an install that is not settled holds back: its group, and the paths that it was to change.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::names::Names;
use super::publish;
use super::root::Root;
use super::story::Story;
use super::transaction::Phase;
use crate::disk;
use crate::ids::{GroupId, TransactionId};
use crate::layout::Layout;
use crate::plan::{Change, Manifest, Step};
use crate::store;

/// How many paths a message names.
const EXAMPLES: usize = 3;

/// What is held back; nothing by an install that is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    groups: BTreeSet<GroupId>,
    /// Paths that are held back with all below them.
    whole: BTreeSet<PathBuf>,
    /// Paths that are held back by themselves: of a directory that only gets other attributes, the content is free.
    alone: BTreeSet<PathBuf>,
    /// Where a file system is missing: what is there now is not what was meant.
    missing: Option<PathBuf>,
    /// Where not all paths are known: what has a name of this transaction beside it is held back.
    named: Option<TransactionId>,
}

impl Reach {
    /// What the transaction holds back, by what can be read of it.
    pub(super) fn of(layout: &Layout, id: &TransactionId, story: &Story) -> Self {
        let mut reach = Self::default();
        for step in &story.steps {
            let paths = if is_alone(step.change) { &mut reach.alone } else { &mut reach.whole };
            paths.insert(step.path.clone());
        }
        reach.groups.extend(story.install().map(|(group, _)| group));
        if story.phase != Phase::Begun && !reach.groups.is_empty() {
            return reach;
        }
        // Not all of the plan is readable: the list of what was to be owned may be.
        reach.named = Some(id.clone());
        let ahead: Option<Manifest> = store::read(&publish::ahead(layout, id)).ok().flatten();
        if let Some(ahead) = ahead {
            reach.groups.insert(ahead.group);
            reach.whole.extend(ahead.entries.into_iter().map(|owned| owned.path));
        }
        if reach.groups.is_empty() {
            reach.groups = groups_beside(layout, id).unwrap_or_else(|error| {
                tracing::warn!(%error, transaction = %id, "it is not known which group the transaction is of");
                BTreeSet::new()
            });
        }
        reach
    }

    /// The same, where a file system of the plan is not mounted.
    pub(super) fn without(mut self, mount_point: &Path) -> Self {
        self.missing = Some(mount_point.to_owned());
        self
    }

    /// Whether deployments of the group are held back.
    pub fn holds(&self, group: &GroupId) -> bool {
        self.groups.contains(group)
    }

    /// The groups whose deployments are held back.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.groups.iter()
    }

    /// How many paths are held back.
    pub fn count(&self) -> usize {
        self.whole.len() + self.alone.len()
    }

    /// The first of the paths that are held back.
    pub fn examples(&self) -> Vec<PathBuf> {
        self.whole.iter().chain(&self.alone).take(EXAMPLES).cloned().collect()
    }

    /// Whether a step of another install concerns what is held back.
    pub(super) fn meets(&self, root: &Root, step: &Step) -> Result<bool, disk::Error> {
        let meets = self.covers(&step.path)
            || (!is_alone(step.change) && [&self.whole, &self.alone].into_iter().any(|all| is_above(&step.path, all)));
        Ok(meets || self.has_name_beside(root, &step.path)?)
    }

    /// Whether a path is held back.
    pub(super) fn covers(&self, path: &Path) -> bool {
        self.alone.contains(path)
            || path.ancestors().any(|above| self.whole.contains(above))
            || self.missing.as_ref().is_some_and(|missing| path.starts_with(missing))
    }

    fn has_name_beside(&self, root: &Root, path: &Path) -> Result<bool, disk::Error> {
        self.named.as_ref().map_or(Ok(false), |id| has_name_beside(root, &Names(id.clone()), path))
    }
}

/// `group shop, and what changes its 3 paths (/srv/a, /srv/b, /srv/c)`.
impl fmt::Display for Reach {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<&str> = self.groups.iter().map(GroupId::as_str).collect();
        match groups.as_slice() {
            [] => out.write_str("no group that is known")?,
            [group] => write!(out, "group {group}")?,
            groups => write!(out, "the groups {}", groups.join(", "))?,
        }
        let (examples, count) = (self.examples(), self.count());
        if count > 0 {
            let shown: Vec<String> = examples.iter().map(|path| path.display().to_string()).collect();
            let (paths, more) = (if count == 1 { "path" } else { "paths" }, count - examples.len());
            write!(out, ", and what changes its {count} {paths} ({}", shown.join(", "))?;
            if more > 0 {
                write!(out, " and {more} more")?;
            }
            out.write_str(")")?;
        }
        Ok(())
    }
}

fn is_alone(change: Change) -> bool {
    matches!(change, Change::Attributes | Change::Touch)
}

/// Whether one of the paths is below `path`. Paths are in the order of their components.
fn is_above(path: &Path, paths: &BTreeSet<PathBuf>) -> bool {
    paths.range(path.to_owned()..).next().is_some_and(|first| first.starts_with(path))
}

fn has_name_beside(root: &Root, names: &Names, path: &Path) -> Result<bool, disk::Error> {
    Ok(root.facts(&names.staged(path))?.is_some() || root.facts(&names.old(path))?.is_some())
}

/// The groups beside whose paths there are names of the transaction.
fn groups_beside(layout: &Layout, id: &TransactionId) -> Result<BTreeSet<GroupId>, store::StoreError> {
    let (root, names) = (Root::open()?, Names(id.clone()));
    let mut found = BTreeSet::new();
    for group in store::groups(layout)? {
        for owned in store::read_manifest(layout, &group)?.into_iter().flat_map(|manifest| manifest.entries) {
            if has_name_beside(&root, &names, &owned.path)? {
                found.insert(group);
                break;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_path_is_found_among_its_neighbours() {
        let paths = BTreeSet::from(["/srv/app-2/x", "/srv/app/x/y", "/srv/b"].map(PathBuf::from));
        for (path, is) in [("/srv/app", true), ("/srv/app/x/y", true), ("/srv/app/x/y/z", false), ("/srv/ap", false)] {
            assert_eq!(is_above(Path::new(path), &paths), is, "{path}");
        }
    }
}
