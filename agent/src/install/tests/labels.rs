//! SELinux labels and the host's rules for them. The labels are real, in the attribute where SELinux looks for
//! them; the rules are those of a stand-in, since the real `semanage` needs a policy that it can build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::filesystems::Mounted;
use super::world::{World, conflicts, is_root, permission, skipped};
use crate::appspec::{PermissionEntry, PermissionTarget, SelinuxContext};
use crate::disk::fault;
use crate::install::{self, Additions, InstallError, Installed};
use crate::plan::{Change, Conflict, PathExpression};
use crate::process::{self, stand_ins};

const SEMANAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/install/tests/semanage.sh");

/// A host with labels.
struct Host {
    world: World,
    programs: PathBuf,
}

impl Host {
    /// Where labels can be had.
    fn new() -> Option<Self> {
        if !is_root() {
            return None;
        }
        let world = World::new();
        if std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - selinuxfs ") {
            skipped("this host has a policy of its own, which the labels of these tests are not in");
            return None;
        }
        let set = rustix::fs::lsetxattr(
            world.path(""),
            "security.selinux",
            b"system_u:object_r:tmp_t:s0\0",
            rustix::fs::XattrFlags::empty(),
        );
        if let Err(error) = set {
            skipped(&format!("the file system of temporary files keeps no labels: {error}"));
            return None;
        }
        let programs = world.temp.path().join("programs");
        std::fs::create_dir(&programs).unwrap();
        // A link: a program that was just written cannot be started while another test's child has it open.
        std::os::unix::fs::symlink(SEMANAGE, programs.join("semanage")).unwrap();
        Some(Self { world, programs })
    }

    fn with<T>(&self, work: impl FnOnce(&World) -> T) -> T {
        stand_ins::with(&self.programs, || work(&self.world))
    }

    fn run(&self, deployment: &str, lines: &[&str]) -> Result<Installed, InstallError> {
        self.with(|world| world.run(deployment, lines))
    }

    /// What `semanage` keeps, by path below the targets.
    fn rules(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.programs.join("rules")).unwrap_or_default();
        let own = PathExpression::of(&self.world.path("")).to_string();
        let line = |line: &str| {
            let (paths, label) = line.split_once(' ').unwrap();
            (paths.trim_start_matches(&own).to_owned(), label.to_owned())
        };
        text.lines().map(line).collect()
    }

    fn write_rule(&self, path: &str, label: &str) {
        let paths = PathExpression::of(&self.world.path(path));
        std::fs::write(self.programs.join("rules"), format!("{paths} {label}\n")).unwrap();
    }

    /// How often rules were changed.
    fn changes(&self) -> usize {
        let calls = std::fs::read_to_string(self.programs.join("calls")).unwrap_or_default();
        calls.lines().filter(|line| *line == "import").count()
    }

    fn label(&self, path: &str) -> String {
        label(&self.world.path(path))
    }

    /// Everything that an install sets, labels included.
    fn state(&self) -> (BTreeMap<PathBuf, String>, BTreeMap<String, String>) {
        let mut tree = self.world.tree();
        for (path, shown) in &mut tree {
            let path = self.world.path("").join(path);
            if !path.is_symlink() {
                *shown += &label(&path);
            }
        }
        (tree, self.rules())
    }

    fn drift(&self) -> Vec<(PathBuf, String)> {
        let audit = install::audit(&self.world.layout, &self.world.group, Additions::Passed).unwrap().unwrap();
        let shown = |drifted: install::Drifted| (drifted.path, serde_json::to_string(&drifted.differences).unwrap());
        audit.drift.into_iter().map(shown).collect()
    }
}

/// The label of a path; none is empty.
fn label(path: &Path) -> String {
    let mut buffer = [0; 256];
    match rustix::fs::lgetxattr(path, "security.selinux", &mut buffer) {
        Ok(length) => String::from_utf8(buffer[..length].to_vec()).unwrap(),
        Err(rustix::io::Errno::NODATA) => String::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn set_label(path: &Path, label: &str) {
    let label = format!("{label}\0");
    rustix::fs::lsetxattr(path, "security.selinux", label.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
}

fn labelled(object: &Path, pattern: &str, kind: &str) -> PermissionEntry {
    let context = SelinuxContext { user: None, kind: kind.to_owned(), range: None };
    PermissionEntry { context: Some(context), mode: None, ..permission(object, pattern, "0644") }
}

const HTTPD: &str = "system_u:object_r:httpd_t:s0";
const ETC: &str = "system_u:object_r:etc_t:s0";

#[test]
fn a_label_is_given_with_its_rule_and_goes_with_the_revision() {
    let Some(mut host) = Host::new() else { return };
    let lines = ["a.conf=1", "dir/inner=1", "dir/with space=1", "plain=1"];
    let mut user = labelled(&host.world.path("app"), "a.conf", "etc_t");
    user.context =
        Some(SelinuxContext { user: Some("staff_u".into()), kind: "etc_t".into(), range: Some("s0-s1:c0.c3".into()) });
    host.world.permissions = vec![user, labelled(&host.world.path("app/dir"), "**", "httpd_t")];
    host.run("d-1", &lines).unwrap();
    assert_eq!(host.label("app/a.conf"), "staff_u:object_r:etc_t:s0-s1:c0.c3\0");
    assert_eq!(host.label("app/dir/inner"), format!("{HTTPD}\0"));
    assert_eq!(host.label("app/plain"), "");
    let rule = |path: &str, label: &str| (path.to_owned(), label.to_owned());
    let expected = [
        rule("app/a\\.conf", "staff_u:object_r:etc_t:s0-s1:c0.c3"),
        rule("app/dir/inner", HTTPD),
        rule("app/dir/with\\x20space", HTTPD),
    ];
    assert_eq!(host.rules(), BTreeMap::from(expected));
    assert_eq!(host.changes(), 1);
    assert_eq!(host.drift(), []);
    // What is as it should be is left alone.
    let inode = host.world.inode("app/a.conf");
    let plan = host.with(|world| world.plan("d-2", &lines)).unwrap();
    assert!(plan.changes().count() == 0 && plan.rules.is_empty(), "{plan}");
    host.run("d-2", &lines).unwrap();
    assert_eq!((host.world.inode("app/a.conf"), host.changes()), (inode, 1));
    host.run("d-3", &[]).unwrap();
    assert_eq!(host.rules(), BTreeMap::new());
}

#[test]
fn another_label_replaces_a_file_and_changes_a_directory() {
    let Some(mut host) = Host::new() else { return };
    let lines = ["file=1", "dir/inner=1"];
    let all = labelled(&host.world.path("app"), "**", "httpd_t");
    host.world.permissions = vec![all];
    host.run("d-1", &lines).unwrap();
    host.world.permissions = vec![labelled(&host.world.path("app"), "**", "etc_t")];
    let plan = host.with(|world| world.plan("d-2", &lines)).unwrap();
    let changes: Vec<_> = plan.changes().map(|step| step.change).collect();
    assert_eq!(changes, [Change::Attributes, Change::Replace, Change::Replace], "{plan}");
    host.run("d-2", &lines).unwrap();
    for path in ["app/file", "app/dir", "app/dir/inner"] {
        assert_eq!(host.label(path), format!("{ETC}\0"), "{path}");
        assert_eq!(host.rules()[path], ETC);
    }
    // Without the entry they get what is made there gets: here, nothing that anybody set.
    host.world.permissions.clear();
    set_label(&host.world.path("app"), "system_u:object_r:srv_t:s0");
    host.run("d-3", &lines).unwrap();
    assert_eq!((host.label("app/dir"), host.label("app/file")), ("system_u:object_r:srv_t:s0\0".into(), String::new()));
    assert_eq!(host.rules(), BTreeMap::new());
    let plan = host.with(|world| world.plan("d-4", &lines)).unwrap();
    assert_eq!(plan.changes().count(), 0, "{plan}");
    // And what somebody labels by hand then is theirs.
    set_label(&host.world.path("app/file"), ETC);
    let plan = host.with(|world| world.plan("d-4", &lines)).unwrap();
    assert_eq!((plan.changes().count(), host.drift()), (0, vec![]), "{plan}");
}

#[test]
fn another_label_than_was_given_is_drift_and_is_put_right() {
    let Some(mut host) = Host::new() else { return };
    let lines = ["file=1", "dir/", "plain=1"];
    host.world.permissions = vec![
        labelled(&host.world.path("app/file"), "**", "httpd_t"),
        PermissionEntry { target: PermissionTarget::Directories, ..labelled(&host.world.path("app"), "*", "httpd_t") },
    ];
    host.run("d-1", &lines).unwrap();
    for path in ["app/file", "app/dir", "app/plain"] {
        set_label(&host.world.path(path), ETC);
    }
    let differences = format!(r#"[{{"what":"label","was":"{HTTPD}","is":"{ETC}"}}]"#);
    let expected = ["app/dir", "app/file"].map(|path| (host.world.path(path), differences.clone()));
    assert_eq!(host.drift(), expected);
    host.run("d-2", &lines).unwrap();
    assert_eq!((host.label("app/file"), host.label("app/dir")), (format!("{HTTPD}\0"), format!("{HTTPD}\0")));
    assert_eq!(host.drift(), []);
}

#[test]
fn what_semanage_refuses_undoes_everything_and_is_quoted() {
    let Some(mut host) = Host::new() else { return };
    host.run("d-1", &["file=1"]).unwrap();
    let before = host.state();
    host.world.permissions = vec![labelled(&host.world.path("app/file"), "**", "no_such_t")];
    let error = host.run("d-2", &["file=2", "new=2"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("ValueError: Type no_such_t is invalid"), "{text}");
    assert!(text.contains("everything was put back"), "{text}");
    assert_eq!(host.state(), before);
    host.world.assert_no_transactions();
    // A host whose rules cannot be read is found in planning.
    std::fs::write(host.programs.join("unreadable"), "").unwrap();
    let text = host.run("d-2", &["file=2"]).unwrap_err().to_string();
    assert!(text.contains("SELinux policy is not managed") && !text.contains("put back"), "{text}");
    assert_eq!(host.state(), before);
}

#[test]
fn a_change_of_rules_that_is_cut_off_is_undone() {
    let Some(mut host) = Host::new() else { return };
    host.world.permissions = vec![labelled(&host.world.path("app"), "**", "httpd_t")];
    host.run("d-1", &["file=1", "other=1"]).unwrap();
    let before = host.state();
    host.world.permissions = vec![labelled(&host.world.path("app"), "**", "etc_t")];
    std::fs::write(host.programs.join("dies"), "").unwrap();
    // It dies in the undo too, so that this cannot be finished either.
    let text = host.run("d-2", &["file=2", "third=2"]).unwrap_err().to_string();
    assert!(text.contains("signal 9 ended it") && text.contains("slipway-agent recover"), "{text}");
    std::fs::remove_file(host.programs.join("dies")).unwrap();
    let settled = host.with(World::settle).unwrap();
    assert!(settled.len() == 1 && settled[0].drift.is_empty(), "{settled:?}");
    assert_eq!(host.state(), before);
}

#[test]
fn the_rule_of_somebody_else_is_changed_with_a_warning_and_put_back() {
    let Some(mut host) = Host::new() else { return };
    let theirs = "system_u:object_r:var_t:s0";
    host.write_rule("app/file", theirs);
    host.world.permissions = vec![labelled(&host.world.path("app/file"), "**", "httpd_t")];
    let plan = host.with(|world| world.plan("d-1", &["file=1"])).unwrap();
    assert!(plan.warnings.iter().any(|warning| warning.contains(theirs)), "{:?}", plan.warnings);
    // Everything after the rule fails.
    let (_, seen) = host.with(|_| fault::run(None, false, || host.world.run("d-1", &["file=1"])));
    let at = seen.iter().position(|call| *call == "semanage").unwrap() + 1;
    host.run("d-2", &[]).unwrap();
    assert_eq!(host.rules(), BTreeMap::new());
    host.write_rule("app/file", theirs);
    let (result, _) = host.with(|_| fault::run(Some((at, 5)), false, || host.world.run("d-3", &["file=1"])));
    assert!(result.is_err());
    assert_eq!(host.rules()["app/file"], theirs);
    host.run("d-4", &["file=1"]).unwrap();
    assert_eq!(host.rules()["app/file"], HTTPD);
    // What somebody makes of it after that is theirs again.
    host.write_rule("app/file", theirs);
    let warnings = host.run("d-5", &[]).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("stays: somebody else changed it")), "{warnings:?}");
    assert_eq!(host.rules()["app/file"], theirs);
}

const OLD: [&str; 4] = ["file=1", "gone=1", "dir/inner=1", "plain=1"];
const NEW: [&str; 4] = ["file=2", "dir/inner=1", "plain=2", "fresh/new=2"];

/// A host with labels on everything, which another revision changes, removes and adds.
fn old_host() -> Option<Host> {
    let mut host = Host::new()?;
    host.world.permissions = vec![labelled(&host.world.path("app"), "**", "httpd_t")];
    host.run("d-1", &OLD).unwrap();
    host.world.permissions =
        vec![labelled(&host.world.path("app"), "*", "etc_t"), labelled(&host.world.path("app/fresh"), "**", "bin_t")];
    Some(host)
}

#[test]
fn labels_and_rules_are_the_old_or_the_new_ones_after_a_death_anywhere() {
    let Some(host) = old_host() else { return };
    let old = host.state();
    let (result, seen) = host.with(|world| fault::run(None, false, || world.run("d-2", &NEW)));
    result.unwrap();
    let new = host.state();
    for kind in ["set label", "semanage"] {
        assert!(seen.contains(&kind), "{kind}: {seen:?}");
    }
    assert!(old.1.len() == 5 && new.1.len() == 5 && old.1 != new.1, "{old:?} {new:?}");
    let (mut olds, mut news) = (0, 0);
    for (at, call) in seen.iter().enumerate() {
        // An error is undone by the same code: a sample of it will do.
        for then_dead in [true, false].into_iter().filter(|dead| *dead || at % 4 == 0) {
            let Some(host) = old_host() else { return };
            let context = format!("{call} of {at}, dead: {then_dead}");
            let (result, _) = host.with(|world| fault::run(Some((at, 5)), then_dead, || world.run("d-2", &NEW)));
            host.with(World::settle).unwrap();
            let state = host.state();
            host.world.assert_no_transactions();
            let is_new = state.1 == new.1;
            assert_eq!(&state, if is_new { &new } else { &old }, "{context}");
            assert!(then_dead || result.is_ok() == is_new, "{context}: {result:?}");
            if is_new { news += 1 } else { olds += 1 }
        }
    }
    println!("{} mutations: {olds} old, {news} new", seen.len());
    assert!(olds > 40 && news > 10, "{olds} {news} {seen:?}");
}

#[test]
fn a_host_without_semanage_is_told_so_before_anything_changes() {
    if process::find_program("semanage").is_some() {
        skipped("this host has a semanage");
        return;
    }
    let mut world = World::new();
    world.permissions = vec![labelled(&world.path("app/a"), "**", "httpd_t")];
    let error = world.run("d-1", &["a=1", "b=1"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("line 8: `context` needs the command `semanage`"), "{text}");
    assert!(matches!(&conflicts(error)[..], [Conflict::NoSemanage { .. }]));
    assert!(!world.path("app").exists());
    // A host that lost it still deploys; what it cannot remove it names.
    let Some(mut host) = Host::new() else { return };
    host.world.permissions = vec![labelled(&host.world.path("app/a"), "**", "httpd_t")];
    host.run("d-1", &["a=1"]).unwrap();
    host.world.permissions.clear();
    let warnings = host.world.run("d-2", &["a=1"]).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("no `semanage` that could remove them")), "{warnings:?}");
    assert_eq!(host.label("app/a"), "");
}

#[test]
fn a_file_system_that_keeps_no_labels_is_found_in_planning() {
    let Some(mut host) = Host::new() else { return };
    let Some(_mounted) = Mounted::new(&["-t", "ramfs", "ramfs"], &host.world.path("plain")) else { return };
    host.world.destination = host.world.path("plain/app");
    host.world.permissions = vec![labelled(&host.world.path("plain/app"), "**", "httpd_t")];
    let error = host.run("d-1", &["a=1", "dir/b=1"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("mounted on {} keeps none", host.world.path("plain").display())), "{text}");
    assert!(matches!(&conflicts(error)[..], [Conflict::NoLabels { .. }]));
    assert_eq!(host.changes(), 0);
}

#[test]
fn another_agent_finds_the_rules_and_its_own_are_taken_over() {
    let Some(mut host) = Host::new() else { return };
    host.world.permissions = vec![labelled(&host.world.path("app/a.conf"), "**", "httpd_t")];
    host.run("d-1", &["a.conf=1", "plain=1"]).unwrap();
    let cleanup = host.world.layout.cleanup_file(&host.world.group);
    let path = host.world.path("app");
    let path = path.display();
    let expected = format!("{path}\n{path}/a.conf\nsemanage\0{path}/a.conf\n{path}/plain\n");
    assert_eq!(std::fs::read_to_string(&cleanup).unwrap(), expected);
    // That agent makes rules of bare paths; ours is there once more when it has gone.
    let Some(mut host) = Host::new() else { return };
    host.world.put(&["app/a.conf=1", "app/b=1"]);
    let path = host.world.path("app");
    let path = path.display();
    std::fs::write(host.programs.join("rules"), format!("{path}/a.conf {HTTPD}\n{path}/b {HTTPD}\n")).unwrap();
    let list = format!("{path}\n{path}/a.conf\nsemanage\0{path}/a.conf\n{path}/b\nsemanage\0{path}/b\n");
    std::fs::write(host.world.layout.cleanup_file(&host.world.group), list).unwrap();
    host.world.permissions = vec![labelled(&host.world.path("app/b"), "**", "etc_t")];
    host.run("d-1", &["b=2"]).unwrap();
    assert_eq!(host.rules(), BTreeMap::from([("app/b".to_owned(), ETC.to_owned())]));
    assert!(!host.world.path("app/a.conf").exists());
}
