//! What is done in another way from some number of paths on.

use super::syncs::broken;
use super::world::World;
use crate::disk::fault::{self, Mutation};

/// Directories that change, and files in each: enough for several threads, and for a sync of everything.
const DIRECTORIES: usize = 24;
const FILES: usize = 100;

/// Files of each directory that change.
const CHANGES: usize = 4;

/// The first files of each directory have a content of their own, and the last one is there in the first revision only.
fn lines(version: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for directory in 0..DIRECTORIES {
        lines.extend((0..CHANGES).map(|file| format!("d{directory}/changes{file}={version}")));
        lines.extend((CHANGES..FILES).map(|file| format!("d{directory}/f{file}=same {directory} {file}")));
        lines.extend((version == 1).then(|| format!("d{directory}/goes=away")));
    }
    lines
}

fn install(world: &World, version: usize) -> Vec<Mutation> {
    let lines = lines(version);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (installed, mutations) = fault::traced(|| world.run(&format!("d-{version}"), &lines));
    installed.unwrap();
    mutations
}

#[test]
fn many_directories_are_synced_at_once_and_many_files_are_the_work_of_several_threads() {
    let world = World::new();
    install(&world, 1);
    let kept = world.inode("app/d3/f7");
    let mutations = install(&world, 2);
    assert_eq!(broken(&mutations, &world), None);
    for directory in 0..DIRECTORIES {
        for file in 0..CHANGES {
            assert_eq!(world.read(&format!("app/d{directory}/changes{file}")), "2");
        }
        assert_eq!(world.read(&format!("app/d{directory}/f99")), format!("same {directory} 99"));
        assert!(!world.path(&format!("app/d{directory}/goes")).exists());
    }
    assert_eq!(world.inode("app/d3/f7"), kept);
    let of_targets = |mutation: &&Mutation| mutation.path.starts_with(world.path(""));
    let each = mutations.iter().filter(of_targets).filter(|mutation| mutation.name == "sync directory").count();
    let whole = mutations.iter().filter(|mutation| mutation.name == "sync file system").count();
    // Several threads tell of what they do too.
    let of_each = |name: &str| mutations.iter().filter(of_targets).filter(|mutation| mutation.name == name).count();
    assert_eq!((of_each("create"), of_each("exchange")), (DIRECTORIES * CHANGES, DIRECTORIES * CHANGES));
    assert_eq!(of_each("remove"), DIRECTORIES * (CHANGES + 1));
    // For what was staged, for what was moved, and for what was cleaned up.
    assert_eq!((each, whole), (0, 3));
    world.assert_no_transactions();
}

#[test]
fn a_sync_of_everything_that_fails_puts_everything_back() {
    let world = World::new();
    install(&world, 1);
    let before = world.tree();
    let lines = lines(2);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let clean = World::new();
    install(&clean, 1);
    let (_, seen) = fault::run(None, false, || clean.run("d-2", &lines).unwrap());
    let syncs: Vec<usize> = (0..seen.len()).filter(|at| seen[*at] == "sync file system").collect();
    // After the commit there is nothing to put back.
    for at in syncs.iter().take(2) {
        let (failed, _) = fault::run(Some((*at, nix::libc::EIO)), false, || world.run("d-2", &lines));
        assert!(failed.is_err(), "sync {at}");
        assert_eq!(world.tree(), before, "sync {at}");
        world.assert_no_transactions();
    }
}

/// What several threads do at once fails on any of them: before the commit everything is put back, after it the rest is
/// done later.
#[test]
fn what_fails_on_any_thread_leaves_the_old_state_or_is_finished_later() {
    let (world, lines) = (World::new(), lines(2));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    install(&world, 1);
    let before = world.tree();
    for (name, part) in [
        ("create", "/cleanup"),
        ("write", ".manifest.json."),
        ("sync", ".manifest.json."),
        ("create", "/app/d0/.changes0."),
        ("create", "/app/d23/.changes3."),
        ("append", "/journal"),
        ("exchange", "/app/d23/"),
    ] {
        let failed = fault::failing((name, part, nix::libc::ENOSPC), || world.run("d-2", &lines));
        assert!(failed.is_err(), "{name} of {part}");
        assert_eq!(world.tree(), before, "{name} of {part}");
        world.assert_no_transactions();
    }
    for (name, part) in
        [("sync", "/.slipway/groups/."), ("remove", "/app/d0/.changes0."), ("remove", "/app/d23/.changes3.")]
    {
        let world = World::new();
        install(&world, 1);
        let failed = fault::failing((name, part, nix::libc::EIO), || world.run("d-2", &lines));
        assert!(failed.is_err(), "{name} of {part}");
        world.settle_at_start().unwrap();
        for directory in 0..DIRECTORIES {
            assert_eq!(world.read(&format!("app/d{directory}/changes3")), "2", "{name} of {part}");
            assert!(!world.path(&format!("app/d{directory}/goes")).exists(), "{name} of {part}");
        }
        world.assert_no_transactions();
    }
}
