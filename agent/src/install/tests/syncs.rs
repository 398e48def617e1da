//! What has to be on the disk before what relies on it, read from the mutations of an install or a
//! recovery. Only the calls are looked at: a disk would keep more than they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::random::Host;
use super::world::{World, said};
use crate::disk::fault::{self, Mutation};

/// Follows the mutations and tells of the first that relies on something that may not be on the disk: a
/// name that is given to content which is not, a record that tells of moves which are not, something
/// deleted while the record that allows it is not; or what is still not there at the end.
pub(super) fn broken(mutations: &[Mutation], world: &World) -> Option<String> {
    let (targets, records) = (world.path(""), world.layout.transactions());
    let mut unsynced = Unsynced::default();
    let mut moved = false;
    // Not synced on purpose: digests, since a list that is lost costs time alone, and what is written for
    // people, since nobody reads it.
    let digests = world.layout.own().join("digests");
    let for_people = world.layout.install_file(&world.group);
    let name = for_people.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_for_people = |path: &Path| {
        path.parent() == for_people.parent() && path.file_name().is_some_and(|it| it.to_string_lossy().contains(&name))
    };
    let relied_on = |mutation: &&Mutation| !mutation.path.starts_with(&digests) && !is_for_people(&mutation.path);
    for mutation in mutations.iter().filter(relied_on) {
        let Mutation { name, path, from } = mutation;
        let is_target = path.starts_with(&targets);
        let mut trouble = None;
        match *name {
            "sync" => unsynced.file(path),
            "sync directory" => unsynced.directory(path),
            // Everything is on one file system here.
            "sync file system" => unsynced = Unsynced::default(),
            "create" | "make directory" | "make symlink" => {
                if is_target && unsynced.holds_plan(&records) {
                    trouble = Some("no plan of this is on the disk");
                }
                unsynced.contents.insert(path.clone());
                unsynced.names.insert(path.clone());
                if *name == "make symlink" {
                    unsynced.links.insert(path.clone());
                }
            }
            "rename" | "exchange" | "link" => {
                let from = from.as_deref().unwrap_or(path);
                if unsynced.holds(from) || (*name == "exchange" && unsynced.holds(path)) {
                    trouble = Some("content that is not on the disk gets another name");
                } else if is_target && unsynced.holds(&records) {
                    trouble = Some("no record of this is on the disk");
                }
                moved |= is_target;
                unsynced.names.extend([path, from].map(Path::to_owned));
            }
            "remove" => {
                if is_target && unsynced.holds(&records) {
                    trouble = Some("no record that allows this is on the disk");
                }
                unsynced.gone(path);
                unsynced.names.insert(path.clone());
            }
            "append" | "cut" if path.ends_with("journal") => {
                if moved && unsynced.holds(&targets) {
                    trouble = Some("a record tells of what is not on the disk");
                }
                unsynced.contents.insert(path.clone());
            }
            "reserve" => {}
            // Content and attributes.
            _ => {
                if is_target && unsynced.holds_plan(&records) {
                    trouble = Some("no record of this is on the disk");
                }
                unsynced.contents.insert(path.clone());
            }
        }
        if let Some(trouble) = trouble {
            return Some(format!("{name} of {}: {trouble}: {unsynced:?}", path.display()));
        }
    }
    (!unsynced.is_empty()).then(|| format!("at the end this is not on the disk: {unsynced:?}"))
}

/// What a power cut could take.
#[derive(Debug, Default)]
struct Unsynced {
    /// Paths whose content or attributes changed.
    contents: BTreeSet<PathBuf>,
    /// Of these, symlinks: they are as durable as the directory that they are in.
    links: BTreeSet<PathBuf>,
    /// Paths that came or went, as names in their directories.
    names: BTreeSet<PathBuf>,
}

impl Unsynced {
    fn file(&mut self, path: &Path) {
        self.contents.remove(path);
    }

    fn directory(&mut self, path: &Path) {
        self.names.retain(|name| name.parent() != Some(path));
        self.contents.remove(path);
        let (links, contents) = (&mut self.links, &mut self.contents);
        links.retain(|link| link.parent() != Some(path) || !contents.remove(link));
    }

    /// What was removed needs no sync but that of its directory.
    fn gone(&mut self, path: &Path) {
        for set in [&mut self.contents, &mut self.links, &mut self.names] {
            set.retain(|known| !known.starts_with(path));
        }
    }

    /// Whether the content of a path, or anything below it, may not be on the disk.
    fn holds(&self, path: &Path) -> bool {
        let is_in = |name: &PathBuf| name.parent().is_some_and(|directory| directory.starts_with(path));
        self.contents.iter().any(|known| known.starts_with(path)) || self.names.iter().any(is_in)
    }

    /// Whether what undoes something that was staged may not be on the disk: the transaction's journal. What follows
    /// a commit is not needed for that: it has to be there before anything is moved.
    fn holds_plan(&self, records: &Path) -> bool {
        let is_of_plan = |path: &Path| path.ends_with("journal") || path.parent() == Some(records);
        self.contents.iter().chain(&self.names).any(|known| known.starts_with(records) && is_of_plan(known))
    }

    fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.names.is_empty()
    }
}

/// Left out in turn, syncs of every kind are missed, but for those of which nothing depends on one alone.
#[test]
fn a_sync_that_is_left_out_is_found() {
    let mut kinds: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for seed in 0..12 {
        let host = Host::of(seed);
        let (installed, mutations) = fault::traced(|| host.install());
        if installed.is_err() {
            continue;
        }
        assert_eq!(broken(&mutations, &host.world), None);
        for at in (0..mutations.len()).filter(|at| mutations[*at].name.starts_with("sync")) {
            let mut without = mutations.clone();
            let sync = without.remove(at);
            let (found, all) = kinds.entry((sync.name, place(&sync.path, &host.world))).or_default();
            *all += 1;
            *found += usize::from(broken(&without, &host.world).is_some());
        }
    }
    said(&format!("syncs that were found to be missing, of all: {kinds:?}"));
    // The directory of the digests is made at the first install, and nothing relies on it.
    kinds.remove(&("sync directory", "all"));
    assert!(kinds.len() > 8, "{kinds:?}");
    for ((name, place), (found, all)) in kinds {
        assert!(found > 0, "{name} of {place}: none of {all} is missed when it is left out");
    }
}

/// What a path is there for.
fn place(path: &Path, world: &World) -> &'static str {
    let layout = &world.layout;
    let places = [
        (world.path(""), "targets"),
        (layout.manifests(), "manifests"),
        (layout.own().join("groups"), "markers"),
        (layout.instructions(), "files of another agent"),
    ];
    match places.into_iter().find(|(place, _)| path.starts_with(place)) {
        Some((_, name)) => name,
        None if path.ends_with("journal") => "the journal",
        None if path == layout.transactions() => "the transactions",
        None if path.starts_with(layout.transactions()) => "the transaction",
        None => "all",
    }
}
