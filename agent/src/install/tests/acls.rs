//! Access control lists, from the AppSpec to what the kernel has and back.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::filesystems::Mounted;
use super::world::{World, conflicts, is_root, listed, permission, skipped};
use crate::appspec::PermissionTarget;
use crate::disk::fault;
use crate::install::{self, Additions, Difference};
use crate::plan::{Acl, Change, Conflict};

const GUIDE: &str = include_str!("../../../../docs/appspec.md");

/// A list as the kernel has it, in the spelling of `getfacl`.
fn acl(path: &Path, attribute: &str) -> String {
    let mut buffer = [0; 512];
    match rustix::fs::lgetxattr(path, format!("system.posix_acl_{attribute}"), &mut buffer) {
        Ok(length) => Acl::from_bytes(&buffer[..length]).unwrap().to_string(),
        Err(rustix::io::Errno::NODATA) => String::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Both lists as `getfacl` says them, where it is installed.
fn getfacl(path: &Path) -> Option<[String; 2]> {
    let options = ["--numeric", "--absolute-names", "--omit-header", "--no-effective"];
    let Ok(said) = Command::new("getfacl").args(options).arg(path).output() else {
        skipped("there is no getfacl to compare with: it is in the package acl");
        return None;
    };
    let text = String::from_utf8(said.stdout).unwrap();
    let (default, access): (Vec<&str>, Vec<&str>) =
        text.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with("default:"));
    let default: Vec<_> = default.iter().map(|line| line.trim_start_matches("default:")).collect();
    Some([access.join(","), default.join(",")])
}

fn setfacl(arguments: &[&str], path: &Path) {
    let list = |entries: &[(crate::plan::acl::Who, u8)]| Acl::completed(entries.iter().copied().collect(), 0o755);
    let acl = list(&[(crate::plan::acl::Who::User(1234), 6), (crate::plan::acl::Who::Mask, 7)]);
    for attribute in arguments {
        let attribute = format!("system.posix_acl_{attribute}");
        rustix::fs::lsetxattr(path, attribute, &acl.to_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
    }
}

/// The rows of a table in the guide: the code spans of each cell.
fn table(heading: &str) -> Vec<Vec<Vec<&'static str>>> {
    let section = GUIDE.split_once(heading).unwrap().1;
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let cell = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect();
    rows.map(|row| row.split('|').skip(1).map(cell).collect()).collect()
}

/// Every row of the guide: a mode and entries, and the lists that come of them.
#[test]
fn the_guides_table_is_what_the_kernel_has() {
    let rows = table("### What becomes of them");
    assert!(rows.len() >= 7, "{rows:?}");
    for row in rows {
        let [mode, entries, access, default, ..] = &row[..] else { panic!("{row:?}") };
        let (access, default) = (access.join(","), default.join(","));
        let mut world = World::on_disk();
        let mut entry = listed(&world.path("app"), "x", mode[0], entries);
        let is_directory = !default.is_empty();
        if is_directory {
            entry.target = PermissionTarget::Directories;
        }
        world.permissions = vec![entry];
        let content = if is_directory { "x/" } else { "x=1" };
        world.run("d-1", &[content]).unwrap();
        let path = world.path("app/x");
        if let Some(said) = getfacl(&path) {
            assert_eq!(said, [access.clone(), default.clone()], "{row:?}");
        }
        let is_extended = access.contains("mask::");
        assert_eq!(acl(&path, "access"), if is_extended { &access } else { "" }, "{row:?}");
        if is_directory {
            assert_eq!(acl(&path, "default"), default, "{row:?}");
        }
        // What is as it should be is left alone.
        let inode = world.inode("app/x");
        let plan = world.plan("d-2", &[content]).unwrap();
        assert_eq!(plan.changes().count(), 0, "{row:?}: {plan}");
        world.run("d-2", &[content]).unwrap();
        assert_eq!(world.inode("app/x"), inode);
    }
}

#[test]
fn a_list_survives_the_set_id_bits_and_the_owner() {
    if !is_root() {
        return;
    }
    let mut world = World::new();
    let mut entry = listed(&world.path("app"), "x", "6750", &["g:4321:rx"]);
    entry.owner = Some("1234".into());
    world.permissions = vec![entry];
    world.run("d-1", &["x=1"]).unwrap();
    assert_eq!(world.mode("app/x"), 0o6750);
    assert_eq!(std::fs::metadata(world.path("app/x")).unwrap().uid(), 1234);
    assert_eq!(acl(&world.path("app/x"), "access"), "user::rwx,group::r-x,group:4321:r-x,mask::r-x,other::---");
}

#[test]
fn a_list_that_changed_is_put_right_on_files_and_left_on_directories() {
    let mut world = World::new();
    let lines = ["file=1", "dir/inner=1", "plain=1"];
    world.permissions = vec![listed(&world.path("app"), "file", "0640", &["u:1234:r"])];
    world.run("d-1", &lines).unwrap();
    let before = world.tree();
    for path in ["app/file", "app/plain", "app/dir"] {
        setfacl(&["access"], &world.path(path));
    }
    setfacl(&["default"], &world.path("app/dir"));
    let plan = world.plan("d-2", &lines).unwrap();
    let changes: Vec<_> = plan.changes().map(|step| (step.path.file_name().unwrap(), step.change)).collect();
    let replaced = |name: &'static str| (std::ffi::OsStr::new(name), Change::Replace);
    // What is in the directory gets what is made there gets: somebody wanted that.
    assert_eq!(changes, [replaced("inner"), replaced("file"), replaced("plain")], "{plan}");
    for deployment in ["d-2", "d-3"] {
        world.run(deployment, &lines).unwrap();
        let mut after = world.tree();
        assert!(after.remove(Path::new("app/dir")).unwrap().contains("+user::rwx,user:1234:rw-"));
        let inner = after.remove(Path::new("app/dir/inner")).unwrap();
        assert!(inner.contains("+user::rw-,user:1234:rw-,group::r-x,mask::r--,other::r--"), "{inner}");
        let rest = before.clone().into_iter().filter(|(path, _)| !path.starts_with("app/dir")).collect();
        assert_eq!(after, rest);
    }
}

#[test]
fn what_the_appspec_no_longer_lists_goes() {
    let mut world = World::new();
    let mut directories = listed(&world.path("app"), "**", "0700", &["u:1234:rwx", "m::rwx", "d:u:1234:rx"]);
    directories.target = PermissionTarget::Directories;
    let mut files = listed(&world.path("app"), "**", "0640", &["g:4321:r"]);
    files.target = PermissionTarget::Files;
    world.permissions = vec![directories, files];
    let lines = ["file=1", "dir/sub/inner=1"];
    world.run("d-1", &lines).unwrap();
    assert_eq!(world.mode("app/dir"), 0o770);
    let plan = world.plan("d-2", &lines).unwrap();
    assert_eq!(plan.changes().count(), 0, "{plan}");
    world.permissions.clear();
    world.run("d-2", &lines).unwrap();
    let clean = World::new();
    clean.run("d-1", &lines).unwrap();
    assert_eq!(world.tree(), clean.tree());
}

#[test]
fn another_list_is_drift() {
    let mut world = World::new();
    world.permissions = vec![listed(&world.path("app"), "file", "0640", &["u:7:r"])];
    world.run("d-1", &["file=1", "dir/", "same/", "plain=1"]).unwrap();
    let drift = || install::audit(&world.layout, &world.group, Additions::Passed).unwrap().unwrap().drift;
    assert_eq!(drift(), []);
    for path in ["app/file", "app/plain"] {
        setfacl(&["access"], &world.path(path));
    }
    setfacl(&["default"], &world.path("app/dir"));
    let listed = |differences: &[Difference]| serde_json::to_string(&differences[differences.len() - 1]).unwrap();
    let found: Vec<_> = drift().iter().map(|drifted| (drifted.path.clone(), listed(&drifted.differences))).collect();
    let theirs = "user::rwx,user:1234:rw-,group::r-x,mask::rwx,other::r-x";
    let ours = r#""user::rw-,user:7:r--,group::r--,mask::r--,other::---""#;
    let expected = [
        ("app/dir", format!(r#"{{"what":"default_acl","was":null,"is":"{theirs}"}}"#)),
        ("app/file", format!(r#"{{"what":"acl","was":{ours},"is":"{theirs}"}}"#)),
        ("app/plain", format!(r#"{{"what":"acl","was":null,"is":"{theirs}"}}"#)),
    ];
    assert_eq!(found, expected.map(|(path, text)| (world.path(path), text)));
}

/// As with every file that is made there: what the directory's owner wanted.
#[test]
fn what_is_made_in_a_directory_with_a_default_list_gets_it() {
    let mut world = World::new();
    world.put(&["app/", "by-hand/"]);
    for path in ["app", "by-hand"] {
        setfacl(&["default"], &world.path(path));
    }
    let lines = ["file=1", "dir/sub/inner=1", "empty/"];
    // By hand: the kernel gives the list, a change of the mode changes the mask.
    for line in lines {
        super::world::make(&world.path("by-hand"), &[line]);
    }
    for (path, mode) in
        [("file", 0o644), ("dir/sub/inner", 0o644), ("dir", 0o755), ("dir/sub", 0o755), ("empty", 0o755)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(world.path("by-hand").join(path), mode).unwrap();
    }
    world.run("d-1", &lines).unwrap();
    let below = |root: &str| super::world::tree(&world.path(root));
    assert_eq!(below("app"), below("by-hand"));
    assert!(below("app")[Path::new("dir/sub")].matches("user:1234:rw-").count() == 2);
    let plan = world.plan("d-2", &lines).unwrap();
    assert_eq!(plan.changes().count(), 0, "{plan}");
    // An entry goes before that: exactly what it lists is there.
    let mut only = listed(&world.path("app/dir"), "**", "0750", &[]);
    only.target = PermissionTarget::Directories;
    world.permissions = vec![only, listed(&world.path("app"), "file", "0640", &["g:4321:r"])];
    world.run("d-3", &lines).unwrap();
    assert_eq!(acl(&world.path("app/file"), "access"), "user::rw-,group::r--,group:4321:r--,mask::r--,other::---");
    assert_eq!(
        (acl(&world.path("app/dir/sub"), "access"), acl(&world.path("app/dir/sub"), "default")),
        Default::default()
    );
    // Nothing is made there that would get it from the directory any more.
    assert_eq!(acl(&world.path("app/dir/sub/inner"), "access"), "");
    assert!(acl(&world.path("app/empty"), "default").contains("user:1234"));
}

/// The mask is for named users; the owning group must not have it for a moment.
#[test]
fn the_owning_group_never_gets_what_the_mask_allows() {
    let lines = ["dir/inner=1"];
    let install = |world: &mut World, acls: &[&str]| {
        let mut entry = listed(&world.path("app"), "dir", "0700", acls);
        entry.target = PermissionTarget::Directories;
        world.permissions = vec![entry];
        world.run("d-2", &lines)
    };
    let fresh = |acls: &[&str]| {
        let mut world = World::new();
        install(&mut world, acls).unwrap();
        world
    };
    for (old, new) in [(&[][..], &["u:1234:rwx", "m::rwx"][..]), (&["u:1234:rwx", "m::rwx"], &[])] {
        let (old_tree, new_tree) = (fresh(old).tree(), fresh(new).tree());
        let (mut at, mut changed) = (0, 0);
        loop {
            let mut world = fresh(old);
            let (result, seen) = fault::run(Some((at, 5)), true, || install(&mut world, new));
            let group = world.mode("app/dir") & 0o070;
            let list = acl(&world.path("app/dir"), "access");
            assert!(group == 0 || list.contains("group::---"), "{group:o} {list} {seen:?}");
            changed += usize::from(world.tree() != old_tree);
            world.settle().unwrap();
            assert!([&old_tree, &new_tree].contains(&&world.tree()), "{seen:?}");
            if result.is_ok() {
                break;
            }
            at += 1;
        }
        assert!(at > 10 && changed > 3, "{at} {changed}");
    }
}

#[test]
fn mistakes_in_lists_are_found_in_planning() {
    let mut world = World::new();
    let app = world.path("app");
    world.permissions = vec![
        listed(&app, "a", "0640", &["u:no-such-user-anywhere:r", "g:no-such-group-anywhere:r"]),
        listed(&app, "b", "0640", &["root:r", "u:0:r"]),
        listed(&app, "dir", "0640", &["d:root:r"]),
        listed(&app.join("dir"), "*", "0640", &["d:root:r"]),
        listed(&app.join("c"), "**", "0640", &["d:root:r"]),
        listed(&app, "d", "0640", &["u:4294967295:r"]),
    ];
    let error = world.run("d-1", &["a=1", "b=1", "dir/one=1", "dir/two=1", "c=1", "d=1"]).unwrap_err();
    let text = error.to_string();
    for part in [
        "no user \"no-such-user-anywhere\"",
        "no group \"no-such-group-anywhere\"",
        "`user:root:r--` and `user:0:r--` in `acls` are for the same account",
        "no user \"4294967295\"",
        "app/dir/one; give these an entry of their own with `type: [directory]`",
        "`object` is a file, but `acls` holds default entries",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let found = conflicts(error);
    assert_eq!(found.len(), 6, "{found:?}");
    assert_eq!(found.iter().filter(|one| matches!(one, Conflict::DefaultAclOnFile { .. })).count(), 1);
    assert!(!world.path("app").exists());
}

#[test]
fn what_the_mask_takes_away_is_said() {
    let mut world = World::new();
    for (acls, warned) in [
        (&["u:1234:rwx"][..], Some("gives user:1234:rwx, but the mask of")),
        (&["u:1234:rwx", "m::rwx"], None),
        (&["u:1234:r"], None),
        (&["d:g:1234:rwx"], Some("add an entry such as `d:m::rwx`")),
    ] {
        let mut entry = listed(&world.path("app"), "dir", "0750", acls);
        entry.target = PermissionTarget::Directories;
        world.permissions = vec![entry];
        let warnings = world.plan("d-1", &["dir/x=1"]).unwrap().warnings;
        assert_eq!(warnings.len(), usize::from(warned.is_some()), "{acls:?}: {warnings:?}");
        assert!(warned.is_none_or(|part| warnings[0].contains(part)), "{warnings:?}");
    }
}

#[test]
fn a_file_system_that_keeps_no_lists_is_found_in_planning() {
    let mut world = World::new();
    let Some(_mounted) = Mounted::new(&["-t", "ramfs", "ramfs"], &world.path("plain")) else { return };
    world.destination = world.path("plain/app");
    world.permissions = vec![listed(&world.path("plain/app"), "**", "0640", &["u:1234:r"])];
    let error = world.run("d-1", &["a=1", "dir/b=1", "c=1"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("mounted on {} keeps none", world.path("plain").display())), "{text}");
    assert!(matches!(&conflicts(error)[..], [Conflict::NoAcls { .. }]));
    assert!(!world.path("plain/app").exists());
    // Without lists everything works there, and an empty list is none.
    for permissions in [vec![permission(&world.path("plain/app"), "**", "0640")], vec![]] {
        world.permissions = permissions;
        world.run("d-1", &["a=1", "c=1"]).unwrap();
    }
    world.permissions = vec![listed(&world.path("plain/app"), "**", "0640", &[])];
    world.run("d-2", &["a=1", "c=1"]).unwrap();
}

#[test]
fn a_plan_with_lists_is_shown_and_survives_json() {
    let mut world = World::new();
    let mut entry = listed(&world.path("app"), "dir", "0750", &["u:7:rx", "d:u:7:rx"]);
    entry.target = PermissionTarget::Directories;
    world.permissions = vec![entry];
    let plan = world.plan("d-1", &["dir/x=1"]).unwrap();
    let text = plan.to_string();
    let list = "user::rwx,user:7:r-x,group::r-x,mask::r-x,other::---";
    assert!(text.contains(&format!("acl {list} default acl {list}")), "{text}");
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<crate::plan::Plan>(&json).unwrap(), plan);
    // What was written before there were lists has none.
    let old: crate::plan::Attrs = serde_json::from_str(r#"{"uid":1,"gid":2,"mode":420}"#).unwrap();
    assert_eq!(old, crate::plan::Attrs::new(1, 2, 0o644));
    assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"uid":1,"gid":2,"mode":420}"#);
}
