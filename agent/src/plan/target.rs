//! The `files` section applied to a revision: which paths it is about.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::conflict::Conflict;
use super::plain_path::{below, in_order, join, same};
use super::source::{Led, Sources};
use super::state::PathState;
use crate::appspec::{AppSpec, FileMapping, Position};

/// What a revision holds, by path relative to its root; the root itself is the empty path. States are
/// as the bundle has them; files that are to be installed have their digest.
#[derive(Debug)]
pub struct Index {
    listings: Vec<Listing>,
    /// All entries in the order of paths: the listing of each, and its number there.
    order: Vec<(u32, u32)>,
}

/// What is in one directory, in the order of names.
pub type Listing = Vec<(PathBuf, PathState)>;

impl Index {
    /// From what is in each directory; the root is in itself.
    pub fn of(listings: Vec<(PathBuf, Listing)>) -> Self {
        let (directories, listings): (Vec<PathBuf>, Vec<Listing>) = listings.into_iter().unzip();
        let numbers: HashMap<&OsStr, usize> =
            directories.iter().enumerate().map(|(number, directory)| (directory.as_os_str(), number)).collect();
        let mut order = Vec::with_capacity(listings.iter().map(Vec::len).sum());
        let begin = |directory: &Path| numbers.get(directory.as_os_str()).map(|number| (*number, 0));
        let mut ahead: Vec<(usize, usize)> = begin(Path::new("")).into_iter().collect();
        while let Some((listing, at)) = ahead.last_mut() {
            let Some((path, state)) = listings.get(*listing).and_then(|entries| entries.get(*at)) else {
                ahead.pop();
                continue;
            };
            order.push((number(*listing), number(*at)));
            *at += 1;
            if state.is_directory() && !path.as_os_str().is_empty() {
                ahead.extend(begin(path));
            }
        }
        Self { listings, order }
    }

    /// Everything, in the order of paths.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &PathState)> {
        self.order.iter().filter_map(|at| self.at(*at))
    }

    fn at(&self, (listing, number): (u32, u32)) -> Option<(&Path, &PathState)> {
        let (path, state) = self.listings.get(listing as usize)?.get(number as usize)?;
        Some((path, state))
    }

    /// What is at a path, with the index's own spelling of it.
    pub fn get(&self, path: &Path) -> Option<(&Path, &PathState)> {
        self.below(path).next().filter(|(found, _)| same(found, path))
    }

    /// What is at a path and below it, in the order of paths.
    pub fn below(&self, directory: &Path) -> impl Iterator<Item = (&Path, &PathState)> {
        let is_before = |at: &(u32, u32)| self.at(*at).is_some_and(|(path, _)| in_order(path, directory).is_lt());
        let entries = self.order.iter().skip(self.order.partition_point(is_before)).filter_map(|at| self.at(*at));
        entries.take_while(move |(path, _)| below(path, directory).is_some())
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none, not even the root.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// A tree that is listed has not nearly as many entries.
fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

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
pub fn expand<'a>(
    appspec: &'a AppSpec,
    sources: &Sources,
    index: &'a Index,
    conflicts: &mut Vec<Conflict>,
) -> Vec<Target<'a>> {
    let mut targets = Vec::with_capacity(index.len());
    for mapping in &appspec.files {
        let (named, at) = (mapping.source.as_path(), mapping.at);
        if let Some(Led::Outside { link, target }) = sources.led(named) {
            let (source_path, link, target) = (named.to_owned(), link.clone(), target.clone());
            conflicts.push(Conflict::SourceOutside { source_path, link, target, at });
            continue;
        }
        match sources.path(named).and_then(|path| index.get(path)) {
            None => conflicts.push(Conflict::MissingSource { source_path: named.to_owned(), at }),
            Some(source) => expand_one(mapping, source, index, &mut targets, conflicts),
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
    (source, state): (&'a Path, &'a PathState),
    index: &'a Index,
    targets: &mut Vec<Target<'a>>,
    conflicts: &mut Vec<Conflict>,
) {
    let destination = mapping.destination.as_path();
    let target = |path, role, source, state| Target { path, role, source, state, entry: mapping.at };
    for way in destination.ancestors().filter(|way| way.parent().is_some()) {
        targets.push(target(way.to_owned(), Role::Way, source, state));
    }
    if !state.is_directory() {
        let name = mapping.source.as_path().file_name().unwrap_or_default();
        push(target(destination.join(name), Role::Leaf, source, state), targets, conflicts);
        return;
    }
    for (path, state) in index.below(source) {
        let Some(relative) = below(path, source).filter(|relative| !relative.as_os_str().is_empty()) else { continue };
        let role = if state.is_directory() { Role::Directory } else { Role::Leaf };
        push(target(join(destination, relative.as_os_str()), role, path, state), targets, conflicts);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Attrs;

    #[test]
    fn an_index_is_in_the_order_of_paths() {
        let directory = || PathState::Directory { attrs: Attrs::new(0, 0, 0o755) };
        let entry = |path: &str, is_directory: bool| {
            (PathBuf::from(path), if is_directory { directory() } else { PathState::Other })
        };
        let listings = vec![
            (PathBuf::from("b/d"), vec![entry("b/d/x", false)]),
            (PathBuf::from(""), vec![entry("", true), entry("a", false), entry("b", true), entry("b.c", false)]),
            (PathBuf::from("b/e"), Vec::new()),
            (
                PathBuf::from("b"),
                vec![entry("b/c", false), entry("b/d", true), entry("b/e", true), entry("b/f", false)],
            ),
        ];
        let index = Index::of(listings);
        let paths = ["", "a", "b", "b/c", "b/d", "b/d/x", "b/e", "b/f", "b.c"];
        assert_eq!(index.iter().map(|(path, _)| path.to_str().unwrap()).collect::<Vec<_>>(), paths);
        assert_eq!(index.len(), paths.len());
        for path in paths {
            assert!(index.get(Path::new(path)).is_some(), "{path}");
            let below: Vec<_> = index.below(Path::new(path)).map(|(path, _)| path).collect();
            let all: Vec<_> = paths.iter().map(Path::new).filter(|it| it.starts_with(path)).collect();
            assert_eq!(below, all, "{path}");
        }
        for path in ["b/", "c", "b/d/", "b/dd", "b.", "0"] {
            assert!(index.get(Path::new(path)).is_none(), "{path}");
        }
    }
}
