//! Symlinks through which a group installs, and which people and scripts change between two installs.

use std::os::unix::fs::{lchown, symlink};
use std::path::Path;

use super::world::{World, conflicts, is_root, mapping};
use crate::deployment::FileExistsBehavior::Overwrite;
use crate::install::{Additions, Difference, audit};
use crate::plan::{Change, Conflict};
use crate::store::read_manifest;

/// A host whose destination is a link `current` to one of several releases, as deployments make them.
fn releases() -> World {
    let mut world = World::new();
    world.destination = world.path("current");
    world
}

/// What a script does before an install.
fn release(world: &World, name: &str) {
    std::fs::create_dir_all(world.path(&format!("releases/{name}"))).unwrap();
    point(world, &format!("releases/{name}"));
}

fn point(world: &World, target: &str) {
    let _ = std::fs::remove_file(world.path("current"));
    symlink(target, world.path("current")).unwrap();
}

fn drift(world: &World) -> Vec<(String, Vec<Difference>)> {
    let audit = audit(&world.layout, &world.group, Additions::Reported).unwrap().unwrap();
    let shown = |path: &Path| path.strip_prefix(world.path("")).unwrap().display().to_string();
    audit.drift.into_iter().map(|drifted| (shown(&drifted.path), drifted.differences)).collect()
}

fn names(world: &World) -> Vec<String> {
    world.tree().into_keys().map(|path| path.display().to_string()).collect()
}

#[test]
fn what_was_installed_through_a_link_that_leads_elsewhere_stays() {
    let world = releases();
    release(&world, "1");
    world.run("d-1", &["file=1", "gone/inner=1"]).unwrap();
    let first = super::world::tree(&world.path("releases/1"));
    release(&world, "2");
    world.run("d-2", &["file=2"]).unwrap();
    assert_eq!(super::world::tree(&world.path("releases/1")), first);
    assert_eq!(world.read("current/file"), "2");
    assert_eq!(drift(&world), []);
    // The same link again: what the revision lacks is removed where the link leads.
    world.run("d-3", &["other=3"]).unwrap();
    let expected = ["current", "releases", "releases/1", "releases/1/file", "releases/1/gone", "releases/1/gone/inner"];
    assert_eq!(names(&world)[..6], expected);
    assert_eq!(names(&world)[6..], ["releases/2", "releases/2/other"]);
    // A link that is gone takes nothing with it either.
    std::fs::remove_file(world.path("current")).unwrap();
    world.run("d-4", &["file=4"]).unwrap();
    assert_eq!(
        names(&world),
        [&["current", "current/file"], &expected[1..], &["releases/2", "releases/2/other"]].concat()
    );
}

#[test]
fn a_link_that_leads_back_leads_to_what_the_group_installed() {
    let world = releases();
    release(&world, "1");
    world.run("d-1", &["file=1", "only-first=1", "dir/inner=1"]).unwrap();
    let first = world.tree();
    release(&world, "2");
    world.run("d-2", &["file=2"]).unwrap();
    point(&world, "releases/1");
    assert_eq!(
        drift(&world),
        [(
            "current".to_owned(),
            vec![Difference::Target { was: world.path("releases/2"), is: world.path("releases/1") }]
        )]
    );
    let plan = world.plan("d-3", &["file=1", "only-first=1", "dir/inner=1"]).unwrap();
    assert!(plan.steps.iter().all(|step| step.change == Change::Keep), "{plan}");
    world.run("d-3", &["file=1", "only-first=1", "dir/inner=1"]).unwrap();
    assert_eq!(world.read("releases/2/file"), "2");
    let mut now = world.tree();
    now.retain(|path, _| !path.starts_with("releases/2"));
    assert_eq!(now, first);
    // And it is owned there again, so the next revision removes it.
    world.run("d-4", &["file=4"]).unwrap();
    assert!(!world.path("releases/1/only-first").exists() && !world.path("releases/1/dir").exists());
}

#[test]
fn a_copy_of_the_last_release_is_the_groups_where_nobody_else_can_have_led_it_there() {
    if !is_root() {
        return;
    }
    // Directories that everybody can write to, such as /tmp, are above the others.
    let mut world = World::within(tempfile::tempdir_in("/opt").unwrap());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.temp.path(), open).unwrap();
    world.destination = world.path("current");
    let copy = |world: &World, name: &str| {
        std::fs::create_dir_all(world.path(&format!("releases/{name}"))).unwrap();
        std::fs::write(world.path(&format!("releases/{name}/file")), "copied").unwrap();
        std::fs::write(world.path(&format!("releases/{name}/gone")), "copied").unwrap();
        point(world, &format!("releases/{name}"));
    };
    release(&world, "1");
    world.run("d-1", &["file=1", "gone=1"]).unwrap();
    copy(&world, "2");
    world.run("d-2", &["file=2"]).unwrap();
    assert_eq!(
        names(&world)[2..],
        ["releases/1", "releases/1/file", "releases/1/gone", "releases/2", "releases/2/file"]
    );
    // A link of somebody who does not own what it leads to: nothing there is taken for the group's.
    copy(&world, "3");
    lchown(world.path("current"), Some(1234), None).unwrap();
    let found = conflicts(world.run("d-3", &["file=3"]).unwrap_err());
    assert!(matches!(&found[..], [Conflict::SymlinkOnTheWay { .. }]), "{found:?}");
    assert_eq!(world.read("releases/3/gone"), "copied");
}

#[test]
fn a_manifest_that_does_not_tell_of_links_gives_up_what_is_beside_one() {
    let world = releases();
    release(&world, "1");
    world.run("d-1", &["file=1"]).unwrap();
    let path = world.layout.manifest(&world.group);
    let text = std::fs::read_to_string(&path).unwrap();
    // As versions before wrote it: without the links.
    let (head, rest) = text.split_once("\"links\":[").unwrap();
    let (_, rest) = rest.split_once("],").unwrap();
    let body = format!("{head}{rest}");
    let body = body.split_once(",\"group\"").unwrap().1;
    std::fs::write(&path, format!("{{\"format\":1,\"group\"{body}")).unwrap();
    assert!(read_manifest(&world.layout, &world.group).unwrap().unwrap().links.is_none());
    let list = format!("{}\n", world.path("releases/1/file").display());
    std::fs::write(world.layout.cleanup_file(&world.group), list).unwrap();
    assert_eq!(drift(&world), []);
    release(&world, "2");
    let installed = world.run("d-2", &["file=2"]).unwrap();
    let text = installed.warnings.join("\n");
    assert!(text.contains("1 paths of deployment d-1 stay"), "{text}");
    assert_eq!(world.read("releases/1/file"), "1");
    assert_eq!(world.read("releases/2/file"), "2");
    assert!(read_manifest(&world.layout, &world.group).unwrap().unwrap().links.is_some());
}

#[test]
fn each_group_owns_what_it_installed_through_a_shared_link() {
    let mut world = releases();
    release(&world, "1");
    world.run("d-1", &["file=1"]).unwrap();
    world.group("plugins").destination = world.path("current/plugins");
    world.run("p-1", &["plugin=1"]).unwrap();
    world.group("group").destination = world.path("current");
    release(&world, "2");
    world.run("d-2", &["file=2"]).unwrap();
    assert_eq!(world.read("releases/1/plugins/plugin"), "1");
    world.group("plugins").destination = world.path("current/plugins");
    world.run("p-2", &["plugin=2"]).unwrap();
    assert_eq!(
        (world.read("releases/1/plugins/plugin"), world.read("releases/2/plugins/plugin")),
        ("1".into(), "2".into())
    );
    assert_eq!(drift(&world), []);
    assert_eq!(drift(world.group("group")), [], "what is where the link led is as it was installed");
}

#[test]
fn another_agent_reads_the_names_of_the_appspec() {
    let world = releases();
    release(&world, "1");
    world.run("d-1", &["dir/file=1"]).unwrap();
    let text = std::fs::read_to_string(world.layout.cleanup_file(&world.group)).unwrap();
    let named = ["current/dir", "current/dir/file"].map(|path| world.path(path).display().to_string());
    assert_eq!(text.lines().collect::<Vec<_>>(), named);
    // And what it leaves is taken over by these names.
    std::fs::remove_file(world.layout.manifest(&world.group)).unwrap();
    world.run("d-2", &["other=2"]).unwrap();
    assert_eq!(names(&world), ["current", "releases", "releases/1", "releases/1/other"]);
}

#[test]
fn a_directory_takes_the_place_of_a_link_that_a_script_put_there() {
    for (uid, behavior) in [(0, None), (0, Some(Overwrite)), (1234, None)] {
        if uid != 0 && !is_root() {
            continue;
        }
        let mut world = World::new();
        world.behavior = behavior.unwrap_or(world.behavior);
        world.put(&["shared/user.jpg=precious", "shared/.keep=theirs", "shared/gone=theirs"]);
        let link = |world: &World| {
            std::fs::remove_dir_all(world.path("app/public/uploads")).unwrap();
            symlink(world.path("shared"), world.path("app/public/uploads")).unwrap();
            if uid != 0 {
                lchown(world.path("app/public"), Some(uid), None).unwrap();
                lchown(world.path("app/public/uploads"), Some(uid), None).unwrap();
            }
        };
        let shared = super::world::tree(&world.path("shared"));
        world.run("d-1", &["public/uploads/.keep=1", "public/uploads/gone=1"]).unwrap();
        link(&world);
        for deployment in ["d-2", "d-3"] {
            let lines = ["public/uploads/.keep=2"];
            let plan = world.plan(deployment, &lines).unwrap();
            assert!(plan.warnings[0].contains("app/public/uploads is a symlink to"), "{plan}");
            world.run(deployment, &lines).unwrap();
            assert_eq!(world.read("app/public/uploads/.keep"), "2");
            assert!(!world.path("app/public/uploads").is_symlink());
            assert_eq!(super::world::tree(&world.path("shared")), shared);
            assert!(uid != 0 || drift(&world).is_empty());
            link(&world);
        }
        // A revision without the directory takes the link away, and nothing of what it leads to.
        world.run("d-4", &["public/index=4"]).unwrap();
        assert!(world.path("app/public/uploads").symlink_metadata().is_err());
        assert_eq!(super::world::tree(&world.path("shared")), shared);
    }
}

#[test]
fn what_a_listed_link_leads_to_is_not_taken_over() {
    let world = World::new();
    world.put(&["shared/user.jpg=precious", "shared/.keep=theirs", "app/public/old=1"]);
    symlink("../../shared", world.path("app/public/uploads")).unwrap();
    let list = ["app", "app/public", "app/public/old", "app/public/uploads", "app/public/uploads/.keep"];
    let text: String = list.iter().map(|path| format!("{}\n", world.path(path).display())).collect();
    std::fs::write(world.layout.cleanup_file(&world.group), text).unwrap();
    world.run("d-1", &["public/uploads/.keep=1"]).unwrap();
    assert_eq!((world.read("shared/.keep"), world.read("shared/user.jpg")), ("theirs".into(), "precious".into()));
    assert_eq!(world.read("app/public/uploads/.keep"), "1");
    assert!(!world.path("app/public/old").exists());
}

#[test]
fn a_link_is_followed_where_its_owner_gains_nothing() {
    if !is_root() {
        return;
    }
    let world = World::within(tempfile::tempdir_in("/opt").unwrap());
    let open = || std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.temp.path(), open()).unwrap();
    world.put(&["app/public/", "home/uploads/", "system/"]);
    symlink("../../home/uploads", world.path("app/public/uploads")).unwrap();
    for path in ["app/public", "app/public/uploads", "home", "home/uploads"] {
        lchown(world.path(path), Some(1234), None).unwrap();
    }
    world.run("d-1", &["public/uploads/file=1"]).unwrap();
    assert_eq!(world.read("home/uploads/file"), "1");
    assert!(world.path("app/public/uploads").is_symlink());
    // Redirected by its owner to what belongs to root: nothing is installed there, and nothing removed.
    std::fs::remove_file(world.path("app/public/uploads")).unwrap();
    symlink("../../system", world.path("app/public/uploads")).unwrap();
    lchown(world.path("app/public/uploads"), Some(1234), None).unwrap();
    let error = world.run("d-2", &["public/uploads/file=2"]).unwrap_err();
    let text = error.to_string();
    assert!(matches!(&conflicts(error)[..], [Conflict::SymlinkInTheWay { .. }]), "{text}");
    let link = world.path("app/public/uploads").display().to_string();
    assert!(text.contains(&format!("user 1234 owns {link} and could lead it to any directory")), "{text}");
    // The remedy that the message gives.
    std::fs::remove_file(world.path("app/public/uploads")).unwrap();
    world.run("d-2", &["public/uploads/file=2"]).unwrap();
    assert_eq!(world.read("app/public/uploads/file"), "2");
    assert_eq!(std::fs::read_dir(world.path("system")).unwrap().count(), 0);
}

#[test]
fn a_destination_that_was_moved_is_found_behind_its_link() {
    let mut world = World::new();
    world.destination = world.path("app");
    world.run("d-1", &["file=1"]).unwrap();
    std::fs::create_dir(world.path("data")).unwrap();
    std::fs::rename(world.path("app"), world.path("data/app")).unwrap();
    symlink("data/app", world.path("app")).unwrap();
    world.behavior = Overwrite;
    world.run("d-2", &["file=2"]).unwrap();
    assert!(world.path("app").is_symlink());
    assert_eq!(world.read("data/app/file"), "2");
    let mut direct = world.appspec();
    direct.files = vec![mapping("/", &world.path("data/app"))];
    world.run_spec("d-3", &world.revision("d-3", &["file=3"]), &direct).unwrap();
    assert_eq!(world.read("data/app/file"), "3");
    assert!(world.path("app").is_symlink(), "the link is nobody's");
}
