//! New directories below a set-group-id directory.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use super::world::{World, is_root, permission};
use crate::install::{Additions, audit};
use crate::plan::Change;

fn shared(world: &World, path: &str, mode: u32) {
    chown(world.path(path), Some(1000), Some(2000)).unwrap();
    std::fs::set_permissions(world.path(path), PermissionsExt::from_mode(mode)).unwrap();
}

fn is(world: &World, path: &str, uid: u32, gid: u32, mode: u32) {
    let meta = world.path(path).symlink_metadata().unwrap();
    let found = (meta.uid(), meta.gid(), meta.mode() & 0o7777);
    assert_eq!((found.0, found.1, format!("{:o}", found.2)), (uid, gid, format!("{mode:o}")), "{path}");
}

fn is_settled(world: &World, lines: &[&str]) {
    let drift = audit(&world.layout, &world.group, Additions::Reported).unwrap().unwrap().drift;
    assert_eq!(drift, []);
    let again = world.plan("d-9", lines).unwrap();
    assert!(again.steps.iter().all(|step| step.change == Change::Keep), "{again}");
}

#[test]
fn new_directories_take_group_and_bit_as_mkdir_gives_them() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.put(&["way/"]);
    shared(&world, "way", 0o2775);
    world.destination = world.path("way/new/app");
    let lines = ["a/b/file=1", "a/link->b"];
    world.run("d-1", &lines).unwrap();
    std::fs::create_dir(world.path("way/by-mkdir")).unwrap();
    let by_mkdir = world.path("way/by-mkdir").metadata().unwrap();
    for path in ["way/new", "way/new/app", "way/new/app/a", "way/new/app/a/b"] {
        is(&world, path, by_mkdir.uid(), by_mkdir.gid(), 0o2755);
    }
    is(&world, "way/new/app/a/b/file", 0, 0, 0o644);
    is(&world, "way", 1000, 2000, 0o2775);
    std::fs::remove_dir(world.path("way/by-mkdir")).unwrap();
    is_settled(&world, &lines);
}

#[test]
fn what_an_entry_gives_goes_before_what_the_parent_hands_on() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.put(&["app/"]);
    shared(&world, "app", 0o2775);
    let mut owned = permission(&world.path("app/owned"), "**", "0");
    (owned.mode, owned.owner) = (None, Some("3000".to_owned()));
    let mut grouped = permission(&world.path("app/grouped"), "**", "0");
    (grouped.mode, grouped.group) = (None, Some("4000".to_owned()));
    let closed = permission(&world.path("app/closed"), "**", "0750");
    world.permissions = vec![owned, grouped, closed];
    let lines = ["owned/a/b/", "grouped/a/b/", "closed/a/b/"];
    world.run("d-1", &lines).unwrap();
    is(&world, "app/owned", 0, 2000, 0o2755);
    is(&world, "app/owned/a/b", 3000, 2000, 0o2755);
    is(&world, "app/grouped/a/b", 0, 4000, 0o2755);
    // Without the bit nothing is handed on.
    is(&world, "app/closed/a", 0, 2000, 0o750);
    is(&world, "app/closed/a/b", 0, 0, 0o750);
    is_settled(&world, &lines);
}

#[test]
fn a_directory_of_the_group_follows_its_parent_unless_somebody_changed_it() {
    if !is_root() {
        return;
    }
    let world = World::new();
    world.put(&["app/"]);
    let lines = ["ours/", "theirs/"];
    world.run("d-1", &lines).unwrap();
    is(&world, "app/ours", 0, 0, 0o755);
    std::fs::set_permissions(world.path("app/theirs"), PermissionsExt::from_mode(0o700)).unwrap();
    chown(world.path("app/theirs"), None, Some(7)).unwrap();
    shared(&world, "app", 0o2775);
    world.run("d-2", &lines).unwrap();
    is(&world, "app/ours", 0, 2000, 0o2755);
    is(&world, "app/theirs", 0, 7, 0o700);
    std::fs::set_permissions(world.path("app"), PermissionsExt::from_mode(0o755)).unwrap();
    world.run("d-3", &lines).unwrap();
    is(&world, "app/ours", 0, 0, 0o755);
    let again = world.plan("d-4", &lines).unwrap();
    assert!(again.steps.iter().all(|step| step.change == Change::Keep), "{again}");
}
