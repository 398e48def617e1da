//! Which symlinks on the way to a destination root follows: as a table, and as attacks by users who own a directory there.

use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use super::world::{World, conflicts, is_root, mapping, permission};
use crate::deployment::FileExistsBehavior::Overwrite;
use crate::disk::fault;
use crate::install::link_not_followed;
use crate::plan::Conflict;
use crate::plan::grounds::{FollowedLinks, Objects};

const USER: u32 = 1234;
const OTHER: u32 = 4321;

fn own(world: &World, path: &str, uid: u32, mode: u32) {
    let path = world.path(path);
    lchown(&path, Some(uid), None).unwrap();
    if !path.is_symlink() {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
}

/// Whether a plan follows `way/link` to its end with that setting; a refusal names the link.
fn follows(world: &mut World, links: FollowedLinks) -> bool {
    world.refusals.links = links;
    world.destination = world.path("way/link/app");
    match world.plan("d-1", &["file=1"]) {
        Ok(plan) => {
            assert!(plan.steps.iter().all(|step| !step.path.starts_with(world.path("way"))), "{plan}");
            assert_eq!(link_not_followed(&world.destination, links).unwrap(), None);
            true
        }
        Err(error) => {
            let found = conflicts(error);
            let [Conflict::SymlinkOnTheWay { path, .. }] = &found[..] else { panic!("{found:?}") };
            assert_eq!(*path, world.path("way/link"));
            assert_eq!(link_not_followed(&world.destination, links).unwrap().as_ref(), found.first());
            false
        }
    }
}

#[test]
fn a_link_is_followed_where_nobody_gains_by_it() {
    if !is_root() {
        return;
    }
    // Owners of the link, of its directory (with its mode), of what it leads to, and of the directory around that
    // (with its mode); whether it is followed, and whether with links of root alone.
    for (link, (way, way_mode), end, (around, around_mode), safe, of_root) in [
        (0, (0, 0o755), 0, (0, 0o755), true, true),
        (0, (0, 0o755), USER, (USER, 0o755), true, true),
        (0, (0, 0o755), 0, (0, 0o777), true, true),
        (0, (0, 0o775), 0, (0, 0o755), false, false),
        (0, (0, 0o757), 0, (0, 0o755), false, false),
        (0, (0, 0o1777), 0, (0, 0o755), false, false),
        (0, (USER, 0o755), 0, (0, 0o755), false, false),
        (0, (USER, 0o755), USER, (0, 0o755), true, false),
        (USER, (0, 0o755), 0, (0, 0o755), false, false),
        (USER, (0, 0o755), USER, (0, 0o755), true, false),
        (USER, (USER, 0o755), USER, (USER, 0o755), true, false),
        (USER, (USER, 0o755), USER, (0, 0o1777), true, false),
        (USER, (USER, 0o755), USER, (0, 0o777), false, false),
        (USER, (USER, 0o755), USER, (OTHER, 0o755), false, false),
        (USER, (USER, 0o755), OTHER, (0, 0o755), false, false),
        (USER, (USER, 0o755), 0, (0, 0o755), false, false),
        (USER, (USER, 0o775), USER, (USER, 0o755), false, false),
        (USER, (OTHER, 0o755), USER, (USER, 0o755), false, false),
    ] {
        let mut world = World::new();
        world.put(&["way/", "around/end/"]);
        symlink("../around/end", world.path("way/link")).unwrap();
        own(&world, "way/link", link, 0);
        own(&world, "way", way, way_mode);
        own(&world, "around/end", end, 0o755);
        own(&world, "around", around, around_mode);
        let row = format!("{link} {way} {way_mode:o} {end} {around} {around_mode:o}");
        assert_eq!(follows(&mut world, FollowedLinks::Safe), safe, "{row}");
        assert_eq!(follows(&mut world, FollowedLinks::OfRoot), of_root, "{row}");
    }
}

#[test]
fn each_link_of_a_chain_counts() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.put(&["way/", "home/", "system/"]);
    symlink("../home/next", world.path("way/link")).unwrap();
    symlink("../system", world.path("home/next")).unwrap();
    own(&world, "home", USER, 0o755);
    own(&world, "home/next", USER, 0);
    assert!(!follows(&mut world, FollowedLinks::Safe));
    std::fs::remove_file(world.path("home/next")).unwrap();
    symlink("own", world.path("home/next")).unwrap();
    own(&world, "home/next", USER, 0);
    std::fs::create_dir(world.path("home/own")).unwrap();
    own(&world, "home/own", USER, 0o755);
    assert!(follows(&mut world, FollowedLinks::Safe));
    // A loop leads nowhere.
    std::fs::remove_file(world.path("home/next")).unwrap();
    symlink("next", world.path("home/next")).unwrap();
    let error = world.plan("d-1", &["file=1"]).unwrap_err();
    assert!(matches!(&conflicts(error)[..], [Conflict::Exists { .. }]));
}

#[test]
fn a_refusal_says_who_could_redirect_the_link_and_what_to_do() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.put(&["way/", "system/"]);
    symlink("../system", world.path("way/link")).unwrap();
    own(&world, "way/link", USER, 0);
    own(&world, "way", USER, 0o755);
    world.destination = world.path("way/link");
    let link = world.path("way/link").display().to_string();
    let text = world.plan("d-1", &["file=1"]).unwrap_err().to_string();
    for part in
        [&format!("{link} is a symlink to ../system"), "user 1234 owns", "let root own the link", "in the AppSpec"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    own(&world, "way/link", 0, 0);
    own(&world, "way", 0, 0o777);
    let text = world.plan("d-1", &["file=1"]).unwrap_err().to_string();
    assert!(text.contains(&format!("chmod go-w {}", world.path("way").display())), "{text}");
    std::fs::set_permissions(world.path("way"), PermissionsExt::from_mode(0o755)).unwrap();
    world.run("d-1", &["file=1"]).unwrap();
    assert_eq!(world.read("system/file"), "1");
    own(&world, "way/link", USER, 0);
    world.refusals.links = FollowedLinks::OfRoot;
    let text = world.plan("d-2", &["file=2"]).unwrap_err().to_string();
    assert!(text.contains("follow_links is `root`"), "{text}");
}

/// A user owns the directory of the destination, and points it at a directory of root's.
#[test]
fn root_installs_nothing_where_a_user_leads_it() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.behavior = Overwrite;
    world.put(&["home/", "system/cron.d/", "system/cron.d/job=root's"]);
    own(&world, "home", USER, 0o755);
    world.destination = world.path("home/app");
    world.run("d-1", &["cron.d/job=1", "old=1"]).unwrap();
    let before = super::world::tree(&world.path("system"));
    for attack in ["home/app", "home/app/cron.d"] {
        let kept = world.path("home/kept");
        std::fs::rename(world.path(attack), &kept).unwrap();
        let target = if attack.ends_with("cron.d") { world.path("system/cron.d") } else { world.path("system") };
        symlink(target, world.path(attack)).unwrap();
        own(&world, attack, USER, 0);
        // Installed again, changed, and removed.
        for lines in [&["cron.d/job=1", "old=1"][..], &["cron.d/job=2"], &["other=3"]] {
            let _ = world.run("d-2", lines);
            assert_eq!(super::world::tree(&world.path("system")), before, "{attack}");
        }
        if world.path(attack).is_symlink() {
            std::fs::remove_file(world.path(attack)).unwrap();
        }
        let _ = std::fs::rename(&kept, world.path(attack));
        world.run("d-1", &["cron.d/job=1", "old=1"]).unwrap();
    }
}

/// The agent dies at each moment of an install, and the user leads the rest of it to root's files before the recovery.
#[test]
fn a_recovery_touches_nothing_behind_a_link_that_was_made_since() {
    if !is_root() {
        return;
    }
    let host = || {
        let mut world = World::new();
        world.behavior = Overwrite;
        world.put(&["home/", "system/cron.d/", "system/cron.d/job=root's", "system/old=root's", "system/new=root's"]);
        own(&world, "home", USER, 0o755);
        world.destination = world.path("home/app");
        world.run("d-1", &["cron.d/job=1", "old=1"]).unwrap();
        world
    };
    let install = |world: &World| world.run("d-2", &["cron.d/job=2", "new=2"]);
    let world = host();
    let (installed, seen) = fault::run(None, false, || install(&world));
    installed.unwrap();
    for (at, call) in seen.iter().enumerate() {
        let world = host();
        let before = super::world::tree(&world.path("system"));
        let _ = fault::run(Some((at, 5)), true, || install(&world));
        std::fs::rename(world.path("home/app"), world.path("home/kept")).unwrap();
        symlink("../system", world.path("home/app")).unwrap();
        own(&world, "home/app", USER, 0);
        let settled = world.settle();
        assert_eq!(super::world::tree(&world.path("system")), before, "{at} ({call}): {settled:?}");
    }
}

/// The list of AWS's agent names paths behind a user's link: what is there is not taken for the group's.
#[test]
fn a_list_of_another_agent_has_nothing_removed_behind_a_users_link() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.put(&["home/", "system/passwd=root's"]);
    symlink("../system", world.path("home/app")).unwrap();
    own(&world, "home/app", USER, 0);
    own(&world, "home", USER, 0o755);
    world.destination = world.path("elsewhere");
    let text = format!("{}\n", world.path("home/app/passwd").display());
    std::fs::write(world.layout.cleanup_file(&world.group), text).unwrap();
    world.run("d-1", &["file=1"]).unwrap();
    assert_eq!(world.read("system/passwd"), "root's");
}

/// The agent's link was trusted when it installed, and is a user's now.
#[test]
fn what_was_installed_is_not_looked_for_behind_a_link_that_is_a_users_now() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.behavior = Overwrite;
    world.put(&["home/", "system/file=root's"]);
    own(&world, "home", USER, 0o755);
    world.destination = world.path("home/app");
    world.run("d-1", &["file=1"]).unwrap();
    std::fs::remove_dir_all(world.path("home/app")).unwrap();
    symlink("../system", world.path("home/app")).unwrap();
    own(&world, "home/app", USER, 0);
    let elsewhere = world.path("elsewhere");
    let mut moved = world.appspec();
    moved.files = vec![mapping("/", &elsewhere)];
    world.run_spec("d-2", &world.revision("d-2", &["file=2"]), &moved).unwrap();
    assert_eq!((world.read("system/file"), world.read("elsewhere/file")), ("root's".into(), "2".into()));
}

#[test]
fn permission_entries_that_mean_a_symlink_are_refused_where_that_is_set() {
    let mut world = World::new();
    world.put(&["real/"]);
    let revision = world.revision("d-1", &["dir/file=1"]);
    symlink("file", revision.root().join("dir/link")).unwrap();
    let destination = world.destination.clone();
    let entry = |object: &Path| permission(object, "**", "0640");
    let refused = |world: &World| match world.plan_spec("d-1", &revision, &world.appspec()) {
        Ok(_) => Vec::new(),
        Err(error) => conflicts(error),
    };
    for object in [destination.join("dir"), destination.join("dir/link")] {
        world.permissions = vec![entry(&object)];
        world.refusals.objects = Objects::SymlinksSkipped;
        assert_eq!(refused(&world), []);
        world.refusals.objects = Objects::SymlinksRefused;
        let found = refused(&world);
        let [Conflict::SymlinkObject { path, .. }] = &found[..] else { panic!("{found:?}") };
        assert_eq!(*path, destination.join("dir/link"));
    }
    // An object of the host that is a link, through which is installed.
    symlink("real", world.path("current")).unwrap();
    world.destination = world.path("current");
    world.permissions = vec![entry(&world.path("current"))];
    let found = conflicts(world.plan("d-2", &["file=1"]).unwrap_err());
    assert!(matches!(&found[..], [Conflict::SymlinkObject { .. }]), "{found:?}");
    world.permissions = vec![entry(&world.path("current/file"))];
    world.plan("d-2", &["file=1"]).unwrap();
}
