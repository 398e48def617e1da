//! Every mutation of an install fails, or is the last one before the process dies; then the same in
//! the recovery. Old or new, whole, with nothing left over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::world::{World, id, listed};
use crate::appspec::PermissionTarget;
use crate::disk::fault;
use crate::install::{Aftermath, Ending, InstallError, Installed};
use crate::store::digests::all_just_changed;
use crate::store::{read_manifest, read_markers};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What stands in for calls that old kernels and some file systems lack.
const FALLBACKS: [&[&str]; 3] =
    [&[], &["exchange"], &["openat2", "exchange", "noreplace", "syncfs", "clone", "copy_file_range"]];

const OLD: [&str; 11] = [
    "same=s",
    "touched=t",
    "changed=one",
    "gone=g",
    "link->changed",
    "vanishing/deep/file=v",
    "becomes-dir=f",
    "becomes-link/a=1",
    "becomes-link/b/c=2",
    "closed/file=c",
    "link-becomes-file->same",
];

const NEW: [&str; 11] = [
    "same=s",
    "touched=t",
    "changed=two",
    "link->same",
    "appearing/deep/file=a",
    "appearing/other=o",
    "becomes-dir/inner=f",
    "becomes-link->same",
    "closed/file=c",
    "link-becomes-file=l",
    "new=n",
];

type Tree = BTreeMap<PathBuf, String>;

/// A host with the old revision and somebody else's files.
fn old_host() -> World {
    let world = World::new();
    world.put(&["app/foreign=f", "app/vanishing/kept=k", "beside=b"]);
    let mut closed = listed(&world.path("app"), "closed", "0750", &["u:1234:rwx", "m::rwx", "d:u:1234:r"]);
    closed.target = PermissionTarget::Directories;
    let mut world = world;
    world.permissions = vec![closed];
    all_just_changed::play(|| world.run("d-1", &OLD)).unwrap();
    world
}

fn install_new(world: &mut World) -> Result<Installed, InstallError> {
    let mut closed = listed(&world.path("app"), "closed", "0700", &["g:4321:rx", "u:1234:r", "m::rx", "d:g::rx"]);
    closed.target = PermissionTarget::Directories;
    let mut new = listed(&world.path("app/appearing"), "**", "0640", &["u:1234:r"]);
    new.target = PermissionTarget::Files;
    world.permissions = vec![closed, new];
    let revision = world.revision("d-2", &NEW);
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(3_000_000);
    std::fs::File::open(revision.root().join("touched")).unwrap().set_modified(later).unwrap();
    all_just_changed::play(|| world.run_spec("d-2", &revision, &world.appspec()))
}

/// Installs the new revision in a process that dies at a mutation. At the very last one nothing is left
/// to do, and the install has succeeded.
fn install_new_and_die(world: &mut World, at: usize) -> fault::Seen {
    let (result, seen) = fault::run(Some((at, EIO)), true, || install_new(world));
    assert!(result.is_err() || world.has_no_transactions(), "{seen:?}");
    seen
}

struct Reference {
    old: Tree,
    new: Tree,
    /// How many mutations the install makes.
    mutations: usize,
}

fn reference() -> Reference {
    let mut world = old_host();
    let old = world.tree();
    let (result, seen) = fault::run(None, false, || install_new(&mut world));
    result.unwrap();
    let new = world.tree();
    assert_ne!(old, new);
    assert!(seen.len() > 80, "{}", seen.len());
    for kind in [
        "create",
        "make directory",
        "make symlink",
        "write",
        "sync",
        "sync file system",
        "append",
        "remove",
        "set access control list",
    ] {
        assert!(seen.contains(&kind), "{kind}: {seen:?}");
    }
    Reference { old, new, mutations: seen.len() }
}

/// Which revision is there, whole: on the disk, in the manifest and in the markers.
fn whole(world: &World, reference: &Reference, context: &str) -> &'static str {
    world.assert_no_transactions();
    let tree = world.tree();
    let (name, deployment) = if tree == reference.old { ("old", "d-1") } else { ("new", "d-2") };
    if name == "new" {
        assert_eq!(tree, reference.new, "{context}");
    }
    let manifest = read_manifest(&world.layout, &world.group).unwrap().unwrap();
    assert_eq!(manifest.deployment, id(deployment), "{context}");
    let markers = read_markers(&world.layout, &world.group).unwrap();
    assert_eq!(markers.last_successful.unwrap().deployment, id(deployment), "{context}");
    let path = std::fs::read_to_string(world.layout.last_successful_file(&world.group)).unwrap();
    assert!(path.ends_with(deployment), "{context}");
    name
}

fn is_committed(world: &World) -> bool {
    let mut transactions = std::fs::read_dir(world.layout.transactions()).unwrap();
    let Some(transaction) = transactions.next() else {
        return read_manifest(&world.layout, &world.group).unwrap().unwrap().deployment == id("d-2");
    };
    match std::fs::read_to_string(transaction.unwrap().path().join("journal")) {
        Ok(journal) => journal.contains("{\"what\":\"commit\"}"),
        // The journal goes first when a transaction is forgotten.
        Err(_) => read_manifest(&world.layout, &world.group).unwrap().unwrap().deployment == id("d-2"),
    }
}

/// Each alone, so that none is hidden by another, and with what shows that it was taken.
#[test]
fn each_fallback_alone_installs_the_same() {
    let reference = reference();
    let count = |seen: &[&str], call: &str| seen.iter().filter(|one| **one == call).count();
    let mut ordinary = Vec::new();
    for lacking in [&[][..], &["openat2"], &["exchange"], &["noreplace"], &["syncfs"], &["clone"], &["copy_file_range"]]
    {
        fault::without(lacking, || {
            let mut world = old_host();
            let (result, seen) = fault::run(None, false, || install_new(&mut world));
            result.unwrap();
            assert_eq!(whole(&world, &reference, &format!("without {lacking:?}")), "new");
            let [exchanges, links, syncs] = ["exchange", "link", "sync"].map(|call| count(&seen, call));
            match lacking {
                [] => {
                    assert!(exchanges > 3 && links == 0, "{seen:?}");
                    ordinary = seen;
                }
                ["exchange"] => assert!(exchanges == 0 && links > 1, "{seen:?}"),
                ["noreplace"] => assert!(links > 1, "{seen:?}"),
                ["syncfs"] => assert!(syncs > count(&ordinary, "sync") + 5, "{seen:?}"),
                // What stands in for these changes nothing that can be counted here.
                _ => assert_eq!(seen, ordinary),
            }
        });
    }
}

#[test]
fn an_error_at_any_mutation_is_undone_or_the_install_is_done() {
    for fallbacks in FALLBACKS {
        fault::without(fallbacks, || {
            let reference = reference();
            let mut ends = BTreeMap::new();
            for at in 0..reference.mutations {
                for errno in [ENOSPC, EIO] {
                    let mut world = old_host();
                    let (result, seen) = fault::run(Some((at, errno)), false, || install_new(&mut world));
                    let context = format!("{} of {at}: errno {errno}", seen[at]);
                    let end = whole(&world, &reference, &context);
                    match result {
                        Ok(_) => assert_eq!(end, "new", "{context}"),
                        Err(error) => {
                            assert_eq!(end, "old", "{context}: {error}");
                            assert!(!matches!(error.aftermath, Aftermath::Unsettled(_)), "{context}: {error}");
                            assert!(error.to_string().contains(&format!("os error {errno}")), "{context}: {error}");
                        }
                    }
                    *ends.entry(end).or_insert(0) += 1;
                    install_new(&mut world).unwrap();
                    assert_eq!(whole(&world, &reference, &context), "new");
                }
            }
            println!("{} mutations, without {fallbacks:?}: {ends:?}", reference.mutations);
            assert!(ends["old"] > ends["new"]);
        });
    }
}

#[test]
fn a_death_at_any_mutation_leaves_old_or_new_after_settling() {
    for fallbacks in FALLBACKS {
        fault::without(fallbacks, || {
            let reference = reference();
            let mut ends = BTreeMap::new();
            for at in 0..reference.mutations {
                let mut world = old_host();
                let seen = install_new_and_die(&mut world, at);
                let context = format!("dead at {:?} of {at}", seen.get(at));
                let committed = is_committed(&world);
                world.settle().unwrap();
                let end = whole(&world, &reference, &context);
                assert_eq!(end == "new", committed, "{context}");
                let (again, seen) = fault::run(None, false, || world.settle());
                assert!(again.unwrap().is_empty() && seen.is_empty(), "{context}");
                *ends.entry(end).or_insert(0) += 1;
            }
            println!("{} mutations, without {fallbacks:?}: {ends:?}", reference.mutations);
            assert!(ends["old"] > 20 && ends["new"] > 5, "{ends:?}");
        });
    }
}

/// Dies in the install, in the recovery from that, and in the recovery from that one.
#[test]
fn deaths_in_the_recovery_change_nothing() {
    let reference = reference();
    let (mut deaths, mut deepest) = (0, 0);
    for at in 0..reference.mutations {
        // One world is killed again and again: each recovery gets one mutation further than the last.
        let mut world = old_host();
        install_new_and_die(&mut world, at);
        let committed = is_committed(&world);
        let mut second = 0;
        loop {
            let (result, _) = fault::run(Some((second, EIO)), true, || world.settle());
            deaths += 1;
            if result.is_ok() {
                break;
            }
            second += 1;
            assert!(second < 1000, "it never ends");
        }
        deepest = deepest.max(second);
        let end = whole(&world, &reference, &format!("dead at {at} and {second} times after it"));
        assert_eq!(end == "new", committed);
    }
    println!("{} deaths, up to {deepest} in a row", deaths);
    assert!(deaths > 300 && deepest > 5, "{deaths} {deepest}");
}

/// Each recovery is cut off at one mutation only, from a fresh start: not the same as dying ever later.
#[test]
fn a_death_at_each_mutation_of_each_recovery() {
    let reference = reference();
    let mut pairs = 0;
    for at in (0..reference.mutations).step_by(5) {
        for second in 0.. {
            let mut world = old_host();
            install_new_and_die(&mut world, at);
            let (result, _) = fault::run(Some((second, EIO)), true, || world.settle());
            let over = result.is_ok();
            world.settle().unwrap();
            whole(&world, &reference, &format!("dead at {at}, then at {second}"));
            pairs += 1;
            if over {
                break;
            }
        }
    }
    println!("{pairs} pairs");
    assert!(pairs > 150, "{pairs}");
}

/// Without exchange and without renames that never replace, a file has two names for a moment: also where
/// the recovery puts it back, and is cut off in that moment.
#[test]
fn a_recovery_that_ended_between_two_names_is_gone_on_with() {
    let old_host = || {
        let world = World::new();
        all_just_changed::play(|| world.run("d-1", &["file=one", "link->file", "dir/inner=1"])).unwrap();
        world
    };
    let install_new = |world: &World| world.run("d-2", &["file=two", "link->dir", "dir=2"]);
    fault::without(FALLBACKS[1], || {
        let world = old_host();
        let old = world.tree();
        let (installed, seen) = fault::run(None, false, || install_new(&world));
        installed.unwrap();
        let new = world.tree();
        let mut pairs = 0;
        for at in 0..seen.len() {
            for second in 0.. {
                let world = old_host();
                let _ = fault::run(Some((at, EIO)), true, || install_new(&world));
                let (recovered, _) = fault::run(Some((second, EIO)), true, || world.settle());
                let context = format!("dead at {at}, then at {second}");
                world.settle().unwrap_or_else(|error| panic!("{context}: {error}"));
                world.assert_no_transactions();
                let tree = world.tree();
                assert!(tree == old || tree == new, "{context}: {tree:?}");
                pairs += 1;
                if recovered.is_ok() {
                    break;
                }
            }
        }
        println!("{pairs} pairs");
        assert!(pairs > 300, "{pairs}");
    });
}

#[test]
fn what_somebody_else_changed_is_left_and_reported() {
    let reference = reference();
    for at in (0..reference.mutations).rev() {
        let mut world = old_host();
        install_new_and_die(&mut world, at);
        if is_committed(&world) || world.read("app/changed") != "two" {
            continue;
        }
        // The targets have their new state, and there is no commit yet.
        std::fs::remove_file(world.path("app/changed")).unwrap();
        std::fs::write(world.path("app/changed"), "theirs").unwrap();
        std::fs::write(world.path("app/appearing/theirs"), "t").unwrap();
        let settled = world.settle().unwrap();
        assert_eq!(settled[0].ending, Ending::RolledBack);
        let paths: Vec<_> = settled[0].drift.iter().map(|drift| drift.path.clone()).collect();
        assert_eq!(paths.len(), 2, "{paths:?}");
        assert!(paths.contains(&world.path("app/changed")) && paths.contains(&world.path("app/appearing")));
        assert_eq!((world.read("app/changed"), world.read("app/appearing/theirs")), ("theirs".into(), "t".into()));
        assert!(!world.path("app/appearing/other").exists());
        assert_eq!(world.read("app/gone"), "g");
        world.assert_no_transactions();
        return;
    }
    panic!("no moment was found between the moves and the commit");
}

#[test]
fn a_damaged_journal_stops_everything_and_nothing_is_touched() {
    let mut world = old_host();
    let mutations = reference().mutations;
    for at in (0..mutations).rev() {
        install_new_and_die(&mut world, at);
        if !is_committed(&world) {
            break;
        }
        world.settle().unwrap();
        world = old_host();
    }
    let transaction = std::fs::read_dir(world.layout.transactions()).unwrap().next().unwrap().unwrap().path();
    let journal = transaction.join("journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();
    let before = world.tree();
    let error = world.settle().unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains(journal.to_str().unwrap()), "{error}");
    let error = install_new(&mut world).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(world.tree(), before);
    assert_eq!(std::fs::read(&journal).unwrap(), bytes);
}

/// The frames cannot show that the end is gone; what it led to does.
#[test]
fn a_journal_that_lost_its_end_is_refused_and_nothing_is_touched() {
    let mut refused = 0;
    for at in (0..reference().mutations).step_by(3) {
        let mut world = old_host();
        install_new_and_die(&mut world, at);
        if is_committed(&world) || world.read("app/changed") != "two" {
            continue;
        }
        let transaction = std::fs::read_dir(world.layout.transactions()).unwrap().next().unwrap().unwrap().path();
        let journal = transaction.join("journal");
        let bytes = std::fs::read(&journal).unwrap();
        let before = world.tree();
        let prepared = bytes.windows(10).rposition(|window| window == b"\"prepared\"").unwrap();
        for end in [0, 40, bytes.len() / 2, prepared] {
            std::fs::write(&journal, &bytes[..end]).unwrap();
            let error = world.settle().unwrap_err().to_string();
            assert!(error.contains("lost its end") && error.contains(journal.to_str().unwrap()), "{error}");
            assert_eq!(world.tree(), before);
            refused += 1;
        }
        std::fs::write(&journal, &bytes).unwrap();
        assert_eq!(world.settle().unwrap()[0].ending, Ending::RolledBack);
    }
    assert!(refused > 8, "{refused}");
}

/// Nothing is moved before what is moved, and the journal that tells of it, are on the disk; nothing is
/// committed before the moves are; nothing is deleted before the commit is.
#[test]
fn syncs_come_before_what_relies_on_them() {
    let mut world = old_host();
    let (result, seen) = fault::run(None, false, || install_new(&mut world));
    result.unwrap();
    let first = |from: usize, names: &[&str]| {
        from + seen[from..]
            .iter()
            .position(|call| names.contains(call))
            .unwrap_or_else(|| panic!("{names:?}: {seen:?}"))
    };
    let begun = first(0, &["append"]);
    let planned = first(begun, &["sync"]);
    let staging = first(planned, &["make directory", "make symlink", "create"]);
    assert!(begun < planned && !seen[..planned].contains(&"exchange"));
    let staged = first(staging, &["sync file system"]);
    let prepared = first(first(staged, &["append"]), &["sync"]);
    let moves = first(0, &["exchange"]);
    assert!(staged < prepared && prepared < moves, "{seen:?}");
    let last_move =
        seen.iter().rposition(|call| ["exchange", "set mode", "set access control list"].contains(call)).unwrap();
    let durable = first(last_move, &["sync directory"]);
    let committed = first(last_move, &["append"]);
    assert!(last_move < durable && durable < committed, "{seen:?}");
    assert_eq!(seen[committed + 1], "sync");
    assert!(!seen[staged..=committed].contains(&"remove"), "{seen:?}");
    let done = seen.iter().rposition(|call| *call == "append").unwrap();
    let deleted = seen[..done].iter().rposition(|call| *call == "remove").unwrap();
    assert!(committed + 1 < deleted && seen[deleted..done].contains(&"sync directory"), "{seen:?}");
}
