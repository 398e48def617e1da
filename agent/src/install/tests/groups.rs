//! Paths that several deployment groups name: each belongs to one of them.

use std::path::Path;

use super::world::{World, conflicts, mapping, skipped};
use crate::deployment::FileExistsBehavior::{Disallow, Overwrite, Retain};
use crate::plan::{Conflict, PathOwner};
use crate::store::read_manifest;

fn owns(world: &World, path: &str) -> bool {
    let manifest = read_manifest(&world.layout, &world.group).unwrap().unwrap();
    manifest.entries.iter().any(|owned| owned.path == world.path(path))
}

#[test]
fn another_groups_path_is_a_clash_that_names_group_and_deployment() {
    let mut world = World::new();
    world.group("one").run("d-1", &["file=1", "link->file", "dir/inner=1"]).unwrap();
    let before = world.tree();
    for wanted in ["file=2", "link->other", "dir=2"] {
        let error = world.group("two").run("d-2", &[wanted]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("installed by deployment d-1 of deployment group one"), "{text}");
        let found = conflicts(error);
        match &found[..] {
            [Conflict::Exists { owner: PathOwner::Group(owner), .. }] => assert_eq!(owner.group.as_str(), "one"),
            other => panic!("{wanted}: {other:?}"),
        }
        assert_eq!(world.tree(), before);
    }
}

#[test]
fn what_is_overwritten_changes_hands() {
    let mut world = World::new();
    world.group("one").run("d-1", &["shared=1", "own=1"]).unwrap();
    world.behavior = Overwrite;
    world.group("two").run("d-2", &["shared=2"]).unwrap();
    assert!(owns(&world, "app/shared"));
    // The first group's next revision lacks it, and does not take it away from the second.
    world.behavior = Disallow;
    world.group("one").run("d-3", &["own=1"]).unwrap();
    assert_eq!(world.read("app/shared"), "2");
    assert!(!owns(&world, "app/shared"));
    // If it has it again, it clashes like anybody else.
    let found = conflicts(world.group("one").run("d-4", &["shared=1", "own=1"]).unwrap_err());
    assert!(matches!(&found[..], [Conflict::Exists { owner: PathOwner::Group(_), .. }]), "{found:?}");
    world.group("two").run("d-5", &["other=2"]).unwrap();
    assert!(!world.path("app/shared").exists());
}

/// Both manifests name the path until the first group deploys again: the later install counts.
#[test]
fn what_changed_hands_back_and_forth_belongs_to_the_later() {
    let mut world = World::new();
    world.behavior = Overwrite;
    for (group, deployment) in [("one", "d-1"), ("two", "d-2"), ("one", "d-3"), ("two", "d-4")] {
        world.group(group).run(deployment, &[&format!("shared={deployment}")]).unwrap();
    }
    world.group("one").run("d-5", &["own=1"]).unwrap();
    assert_eq!(world.read("app/shared"), "d-4");
    world.group("two").run("d-6", &["own2=2"]).unwrap();
    assert!(!world.path("app/shared").exists());
}

#[test]
fn what_is_retained_stays_with_its_group() {
    let mut world = World::new();
    world.group("one").run("d-1", &["shared=1"]).unwrap();
    world.behavior = Retain;
    world.group("two").run("d-2", &["shared=2", "own=2"]).unwrap();
    assert_eq!(world.read("app/shared"), "1");
    world.group("two").run("d-3", &["own=2"]).unwrap();
    assert_eq!(world.read("app/shared"), "1");
    world.group("one").run("d-4", &["other=1"]).unwrap();
    assert!(!world.path("app/shared").exists());
}

#[test]
fn removing_a_groups_revision_never_removes_anothers_path() {
    let mut world = World::new();
    world.group("one").run("d-1", &["dir/one=1", "dir/sub/one=1", "alone/one=1"]).unwrap();
    world.group("two").run("d-2", &["dir/two=2", "dir/sub/two=2"]).unwrap();
    // Nothing at all is left of the first group's revision.
    world.group("one").run("d-3", &[]).unwrap();
    let left: Vec<_> = world.tree().into_keys().collect();
    assert_eq!(left, ["app", "app/dir", "app/dir/sub", "app/dir/sub/two", "app/dir/two"].map(Path::new));
    world.group("two").run("d-4", &["dir/two=2"]).unwrap();
    assert!(!world.path("app/dir/sub/two").exists());
    assert_eq!(world.read("app/dir/two"), "2");
}

/// The first group's directory was removed by hand and made again by the second: it is the second's now.
#[test]
fn a_directory_belongs_to_the_group_that_made_it_last() {
    let mut world = World::new();
    world.group("one").run("d-1", &["dir/", "own=1"]).unwrap();
    std::fs::remove_dir(world.path("app/dir")).unwrap();
    world.group("two").run("d-2", &["dir/"]).unwrap();
    assert!(owns(&world, "app/dir"));
    world.group("one").run("d-3", &["own=1"]).unwrap();
    assert!(world.path("app/dir").is_dir());
    world.group("two").run("d-4", &["x=2"]).unwrap();
    assert!(!world.path("app/dir").exists());
}

#[test]
fn a_directory_with_anothers_files_is_not_replaced_even_by_overwrite() {
    let mut world = World::new();
    world.group("one").run("d-1", &["dir/one=1"]).unwrap();
    world.group("two").run("d-2", &["dir/two=2"]).unwrap();
    world.behavior = Overwrite;
    for group in ["one", "two"] {
        let found = conflicts(world.group(group).run("d-3", &["dir=file"]).unwrap_err());
        assert!(matches!(&found[..], [Conflict::ForeignEntries { .. }]), "{found:?}");
    }
    assert_eq!((world.read("app/dir/one"), world.read("app/dir/two")), ("1".into(), "2".into()));
}

#[test]
fn what_a_package_owns_is_said_and_what_nobody_owns_too() {
    let world = World::new();
    if !Path::new("/var/lib/dpkg/info/dpkg.list").exists() {
        skipped("this host has no dpkg");
        return;
    }
    world.put(&["app/file=1"]);
    let revision = world.revision("d-1", &["dpkg=1", "file=1"]);
    let mut appspec = world.appspec();
    appspec.files = vec![mapping("dpkg", Path::new("/usr/bin")), mapping("file", &world.destination)];
    let text = world.plan_spec("d-1", &revision, &appspec).unwrap_err().to_string();
    assert!(text.contains("/usr/bin/dpkg exists already (file; belongs to the package dpkg): remove it"), "{text}");
    assert!(text.contains("app/file exists already (file; nobody is known to own it)"), "{text}");
    for remedy in ["remove it", "OVERWRITE", "RETAIN"] {
        assert_eq!(text.matches(remedy).count(), 2, "{remedy}: {text}");
    }
}
