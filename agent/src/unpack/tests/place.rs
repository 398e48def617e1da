//! From content to a revision in place.

use std::path::Path;

use super::*;
use crate::deployment::RelativePath;
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;
use crate::revision::Revision;

/// All that is beside the logs of a deployment: the revision, and the owners and digests of its files.
const REVISION: [&str; 3] = [".deployment-archive.attributes", ".deployment-archive.digests", "deployment-archive"];

struct Host {
    dir: tempfile::TempDir,
    layout: Layout,
    group: GroupId,
    deployment: DeploymentId,
    appspec: RelativePath,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            layout: Layout::new(dir.path().join("root")),
            dir,
            group: GroupId::parse("group").unwrap(),
            deployment: DeploymentId::parse("d-1").unwrap(),
            appspec: RelativePath::parse("appspec.yml").unwrap(),
        }
    }

    fn place(&self) -> Place<'_> {
        Place { layout: &self.layout, group: &self.group, deployment: &self.deployment, appspec: &self.appspec }
    }

    fn tar(&self, entries: &[Entry<'_>], scripts: &[&str]) -> Result<Staged, UnpackError> {
        let bundle = self.dir.path().join("bundle");
        std::fs::write(&bundle, tar(entries)).unwrap();
        self.put(Content::Bundle { path: &bundle, bundle_type: BundleType::Tar }, scripts)
    }

    fn put(&self, content: Content<'_>, scripts: &[&str]) -> Result<Staged, UnpackError> {
        let scripts = scripts.iter().map(|script| RelativePath::parse(script).unwrap()).collect();
        into_revision(content, &self.place(), &Policy::default(), |_| scripts, &StopSignal::default())
    }

    /// What is in the deployment's directory.
    fn left(&self) -> Vec<String> {
        let deployment = self.layout.deployment(&self.group, &self.deployment);
        let mut names: Vec<_> = std::fs::read_dir(deployment)
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }
}

#[test]
fn a_revision_is_put_in_place_and_nothing_else_is_left() {
    let host = Host::new();
    let staged = host.tar(&[file("appspec.yml", b"version: 0.0"), file("app", b"1")], &[]).unwrap();
    assert_eq!(staged.revision.root(), host.layout.archive(&host.group, &host.deployment));
    assert_eq!(std::fs::read(staged.revision.root().join("app")).unwrap(), b"1");
    assert_eq!((staged.report.entries, staged.report.bytes), (2, 13));
    assert_eq!(host.left(), REVISION);
}

#[test]
fn a_second_download_takes_the_place_of_the_first() {
    let host = Host::new();
    host.tar(&[file("appspec.yml", b"1"), file("old", b"1")], &[]).unwrap();
    let staged = host.tar(&[file("appspec.yml", b"2")], &[]).unwrap();
    assert!(!staged.revision.root().join("old").exists());
    assert_eq!(host.left(), REVISION);
}

#[test]
fn an_error_leaves_nothing_and_keeps_what_was_there() {
    let host = Host::new();
    host.tar(&[file("first", b"1"), file("../escape", b"2")], &[]).unwrap_err();
    assert_eq!(host.left(), Vec::<String>::new());
    host.tar(&[file("appspec.yml", b"1")], &[]).unwrap();
    host.tar(&[file("first", b"1"), file("first/below", b"2")], &[]).unwrap_err();
    assert_eq!(host.left(), REVISION);
    assert!(host.layout.archive(&host.group, &host.deployment).join("appspec.yml").exists());
}

#[test]
fn a_single_directory_with_the_appspec_is_stripped() {
    let host = Host::new();
    let narrow = Entry { mode: 0o700, ..directory("repository-abc/") };
    let staged = host.tar(&[narrow, file("repository-abc/appspec.yaml", b"1")], &[]).unwrap();
    assert!(staged.revision.root().join("appspec.yaml").is_file());
    assert_eq!(std::fs::metadata(staged.revision.root()).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(host.left(), REVISION);
    for entries in [
        vec![file("only/other", b"1")],
        vec![file("only/appspec.yml", b"1"), file("second", b"1")],
        vec![link(EntryType::Symlink, "only", "/etc")],
    ] {
        let root = host.tar(&entries, &[]).unwrap().revision.root().to_owned();
        assert!(root.join("only").symlink_metadata().is_ok(), "{:?}", entries[0].name);
    }
}

/// As the Finder packs a directory, and macOS's tar.
#[test]
fn what_macos_adds_beside_the_single_directory_is_left_out() {
    let host = Host::new();
    let entries = [
        file("app/appspec.yml", b"1"),
        file("app/._kept", b"1"),
        file("__MACOSX/._app", b"1"),
        file("__MACOSX/app/._appspec.yml", b"1"),
        file("._app", b"1"),
        file(".DS_Store", b"1"),
    ];
    let staged = host.tar(&entries, &[]).unwrap();
    let names = |root: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(staged.revision.root()), ["._kept", "appspec.yml"]);
    assert_eq!(host.left(), REVISION);
    let [warning @ UnpackWarning::OfMacOs(named)] = &staged.report.warnings[..] else { panic!("{:?}", staged.report) };
    assert_eq!(named.total, 3);
    assert!(warning.to_string().contains("__MACOSX"), "{warning}");
    // Beside an AppSpec at the top they are files like any other.
    let staged = host.tar(&[file("appspec.yml", b"1"), file("__MACOSX/._a", b"1")], &[]).unwrap();
    assert_eq!(names(staged.revision.root()), ["__MACOSX", "appspec.yml"]);
    assert_eq!(staged.report.warnings, []);
    // Nor is anything left out where there is no single directory.
    let staged = host.tar(&[file("a/appspec.yml", b"1"), file("b/x", b"1"), file("__MACOSX/x", b"1")], &[]).unwrap();
    assert_eq!(names(staged.revision.root()), ["__MACOSX", "a", "b"]);
}

/// The archive gives its directory to somebody, who could put other scripts there.
#[test]
fn the_root_of_a_stripped_revision_is_this_processes_own() {
    let host = Host::new();
    let staged = host.tar(&[directory("app/"), file("app/appspec.yml", b"1")], &[]).unwrap();
    let root = std::fs::metadata(staged.revision.root()).unwrap();
    assert_eq!(root.uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn a_revision_that_something_is_mounted_in_is_not_replaced() {
    let host = Host::new();
    let staged = host.tar(&[file("appspec.yml", b"1"), file("data/x", b"1")], &[]).unwrap();
    let precious = host.dir.path().join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("db"), "x").unwrap();
    let point = staged.revision.root().join("data");
    let Some(mounted) = crate::disk::Mounted::bind(&precious, &point) else { return };
    let error = host.tar(&[file("appspec.yml", b"2")], &[]).unwrap_err().to_string();
    assert!(error.contains(&format!("umount {}", point.display())), "{error}");
    assert_eq!(std::fs::read(staged.revision.root().join("appspec.yml")).unwrap(), b"1");
    assert!(precious.join("db").exists());
    drop(mounted);
    host.tar(&[file("appspec.yml", b"2")], &[]).unwrap();
    assert!(precious.join("db").exists());
}

#[test]
fn an_appspec_of_another_name_is_looked_for_where_it_says() {
    let mut host = Host::new();
    host.appspec = RelativePath::parse("deploy/production.yml").unwrap();
    let staged = host.tar(&[file("top/deploy/production.yml", b"1")], &[]).unwrap();
    assert!(staged.revision.root().join("deploy/production.yml").is_file());
    let staged = host.tar(&[file("deploy/production.yml", b"1")], &[]).unwrap();
    assert!(staged.revision.root().join("deploy/production.yml").is_file());
}

#[test]
fn scripts_become_executable_before_the_revision_is_in_place() {
    let host = Host::new();
    let ready = Entry { mode: 0o755, ..file("scripts/ready", b"") };
    let outside = link(EntryType::Symlink, "scripts/soft", "../../../../bundle");
    let entries = [file("appspec.yml", b"1"), file("scripts/plain", b""), ready, outside];
    let scripts = ["scripts/plain", "scripts/ready", "scripts/missing", "scripts/soft", "scripts", "appspec.yml/x"];
    let staged = host.tar(&entries, &scripts).unwrap();
    let changed: Vec<_> = staged.made_executable.iter().map(ToString::to_string).collect();
    assert_eq!(changed, ["scripts/plain"]);
    let mode = |name: &str| std::fs::metadata(staged.revision.root().join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("scripts/plain"), mode("scripts/ready")), (0o750, 0o755));
    let bundle = std::fs::metadata(host.dir.path().join("bundle")).unwrap();
    assert_eq!(bundle.mode() & 0o111, 0);
}

/// Whoever owns the directory could put a list beside it that gives files to anybody, with set-id bits.
#[test]
fn a_users_directory_becomes_this_processs_own_and_a_list_beside_it_is_not_read() {
    let host = Host::new();
    let source = host.dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("appspec.yml"), b"version: 0.0").unwrap();
    std::fs::write(source.join("run"), b"#!/bin/sh").unwrap();
    std::fs::set_permissions(source.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let beside = Revision::at(&source).attributes();
    let mut list = crate::store::AttributeList::begin(&beside, crate::store::Origin::Unpacked).unwrap();
    let given = crate::store::Given { mode: 0o4755, uid: 0, gid: 4711 };
    list.add(Path::new("run"), 0o755, given).unwrap();
    list.publish(Path::new("")).unwrap();
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o777)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(source.join("appspec.yml"), Some(4711), Some(4712)).unwrap();
    }
    let staged = host.put(Content::Directory(&source), &[]).unwrap();
    let attributes = Attributes::read(&staged.revision.attributes()).unwrap().unwrap();
    let root = Dir::open(staged.revision.root()).unwrap();
    for name in ["appspec.yml", "run"] {
        let stat = root.stat(name).unwrap();
        assert_eq!((stat.uid, stat.mode & 0o7022), (rustix::process::geteuid().as_raw(), 0), "{name}");
    }
    let mut run = root.stat("run").unwrap();
    attributes.apply(Path::new("run"), &mut run);
    assert_eq!((run.mode, run.gid), (0o755, rustix::process::getegid().as_raw()));
}

#[test]
fn a_directory_of_this_host_is_copied_as_it_is() {
    let host = Host::new();
    let source = host.dir.path().join("source");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    std::fs::write(source.join("appspec.yml"), b"version: 0.0").unwrap();
    std::fs::write(source.join("sub/run"), vec![7; 300_000]).unwrap();
    std::fs::set_permissions(source.join("sub/run"), std::fs::Permissions::from_mode(0o751)).unwrap();
    std::os::unix::fs::symlink("/nowhere", source.join("sub/link")).unwrap();
    let staged = host.put(Content::Directory(&source), &[]).unwrap();
    let root = staged.revision.root();
    let (from, to) = (source.join("sub/run").metadata().unwrap(), root.join("sub/run").metadata().unwrap());
    assert_eq!(std::fs::read(root.join("sub/run")).unwrap(), vec![7; 300_000]);
    assert_eq!((from.mode(), from.mtime(), from.mtime_nsec()), (to.mode(), to.mtime(), to.mtime_nsec()));
    assert_ne!(from.ino(), to.ino());
    assert_eq!(std::fs::read_link(root.join("sub/link")).unwrap(), Path::new("/nowhere"));

    nix::unistd::mkfifo(&source.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = host.put(Content::Directory(&source), &[]).unwrap_err();
    assert!(matches!(&error, UnpackError::Special { entry, .. } if entry == "pipe"), "{error}");
    let error = host.put(Content::Directory(&host.dir.path().join("missing")), &[]).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn every_failure_of_the_disk_leaves_the_old_revision() {
    let bundle = [file("appspec.yml", b"new"), directory("d/"), file("d/x", b"1")];
    let host = Host::new();
    host.tar(&[file("appspec.yml", b"old")], &[]).unwrap();
    let archive = host.layout.archive(&host.group, &host.deployment).join("appspec.yml");
    let (result, seen) = disk::fault::run(None, false, || host.tar(&bundle, &["d/x"]));
    result.unwrap();
    assert!(seen.len() > 10, "{seen:?}");
    host.tar(&[file("appspec.yml", b"old")], &[]).unwrap();
    for at in 0..seen.len() {
        let (result, _) = disk::fault::run(Some((at, 28)), false, || host.tar(&bundle, &["d/x"]));
        let content = std::fs::read(&archive).unwrap();
        if result.is_ok() {
            assert_eq!(content, b"new", "failure {at}");
            host.tar(&[file("appspec.yml", b"old")], &[]).unwrap();
        } else {
            assert!(content == b"old" || content == b"new", "failure {at}");
            host.tar(&[file("appspec.yml", b"old")], &[]).unwrap();
        }
    }
    assert_eq!(host.left(), REVISION);
}

/// A file system of 2 MiB, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let options = ["-t", "tmpfs", "-o", "size=2m", "none"];
        let status = std::process::Command::new("mount").args(options).arg(disk.0.path()).status().unwrap();
        assert!(status.success());
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status().unwrap();
        assert!(status.success());
    }
}

#[test]
fn a_full_disk_says_what_was_needed_and_what_there_was() {
    if !rustix::process::geteuid().is_root() {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: only root can mount a small file system\n"),
        );
        return;
    }
    let disk = SmallDisk::mount();
    let mut host = Host::new();
    host.layout = Layout::new(disk.0.path().join("root"));
    host.tar(&[file("appspec.yml", b"old")], &[]).unwrap();
    let big = vec![1; 3 << 20];
    let small = vec![1; 100 << 10];
    let many: Vec<_> = (0..30).map(|n| format!("f{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| file(name, &small)).collect();
    let bundle = host.dir.path().join("compressed");
    for (bytes, bundle_type) in [
        (tar(&[file("big", &big)]), BundleType::Tar),
        (gzip(&tar(&[file("big", &big)])), BundleType::Tgz),
        (zstd::stream::encode_all(&tar(&[file("big", &big)])[..], 1).unwrap(), BundleType::Tar),
        (zstd::stream::encode_all(&tar(&many)[..], 1).unwrap(), BundleType::Tar),
        (
            zip(|writer| {
                writer.start_file("big", SimpleFileOptions::default()).unwrap();
                writer.write_all(&big).unwrap();
            }),
            BundleType::Zip,
        ),
    ] {
        std::fs::write(&bundle, bytes).unwrap();
        let error = host.put(Content::Bundle { path: &bundle, bundle_type }, &[]).unwrap_err();
        let UnpackError::NoSpace { needed, available, .. } = error else { panic!("{error}") };
        assert!(needed > 0 && available <= 2 << 20, "{needed} {available}");
        assert_eq!(host.left(), REVISION);
    }
    assert_eq!(std::fs::read(host.layout.archive(&host.group, &host.deployment).join("appspec.yml")).unwrap(), b"old");
}
