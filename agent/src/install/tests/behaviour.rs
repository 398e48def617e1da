use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::world::{World, conflicts, id, is_root, make, mapping, permission};
use crate::appspec::{PermissionTarget, SelinuxContext};
use crate::deployment::FileExistsBehavior::{Disallow, Overwrite, Retain};
use crate::install::{self, Ownership};
use crate::plan::grounds::{Labels, Modes};
use crate::plan::{Change, Conflict, PathOwner, Refusals};
use crate::store::{read_manifest, read_markers};

#[test]
fn a_first_install_is_there_whole_and_owned() {
    let world = World::on_disk();
    world.run("d-1", &["bin/run=go", "etc/app.conf=a", "current->bin", "empty/"]).unwrap();
    assert_eq!(world.read("app/bin/run"), "go");
    assert_eq!(std::fs::read_link(world.path("app/current")).unwrap(), Path::new("bin"));
    assert_eq!(world.mode("app/empty"), 0o755);
    let modified = std::fs::metadata(world.path("app/bin/run")).unwrap().mtime();
    assert_eq!(modified, 1_000_000);
    world.assert_no_transactions();
    let manifest = read_manifest(&world.layout, &world.group).unwrap().unwrap();
    let owned: Vec<_> = manifest.entries.iter().map(|owned| owned.path.strip_prefix(world.path("")).unwrap()).collect();
    let expected = ["app", "app/bin", "app/bin/run", "app/current", "app/empty", "app/etc", "app/etc/app.conf"];
    assert_eq!(owned, expected.map(Path::new));
    let markers = read_markers(&world.layout, &world.group).unwrap();
    assert_eq!(markers.last_successful.unwrap().deployment, id("d-1"));
    let cleanup = std::fs::read_to_string(world.layout.cleanup_file(&world.group)).unwrap();
    assert_eq!(cleanup.lines().count(), 7);
    assert!(cleanup.ends_with('\n'));
    let path = std::fs::read_to_string(world.layout.last_successful_file(&world.group)).unwrap();
    assert_eq!(Path::new(&path), world.layout.deployment(&world.group, &id("d-1")));
    assert!(world.layout.install_file(&world.group).exists());
}

#[test]
fn an_update_changes_what_changed_and_removes_what_is_gone() {
    let world = World::on_disk();
    world.run("d-1", &["same=s", "changed=one", "gone/deep/file=x", "gone2=y"]).unwrap();
    world.put(&["app/foreign=mine"]);
    let same = world.inode("app/same");
    let planned = world.plan("d-2", &["same=s", "changed=two", "new/file=n"]).unwrap();
    let installed = world.run("d-2", &["same=s", "changed=two", "new/file=n"]).unwrap();
    assert_eq!(world.inode("app/same"), same);
    assert_eq!((world.read("app/changed"), world.read("app/new/file")), ("two".into(), "n".into()));
    assert!(!world.path("app/gone").exists() && !world.path("app/gone2").exists());
    assert_eq!(world.read("app/foreign"), "mine");
    assert!(installed.drift.is_empty());
    assert_eq!(planned.steps.iter().filter(|step| step.is_staged()).count(), 3, "{planned}");
    assert_eq!(installed.changed, planned.changes().count());
    world.assert_no_transactions();
}

#[test]
fn a_directory_that_holds_something_else_is_not_removed() {
    let world = World::new();
    world.run("d-1", &["logs/readme=r", "plain=p"]).unwrap();
    world.put(&["app/logs/today=entry"]);
    world.run("d-2", &["plain=p"]).unwrap();
    assert_eq!(world.read("app/logs/today"), "entry");
    assert!(!world.path("app/logs/readme").exists());
}

#[test]
fn only_the_time_of_an_unchanged_file_is_set() {
    let world = World::new();
    world.run("d-1", &["file=same"]).unwrap();
    let inode = world.inode("app/file");
    let revision = world.revision("d-2", &["file=same"]);
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(2_000_000);
    std::fs::File::open(revision.root().join("file")).unwrap().set_modified(later).unwrap();
    let planned = world.plan_spec("d-2", &revision, &world.appspec()).unwrap();
    world.run_spec("d-2", &revision, &world.appspec()).unwrap();
    assert_eq!(world.inode("app/file"), inode);
    assert_eq!(std::fs::metadata(world.path("app/file")).unwrap().mtime(), 2_000_000);
    assert_eq!(planned.changes().map(|step| step.change).collect::<Vec<_>>(), [Change::Touch]);
}

#[test]
fn a_file_that_shares_its_inode_with_a_stranger_is_replaced() {
    let world = World::new();
    world.run("d-1", &["file=same"]).unwrap();
    std::fs::hard_link(world.path("app/file"), world.path("stranger")).unwrap();
    world.run("d-2", &["file=same"]).unwrap();
    assert_ne!(world.inode("app/file"), world.inode("stranger"));
}

#[test]
fn disallow_reports_every_clash_at_once_and_touches_nothing() {
    let world = World::new();
    world.put(&["app/a=1", "app/dir/", "app/link->nowhere"]);
    let before = world.tree();
    let error = world.run("d-1", &["a=2", "dir=file", "link=file", "free=f"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("3 reasons") && text.contains("app/link") && text.contains("OVERWRITE"), "{text}");
    let kinds: Vec<_> = conflicts(error)
        .into_iter()
        .map(|conflict| match conflict {
            Conflict::Exists { kind, owner: PathOwner::Unknown, .. } => kind,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(kinds, ["file", "directory", "symlink"]);
    assert_eq!(world.tree(), before);
    world.assert_no_transactions();
}

#[test]
fn retain_leaves_every_mix_of_kinds_and_does_not_own_it() {
    for there in ["x=old", "x->old", "x/own=old"] {
        for wanted in ["x=new", "x->new", "x/inner=new"] {
            let mut world = World::new();
            world.behavior = Retain;
            world.put(&[&format!("app/{there}")]);
            let before = world.tree();
            let installed = world.run("d-1", &[wanted, "y=y"]).unwrap();
            let mut after = world.tree();
            assert!(after.remove(Path::new("app/y")).is_some());
            let merged = there.contains('/') && wanted.contains('/');
            if merged {
                assert!(after.remove(Path::new("app/x/inner")).is_some());
            } else if wanted.contains('/') {
                assert!(installed.warnings[0].contains("1 paths below"), "{:?}", installed.warnings);
            }
            assert_eq!(after, before, "{there} {wanted}");
            let manifest = read_manifest(&world.layout, &world.group).unwrap().unwrap();
            assert!(!manifest.entries.iter().any(|owned| owned.path == world.path("app/x")));
            world.behavior = Disallow;
            world.run("d-2", &["y=y"]).unwrap();
            assert!(world.path("app/x").symlink_metadata().is_ok());
        }
    }
}

#[test]
fn a_directory_with_foreign_entries_is_never_replaced() {
    for behavior in [Disallow, Overwrite] {
        let mut world = World::new();
        world.run("d-1", &["x/ours=1"]).unwrap();
        world.put(&["app/x/theirs=2"]);
        world.behavior = behavior;
        let before = world.tree();
        let found = conflicts(world.run("d-2", &["x=file"]).unwrap_err());
        assert!(matches!(&found[..], [Conflict::ForeignEntries { count: 1, .. }]), "{found:?}");
        assert_eq!(world.tree(), before);
        std::fs::remove_file(world.path("app/x/theirs")).unwrap();
        world.run("d-2", &["x=file"]).unwrap();
        assert_eq!(world.read("app/x"), "file");
    }
}

#[test]
fn retain_keeps_a_directory_of_the_group_that_holds_something_of_somebody_else() {
    for line in ["x=file", "x->file"] {
        let mut world = World::new();
        world.run("d-1", &["x/ours=1", "x/sub/ours=1"]).unwrap();
        world.put(&["app/x/theirs=2"]);
        world.behavior = Retain;
        let installed = world.run("d-2", &[line, "y=2"]).unwrap();
        let text = installed.warnings.join("\n");
        assert!(text.contains("app/x stays a directory, since it holds 1 entry ("), "{text}");
        let left = ["app", "app/x", "app/x/theirs", "app/y"].map(Path::new);
        assert_eq!(world.tree().into_keys().collect::<Vec<_>>(), left);
        // It is nobody's now, and stays.
        world.run("d-3", &[line, "y=3"]).unwrap();
        assert_eq!(world.tree().into_keys().collect::<Vec<_>>(), left);
    }
}

#[test]
fn what_the_group_installed_becomes_another_kind() {
    for (one, two) in [("x=1", "x/y=2"), ("x->1", "x/y=2"), ("x/y=1", "x->2"), ("x/y=1", "x=2"), ("x=1", "x->2")] {
        let world = World::new();
        world.run("d-1", &[one]).unwrap();
        world.run("d-2", &[two]).unwrap();
        let clean = World::new();
        clean.run("d-1", &[two]).unwrap();
        assert_eq!(world.tree(), clean.tree(), "{one} {two}");
    }
}

#[test]
fn permissions_apply_to_what_is_installed_and_to_nothing_else() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    world.put(&["app/theirs/file=1"]);
    let mut directories = permission(&world.path("app"), "**", "0711");
    directories.target = PermissionTarget::Directories;
    let mut scripts = permission(&world.path("app"), "*.sh", "4755");
    scripts.owner = Some("1234".into());
    scripts.group = Some("daemon".into());
    world.permissions = vec![directories, scripts, permission(&world.path("app/conf"), "**", "640")];
    world.run("d-1", &["run.sh=x", "deep/run.sh=x", "conf=c", "theirs/new=2"]).unwrap();
    assert_eq!(world.mode("app/run.sh"), 0o4755);
    let owner = std::fs::metadata(world.path("app/run.sh")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1234, 1));
    assert_eq!((world.mode("app/deep/run.sh"), world.mode("app/deep")), (0o644, 0o711));
    assert_eq!(world.mode("app/conf"), 0o640);
    assert_eq!((world.mode("app"), world.mode("app/theirs"), world.mode("app/theirs/file")), (0o755, 0o755, 0o644));
    // Without the entries everything is as in a first install again.
    world.permissions.clear();
    world.run("d-2", &["run.sh=x", "deep/run.sh=x", "conf=c", "theirs/new=2"]).unwrap();
    assert_eq!((world.mode("app/run.sh"), world.mode("app/deep"), world.mode("app/conf")), (0o644, 0o755, 0o644));
}

#[test]
fn a_directory_that_a_script_gave_away_stays_given_away() {
    if !is_root() {
        return;
    }
    let world = World::new();
    world.run("d-1", &["data/file=1"]).unwrap();
    std::os::unix::fs::chown(world.path("app/data"), Some(1234), Some(1234)).unwrap();
    for deployment in ["d-2", "d-3"] {
        world.run(deployment, &["data/file=2"]).unwrap();
        assert_eq!(std::fs::metadata(world.path("app/data")).unwrap().uid(), 1234, "{deployment}");
    }
}

#[test]
fn mistakes_in_permissions_are_all_found_in_planning() {
    let mut world = World::new();
    let everything = permission(&world.path("app"), "**", "0600");
    let mut unknown = permission(&world.path("app/a"), "*", "0600");
    unknown.owner = Some("no-such-user-anywhere".into());
    unknown.acls = Some(vec![]);
    let mut nothing = permission(&world.path("elsewhere"), "**", "0600");
    nothing.group = Some("no-such-group-anywhere".into());
    world.permissions = vec![everything, unknown, nothing];
    let found = conflicts(world.plan("d-1", &["a=1"]).unwrap_err());
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(matches!(found[0], Conflict::UnknownAccount { kind: "user", .. }));
    assert!(matches!(found[1], Conflict::UnknownAccount { kind: "group", .. }));
    assert!(found.iter().any(|conflict| matches!(conflict, Conflict::FileObject { .. })));
    assert!(found.iter().any(|conflict| matches!(conflict, Conflict::TwoPermissions { .. })));
    world.permissions = vec![permission(&world.path("elsewhere"), "**", "0600")];
    let plan = world.plan("d-1", &["a=1"]).unwrap();
    assert!(plan.warnings[0].contains("line 8"), "{:?}", plan.warnings);
}

#[test]
fn two_sources_for_one_path_are_named_with_their_entries() {
    let world = World::new();
    let revision = world.revision("d-1", &["one/file=1", "two/file=2"]);
    let mut appspec = world.appspec();
    appspec.files = vec![
        mapping("one", &world.path("app")),
        mapping("two/file", &world.path("app")),
        mapping("three", &world.path("app")),
    ];
    let text = world.run_spec("d-1", &revision, &appspec).unwrap_err().to_string();
    assert!(text.contains("one/file") && text.contains("two/file") && text.contains("no three"), "{text}");
}

#[test]
fn ownership_comes_from_the_bundle_or_is_roots() {
    if !is_root() {
        return;
    }
    for (ownership, expected) in [(Ownership::Preserve, 4321), (Ownership::Root, 0)] {
        let mut world = World::new();
        world.ownership = ownership;
        let revision = world.revision("d-1", &["dir/file=1", "link->dir"]);
        std::os::unix::fs::lchown(revision.root().join("dir/file"), Some(4321), Some(4321)).unwrap();
        std::os::unix::fs::lchown(revision.root().join("link"), Some(4321), Some(4321)).unwrap();
        std::os::unix::fs::lchown(revision.root().join("dir"), Some(4321), Some(4321)).unwrap();
        std::fs::set_permissions(revision.root().join("dir"), std::fs::Permissions::from_mode(0o700)).unwrap();
        world.run_spec("d-1", &revision, &world.appspec()).unwrap();
        let uid = |path: &str| std::fs::symlink_metadata(world.path(path)).unwrap().uid();
        assert_eq!((uid("app/dir/file"), uid("app/link"), uid("app/dir")), (expected, expected, 0));
        assert_eq!(world.mode("app/dir"), 0o755);
    }
}

#[test]
fn a_symlink_below_a_destination_is_followed_only_where_root_alone_made_it() {
    if !is_root() {
        return;
    }
    // Directories that everybody can write to, such as /tmp, are above the others.
    let world = World::within(tempfile::tempdir_in("/opt").unwrap());
    std::fs::set_permissions(world.temp.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.put(&["real/", "app/link->../real"]);
    world.run("d-1", &["link/file=1"]).unwrap();
    assert_eq!(world.read("real/file"), "1");
    assert!(world.path("app/link").is_symlink());
    world.run("d-2", &["link/file=2"]).unwrap();
    assert_eq!(world.read("real/file"), "2");
    std::os::unix::fs::lchown(world.path("app/link"), Some(1234), None).unwrap();
    let found = conflicts(world.run("d-3", &["link/file=3"]).unwrap_err());
    assert!(matches!(&found[..], [Conflict::SymlinkInTheWay { .. }]), "{found:?}");
    assert_eq!(world.read("real/file"), "2");
}

#[test]
fn a_destination_that_is_a_symlink_is_followed() {
    let mut world = World::new();
    world.put(&["real/", "way->real"]);
    world.destination = world.path("way/app");
    world.run("d-1", &["file=1"]).unwrap();
    assert_eq!(world.read("real/app/file"), "1");
    world.run("d-2", &["other=1"]).unwrap();
    assert!(!world.path("real/app/file").exists());
}

#[test]
fn a_running_program_is_replaced() {
    let world = World::on_disk();
    let revision = world.revision("d-1", &[]);
    std::fs::copy("/bin/sleep", revision.root().join("program")).unwrap();
    world.run_spec("d-1", &revision, &world.appspec()).unwrap();
    let mut running = std::process::Command::new(world.path("app/program")).arg("60").spawn().unwrap();
    let result = world.run("d-2", &["program=new"]);
    running.kill().unwrap();
    running.wait().unwrap();
    result.unwrap();
    assert_eq!(world.read("app/program"), "new");
}

#[test]
fn another_agents_list_is_taken_over_once() {
    let world = World::new();
    world.put(&["app/old=1", "app/kept=1", "app/dir/file=1", "app/torn=1", "app/theirs=1"]);
    let list = ["app", "app/old", "app/kept", "app/dir", "app/dir/file", "app/torn"];
    let text: Vec<String> = list.iter().map(|path| world.path(path).display().to_string()).collect();
    std::fs::write(world.layout.cleanup_file(&world.group), text.join("\n")).unwrap();
    world.run("d-1", &["kept=2"]).unwrap();
    let left: Vec<_> = world.tree().into_keys().collect();
    // The list's last line has no newline: it was cut off, and may be the beginning of another path.
    assert_eq!(left, ["app", "app/kept", "app/theirs", "app/torn"].map(Path::new));
    assert_eq!(world.read("app/kept"), "2");
}

#[test]
fn special_places_are_refused_in_planning() {
    let world = World::new();
    let revision = world.revision("d-1", &["file=1"]);
    let mut appspec = world.appspec();
    appspec.files = vec![mapping("/", &world.layout.own().join("x")), mapping("/", Path::new("/proc/self"))];
    let found = conflicts(world.run_spec("d-1", &revision, &appspec).unwrap_err());
    assert!(found.iter().any(|conflict| matches!(conflict, Conflict::OwnState { .. })), "{found:?}");
    rustix::fs::mkfifoat(rustix::fs::CWD, revision.root().join("pipe"), 0o600.into()).unwrap();
    let found = conflicts(world.run_spec("d-1", &revision, &world.appspec()).unwrap_err());
    assert!(matches!(&found[..], [Conflict::UnsupportedSource { .. }]), "{found:?}");
}

#[test]
fn names_of_any_bytes_and_lengths_are_installed_and_removed() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let revision = world.revision("d-1", &[]);
    let odd = std::ffi::OsStr::from_bytes(b"\xff\n\"\\");
    let long = "x".repeat(255);
    std::fs::write(revision.root().join(odd), "odd").unwrap();
    make(revision.root(), &[&format!("{long}=1")]);
    world.run_spec("d-1", &revision, &world.appspec()).unwrap();
    assert!(world.path("app").join(odd).exists() && world.path("app").join(&long).exists());
    world.run("d-2", &["plain=1"]).unwrap();
    assert_eq!(world.tree().len(), 2);
}

#[test]
fn a_plan_shows_every_change_and_survives_json() {
    let world = World::new();
    world.run("d-1", &["same=s", "changed=one", "gone=x"]).unwrap();
    let plan = world.plan("d-2", &["same=s", "changed=other", "new=n"]).unwrap();
    let text = plan.to_string();
    for expected in ["+ ", "app/new", "~ ", "content, 5 bytes", "- ", "1 to add, 1 to change, 1 to remove"] {
        assert!(text.contains(expected), "{text}");
    }
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<crate::plan::Plan>(&json).unwrap(), plan);
    assert_eq!(world.read("app/changed"), "one");
}

#[test]
fn what_is_immutable_is_found_in_planning() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let world = World::on_disk();
    world.run("d-1", &["file=1", "dir/inner=1"]).unwrap();
    let seal = |path: &str, sealed: bool| {
        let open = std::fs::File::open(world.path(path)).unwrap();
        let flags = ioctl_getflags(&open)?;
        ioctl_setflags(&open, if sealed { flags | IFlags::IMMUTABLE } else { flags - IFlags::IMMUTABLE })
    };
    if seal("app/file", true).is_err() {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped, since nothing can be made immutable here\n"),
        );
        return;
    }
    seal("app/dir", true).unwrap();
    let result = world.plan("d-2", &["file=2", "dir/new=2"]);
    seal("app/file", false).unwrap();
    seal("app/dir", false).unwrap();
    let error = result.unwrap_err();
    for path in ["app/file", "app/dir"] {
        assert!(error.to_string().contains(&format!("`chattr -i -a {}`", world.path(path).display())), "{error}");
    }
    // The file, what is new in the directory, and what would be removed from it.
    let found = conflicts(error);
    assert_eq!(found.len(), 3, "{found:?}");
    world.run("d-2", &["file=2", "dir/new=2"]).unwrap();
}

#[test]
fn settling_leaves_an_install_alone_that_is_under_way() {
    let world = World::new();
    let over = std::sync::atomic::AtomicBool::new(false);
    let settled = std::thread::scope(|scope| {
        let settling = scope.spawn(|| {
            let mut settled = Vec::new();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                settled.extend(install::settle(&world.layout).unwrap());
            }
            settled
        });
        for n in 0..30 {
            world.run("d-1", &[&format!("file={n}")]).unwrap();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        settling.join().unwrap()
    });
    assert!(settled.is_empty(), "{settled:?}");
    assert_eq!(world.read("app/file"), "29");
}

/// Wherever the mode comes from: the bundle, an entry, or an entry that mends what the bundle has.
#[test]
fn unsafe_modes_are_refused_in_planning_where_the_host_refuses_them() {
    let mut world = World::new();
    let lines = ["setuid=1", "setgid=1", "open=1", "mended=1", "given=1", "dir/file=1", "shared/", "plain=1"];
    let revision = world.revision("d-1", &lines);
    for (file, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("open", 0o666), ("mended", 0o4777)] {
        std::fs::set_permissions(revision.root().join(file), PermissionsExt::from_mode(mode)).unwrap();
    }
    let entry = |object: &str, mode: &str| permission(&world.path("app").join(object), "**", mode);
    let directory = |pattern: &str, mode: &str| crate::appspec::PermissionEntry {
        target: PermissionTarget::Directories,
        ..permission(&world.path("app"), pattern, mode)
    };
    world.permissions =
        vec![entry("mended", "0755"), entry("given", "6755"), directory("dir", "0777"), directory("shared", "1777")];
    let appspec = world.appspec();
    world.refusals.modes = Modes::UnsafeRefused;
    let error = world.run_spec("d-1", &revision, &appspec).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("setuid would have the mode 4755, which runs it with the rights of its owner"), "{text}");
    assert!(text.contains("open would have the mode 0666, which lets everybody write"), "{text}");
    assert!(text.contains("reject_unsafe_permissions_in_bundle is set"), "{text}");
    let refused: Vec<_> = conflicts(error)
        .into_iter()
        .map(|conflict| match conflict {
            Conflict::UnsafeMode { path, mode } => (path.file_name().unwrap().to_string_lossy().into_owned(), mode),
            other => panic!("{other}"),
        })
        .collect();
    let expected = [("dir", 0o777), ("given", 0o6755), ("open", 0o666), ("setgid", 0o2755), ("setuid", 0o4755)];
    assert_eq!(refused, expected.map(|(name, mode)| (name.to_owned(), mode)));
    assert!(!world.path("app").exists());
    world.assert_no_transactions();
    world.refusals = Refusals::default();
    world.run_spec("d-1", &revision, &appspec).unwrap();
    assert_eq!((world.mode("app/setuid"), world.mode("app/dir"), world.mode("app/shared")), (0o4755, 0o777, 0o1777));
    // What somebody opens by hand is not the deployment's doing; what an entry still asks for is.
    world.refusals.modes = Modes::UnsafeRefused;
    world.permissions.clear();
    world.run("d-2", &["dir/file=1"]).unwrap();
    std::fs::set_permissions(world.path("app/dir"), PermissionsExt::from_mode(0o777)).unwrap();
    world.run("d-3", &["dir/file=2"]).unwrap();
    assert_eq!(world.mode("app/dir"), 0o777);
    world.permissions = vec![crate::appspec::PermissionEntry {
        target: PermissionTarget::Directories,
        ..permission(&world.path("app"), "dir", "0777")
    }];
    assert_eq!(conflicts(world.run("d-4", &["dir/file=3"]).unwrap_err()).len(), 1);
}

#[test]
fn labels_of_what_nothing_confines_are_refused_where_the_host_refuses_them() {
    let mut world = World::new();
    world.refusals.labels = Labels::UnconfinedRefused;
    let mut of_type = permission(&world.path("app/a"), "**", "0644");
    of_type.context = Some(SelinuxContext { user: None, kind: "unconfined_t".into(), range: None });
    let mut of_user = permission(&world.path("app/b"), "**", "0644");
    of_user.context = Some(SelinuxContext { user: Some("unconfined_u".into()), kind: "httpd_t".into(), range: None });
    world.permissions = vec![of_type, of_user];
    let error = world.run("d-1", &["a=1", "b=1"]).unwrap_err();
    assert!(error.to_string().contains("reject_unconfined_selinux_in_bundle is set"), "{error}");
    let found = conflicts(error);
    assert!(found.len() == 2 && found.iter().all(|one| matches!(one, Conflict::UnconfinedLabel { .. })), "{found:?}");
}
