//! Installs that cannot be settled: what they hold back, and how they are given up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::libc::{EINVAL, EIO, ENOSYS, EOPNOTSUPP};

use super::world::{World, conflicts, id};
use crate::disk::fault;
use crate::ids::TransactionId;
use crate::install::{self, AbandonError, Abandonment, Cause, Ending, Settled};
use crate::plan::Conflict;
use crate::store::read_manifest;

const OLD: &[&str] = &["file=1", "gone=1", "same=s", "sub/inner=1"];
const NEW: &[&str] = &["file=2", "new=2", "same=s", "sub/inner=2", "tree/deep/leaf=2"];
const NEXT: &[&str] = &["file=3", "new=3", "same=s", "tree/deep=3"];

/// A host with a revision of group `one`.
fn host() -> World {
    let mut world = World::new();
    world.group("one").run("d-1", OLD).unwrap();
    world
}

/// One whose next install died before that mutation.
fn dead_at(at: usize) -> World {
    let world = host();
    let (result, _) = fault::run(Some((at, EIO)), true, || world.run("d-2", NEW));
    drop(result);
    world
}

/// The mutations of the next install.
fn mutations() -> Vec<fault::Mutation> {
    let world = host();
    let (installed, mutations) = fault::traced(|| world.run("d-2", NEW));
    installed.unwrap();
    mutations
}

/// The mutation after the first one that puts a file of that name in its place.
fn after_move_of(name: &str) -> usize {
    let moves = |mutation: &fault::Mutation| mutation.from.is_some() && mutation.path.ends_with(name);
    mutations().iter().position(moves).expect("the target moves") + 1
}

/// The destination's directories cannot be synced.
fn stuck<T>(work: impl FnOnce() -> T) -> T {
    fault::failing(("sync directory", "/target/app", EIO), work)
}

/// What was moved to a file's place does not go back.
fn stuck_at_file<T>(work: impl FnOnce() -> T) -> T {
    fault::failing(("exchange", "/target/app/file", EIO), work)
}

fn transaction(world: &World) -> TransactionId {
    let mut left = std::fs::read_dir(world.layout.transactions()).unwrap();
    let name = left.next().expect("a transaction is left").unwrap().file_name();
    TransactionId::parse(name.to_str().unwrap()).unwrap()
}

fn the_one(mut settled: Vec<Settled>) -> Settled {
    assert_eq!(settled.len(), 1, "{settled:?}");
    settled.remove(0)
}

fn abandon(world: &World) -> Abandonment {
    install::abandon(&world.layout, &transaction(world)).unwrap()
}

/// Removes what is kept of an install that was given up, as somebody does who has looked at it.
fn remove_kept(world: &World, id: &TransactionId) {
    let mut ahead = vec![world.temp.path().join("target")];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_own = path.file_name().unwrap().to_string_lossy().contains(&format!(".{id}."));
            match (is_own, path.is_dir()) {
                (true, true) => std::fs::remove_dir_all(path).unwrap(),
                (true, false) => std::fs::remove_file(path).unwrap(),
                (false, true) => ahead.push(path),
                (false, false) => {}
            }
        }
    }
}

/// A host on which only the next revision was ever installed over the first.
fn clean_next() -> BTreeMap<PathBuf, String> {
    let world = host();
    world.run("d-3", NEXT).unwrap();
    world.tree()
}

#[test]
fn only_the_group_and_the_paths_concerned_are_held_back() {
    let mut world = dead_at(after_move_of("file"));
    let id = transaction(&world);
    let left = stuck_at_file(|| the_one(install::settle(&world.layout).unwrap()));
    assert!(matches!(left.ending, Ending::Failed { .. }) && left.holds_back(&world.group), "{left:?}");
    let command = format!("slipway-agent recover --abandon {id}");
    let file = world.path("app/file").display().to_string();
    for part in ["d-2", "group one", id.as_str(), &file, &command, "os error 5"] {
        assert!(left.to_string().contains(part), "{part} is missing in {left}");
    }
    // It is on record, with the reason, for whoever looks.
    let known = install::unsettled(&world.layout).unwrap();
    assert_eq!((known.len(), known[0].group.as_ref()), (1, Some(&world.group)));
    assert!(known[0].why.as_ref().unwrap().contains("os error 5"), "{known:?}");
    assert!(known[0].to_string().contains(&command), "{known:?}");

    stuck_at_file(|| {
        let refused = world.run("d-3", NEXT).unwrap_err();
        assert!(matches!(refused.cause, Cause::HeldBack(_)), "{refused}");
        assert!(refused.to_string().contains(&command), "{refused}");
        // Another group goes on beside it, in the same directory too, and not on its paths.
        world.group("two").destination = world.path("other");
        world.run("d-4", &["file=4"]).unwrap();
        world.destination = world.path("app");
        world.run("d-5", &["of-two=5"]).unwrap();
    });
    for (destination, lines) in [("app", &["file=6"][..]), ("app/tree", &["x=6"])] {
        world.destination = world.path(destination);
        world.group("three");
        let refused = stuck_at_file(|| world.run("d-6", lines)).unwrap_err();
        assert!(matches!(refused.cause, Cause::HeldBack(_)), "{destination}: {refused}");
        for part in [id.as_str(), "group one", destination, &command] {
            assert!(refused.to_string().contains(part), "{destination}: {part} is missing in {refused}");
        }
    }
    // What kept it from being settled is over: the next deployment, of whatever group, settles it.
    world.destination = world.path("elsewhere");
    let installed = world.run("d-7", &["file=7"]).unwrap();
    assert_eq!(the_one(installed.settled).ending, Ending::RolledBack);
    assert_eq!(world.read("app/file"), "1");
    assert!(install::unsettled(&world.layout).unwrap().is_empty());
}

#[test]
fn a_damaged_journal_holds_back_its_group_alone() {
    for damaged in [30, 400] {
        let mut world = dead_at(after_move_of("file"));
        let id = transaction(&world);
        let journal = world.layout.journal(&id);
        let mut bytes = std::fs::read(&journal).unwrap();
        bytes[damaged] ^= 1;
        std::fs::write(&journal, &bytes).unwrap();
        let left = the_one(install::settle(&world.layout).unwrap());
        assert!(left.holds_back(&world.group), "{damaged}: {left}");
        assert!(left.to_string().contains("damaged"), "{left}");
        assert!(matches!(world.run("d-3", NEXT).unwrap_err().cause, Cause::HeldBack(_)));
        world.group("two").destination = world.path("other");
        world.run("d-4", &["file=4"]).unwrap();
        // What is beside its targets tells of those that the journal no longer tells.
        world.destination = world.path("app");
        assert!(matches!(world.run("d-5", &["file=5"]).unwrap_err().cause, Cause::HeldBack(_)));
        world.group("one");
        let left = abandon(&world);
        // The old state was not thrown away on the word of a journal that cannot be trusted.
        let kept: Vec<String> =
            left.kept.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
        assert!(kept.contains(&"1".to_owned()), "{left:?}");
        remove_kept(&world, &id);
        world.run("d-6", NEXT).unwrap();
        let mut tree = world.tree();
        tree.retain(|path, _| path.starts_with("app"));
        assert_eq!(tree, clean_next());
    }
}

#[test]
fn an_install_is_given_up_from_wherever_it_was_cut_off() {
    let next = clean_next();
    let (mut given_up, mut neither) = (0, 0);
    for at in 0..mutations().len() {
        let world = dead_at(at);
        if world.has_no_transactions() {
            continue;
        }
        let id = transaction(&world);
        let before = world.tree();
        let left = abandon(&world);
        world.assert_no_transactions();
        assert!(left.record.is_dir(), "{left:?}");
        given_up += 1;
        neither += left.neither.len();
        // No path was changed but for what the transaction had beside its targets.
        let suffix = format!(".{id}.");
        let targets = |tree: &BTreeMap<PathBuf, String>| {
            let own = |path: &Path| path.components().any(|part| part.as_os_str().to_string_lossy().contains(&suffix));
            tree.iter().filter(|(path, _)| !own(path)).map(|(path, state)| (path.clone(), state.clone())).collect()
        };
        let (was, is): (Vec<_>, Vec<_>) = (targets(&before), targets(&world.tree()));
        assert_eq!(was, is, "before {at}: {left:?}");
        // What was installed is the group's: its next deployment finds nothing of somebody else's.
        let own = |path: &PathBuf| path.display().to_string().contains(&suffix);
        let litter: Vec<PathBuf> = world.tree().into_keys().filter(own).collect();
        assert_eq!(litter.len(), left.kept.len(), "before {at}: {litter:?}, {left:?}");
        remove_kept(&world, &id);
        world.run("d-3", NEXT).unwrap_or_else(|error| panic!("before {at}: {error}, {left:?}"));
        assert_eq!(world.tree(), next, "before {at}: {left:?}");
        assert!(matches!(install::abandon(&world.layout, &id), Err(AbandonError::Done { .. })));
    }
    assert!(given_up > 20 && neither == 0, "{given_up} given up, {neither} paths neither old nor new");
}

#[test]
fn giving_up_is_finished_by_whoever_comes_next() {
    let next = clean_next();
    // Before the commit, and after it.
    for first in [after_move_of("file"), after_move_of("tree"), after_move_of("one.json")] {
        let count = {
            let world = dead_at(first);
            fault::run(None, false, || abandon(&world)).1.len()
        };
        for at in 0..count {
            let world = dead_at(first);
            let id = transaction(&world);
            let (result, _) = fault::run(Some((at, EIO)), true, || install::abandon(&world.layout, &id));
            drop(result);
            let is_decided = world.layout.abandonment(&id).exists();
            if world.has_no_transactions() {
                world.run("d-3", NEXT).unwrap();
                continue;
            }
            let settled = stuck(|| the_one(install::settle(&world.layout).unwrap()));
            assert_eq!(matches!(settled.ending, Ending::Abandoned { .. }), is_decided, "{at}: {settled:?}");
            if settled.is_unsettled() {
                abandon(&world);
            }
            remove_kept(&world, &id);
            world.run("d-3", NEXT).unwrap_or_else(|error| panic!("{first}, {at}: {error}"));
            assert_eq!(world.tree(), next, "{first}, {at}");
        }
    }
}

#[test]
fn what_is_neither_old_nor_new_is_named() {
    let world = dead_at(after_move_of("file"));
    std::fs::remove_file(world.path("app/file")).unwrap();
    let left = stuck(|| install::look_before_abandoning(&world.layout, &transaction(&world)));
    // It was put back as far as that went; what was removed is told.
    let left = match left {
        Ok(left) => left,
        Err(error) => panic!("{error}"),
    };
    assert!(left.old > 0, "{left:?}");
    std::fs::write(world.path("app/gone"), "mine").unwrap();
    std::fs::remove_file(world.path("app/gone")).unwrap();
    std::fs::write(world.path("app/gone"), "mine").unwrap();
    let left = abandon(&world);
    let gone = left.neither.iter().find(|one| one.path == world.path("app/gone")).expect("it is named");
    assert!(gone.found.contains("4 bytes"), "{gone}");
}

#[test]
fn nothing_is_given_up_that_can_be_settled() {
    let world = dead_at(after_move_of("file"));
    let id = transaction(&world);
    match install::look_before_abandoning(&world.layout, &id) {
        Err(AbandonError::Settled(settled)) => assert_eq!(settled.ending, Ending::RolledBack),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.read("app/file"), "1");
    match install::abandon(&world.layout, &id) {
        Err(AbandonError::Unknown { transaction, known }) => assert_eq!((transaction, known.len()), (id, 0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_so_many_journals_of_the_past_are_kept() {
    let at = after_move_of("file");
    let world = host();
    for n in 0..13 {
        let (result, _) = fault::run(Some((at, EIO)), true, || world.run(&format!("d-1{n}"), NEW));
        drop(result);
        if !world.has_no_transactions() {
            abandon(&world);
        }
        world.run(&format!("d-2{n}"), OLD).unwrap();
    }
    let kept = std::fs::read_dir(world.layout.abandoned()).unwrap().count();
    assert_eq!(kept, 10);
}

#[test]
fn the_group_owns_what_an_install_had_put_in_place() {
    let world = dead_at(after_move_of("new"));
    abandon(&world);
    let manifest = read_manifest(&world.layout, &world.group).unwrap().unwrap();
    assert_eq!(manifest.deployment, id("d-1"));
    let owned: Vec<&Path> = manifest.entries.iter().map(|owned| owned.path.as_path()).collect();
    assert!(owned.contains(&world.path("app/new").as_path()), "{owned:?}");
    // In words of AWS's agent too.
    let cleanup = std::fs::read_to_string(world.layout.cleanup_file(&world.group)).unwrap();
    assert_eq!(cleanup.lines().count(), owned.len());
    assert!(cleanup.contains(world.path("app/new").to_str().unwrap()));
}

#[test]
fn the_first_install_of_a_group_is_given_up_too() {
    let mut world = World::new();
    world.group("one");
    let (installed, seen) = fault::run(None, false, || world.run("d-1", OLD));
    installed.unwrap();
    let commit = seen.iter().rposition(|name| *name == "append").unwrap();
    for at in 0..commit {
        let mut world = World::new();
        world.group("one");
        let (result, _) = fault::run(Some((at, EIO)), true, || world.run("d-1", OLD));
        drop(result);
        if !world.has_no_transactions() {
            abandon(&world);
        }
        world.run("d-2", NEXT).unwrap_or_else(|error| panic!("before {at}: {error}"));
    }
}

#[test]
fn a_file_system_that_syncs_no_directories_is_installed_to() {
    for errno in [EINVAL, ENOSYS, EOPNOTSUPP] {
        let world = host();
        let unsynced = ("sync directory", "/target/", errno);
        fault::failing(unsynced, || world.run("d-2", NEW)).unwrap_or_else(|error| panic!("{errno}: {error}"));
        assert_eq!(world.read("app/file"), "2");
        world.assert_no_transactions();
        let world = dead_at(after_move_of("file"));
        let settled = fault::failing(unsynced, || world.settle_at_start()).unwrap();
        assert_eq!(the_one(settled).ending, Ending::RolledBack);
    }
    let world = host();
    stuck(|| world.run("d-2", NEW)).unwrap_err();
}

#[test]
fn the_kernels_own_file_systems_are_refused_in_planning() {
    for (destination, kind) in [("/proc/slipway", "proc"), ("/proc/self", "proc"), ("/sys/kernel", "sysfs")] {
        let mut world = World::new();
        world.destination = destination.into();
        let found = conflicts(world.plan("d-1", &["file=1"]).unwrap_err());
        assert!(
            matches!(&found[..], [Conflict::Unchangeable { reason, .. }] if reason.contains(kind)),
            "{destination}: {found:?}"
        );
        let refused = world.run("d-1", &["file=1"]).unwrap_err();
        assert!(refused.to_string().contains("nothing was changed"), "{refused}");
        world.assert_no_transactions();
    }
}
