//! Archives by other people's programs, and what those programs themselves unpack of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::*;

/// Kind, mode, owner, group, and content or target.
type Seen = (char, u32, u32, u32, Vec<u8>);

fn walk(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            let (kind, content) = if stat.is_symlink() {
                ('l', std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes())
            } else if stat.is_dir() {
                folders.push(path.clone());
                ('d', Vec::new())
            } else {
                ('f', std::fs::read(&path).unwrap())
            };
            let path = path.strip_prefix(root).unwrap().to_owned();
            seen.insert(path, (kind, stat.mode() & 0o7777, stat.uid(), stat.gid(), content));
        }
    }
    seen
}

/// Runs a line of shell in the scene's directory.
fn shell(scene: &Scene, line: &str) -> bool {
    let output = Command::new("sh").args(["-euc", line]).current_dir(scene.path("")).output().unwrap();
    if !output.status.success() {
        eprintln!("{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

pub(super) fn lacks(program: &str) -> bool {
    let lacks = !Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if lacks {
        let _ = std::io::stderr().write_all(format!("skipped: there is no {program}\n").as_bytes());
    }
    lacks
}

/// Unpacks `bundle` by this crate and by GNU tar as AWS's agent runs it, and holds the trees to each other.
fn as_tar_does(scene: &Scene, bundle_type: BundleType) -> UnpackReport {
    std::fs::create_dir(scene.path("theirs")).unwrap();
    assert!(shell(scene, "tar -xpf bundle -C theirs"), "tar itself refuses it");
    let report = scene.unpack(bundle_type, &Policy::default()).unwrap();
    let (theirs, mut ours) = (walk(&scene.path("theirs")), walk(&scene.path("staging")));
    for (path, seen) in &mut ours {
        (seen.1, seen.2, seen.3) = scene.given(path);
    }
    assert!(!theirs.is_empty());
    assert_eq!(ours, theirs);
    report
}

#[test]
fn every_format_of_gnu_tar_is_unpacked_as_tar_itself_does() {
    for options in [
        "--format=v7",
        "--format=oldgnu",
        "--format=gnu",
        "--format=ustar",
        "--format=posix",
        "-V 'Build 42'",
        "-V 'Build 42' --format=posix",
        "--format=posix --pax-option='comment:=built\nby ci,exthdr.name=%d/x\n%f'",
        "--format=posix --owner=daemon:4711 --group=daemon:4712",
        "--format=gnu --owner=no-such-user:4711 --group=no-such-group:4712",
        "--format=gnu --owner=daemon:4711 --group=no-such-group:4712",
        "--format=gnu --numeric-owner --owner=4711 --group=4712",
        "--listed-incremental=list --format=gnu",
        "--listed-incremental=list --format=posix",
        "--sparse --format=gnu",
        "--sparse --sparse-version=0.0 --format=posix",
        "--sparse --sparse-version=0.1 --format=posix",
        "--sparse --sparse-version=1.0 --format=posix",
        "-P --transform='s,^\\./,/srv/app/,'",
    ] {
        let scene = Scene::new();
        assert!(shell(
            &scene,
            "umask 022; mkdir -p tree/dir/empty tree/many; echo x > tree/dir/file; ln -s ../elsewhere tree/dir/link; \
             ln tree/dir/file tree/dir/again; printf begin > tree/holes; \
             printf middle | dd of=tree/holes bs=1 seek=100000 conv=notrunc status=none; truncate -s 300000 tree/holes; \
             for n in $(seq 60); do printf $n | dd of=tree/many/holes bs=4096 seek=$((2 * n)) conv=notrunc status=none; done; \
             chmod 4755 tree/dir/file",
        ));
        assert!(shell(&scene, &format!("tar -cf bundle {options} -C tree .")), "{options}");
        let report = as_tar_does(&scene, BundleType::Tar);
        assert_eq!(report.warnings, [], "{options}");
    }
}

/// A pax record: its key and value.
type Record<'a> = (&'a str, &'a [u8]);

#[test]
fn names_and_comments_with_line_ends_acls_and_capabilities_are_unpacked_as_tar_does() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let global = b"23 comment=built\nby ci\n";
    Entry { kind: EntryType::XGlobalHeader, ..file("pax_global_header", global) }.append(&mut builder);
    let acl = b"user::rw-\nuser:daemon:r--\ngroup::r--\nmask::r--\nother::r--\n".as_slice();
    let capability = b"\x01\0\0\x02\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice();
    let described: [(&str, [Record<'_>; 2]); 4] = [
        ("acl", [("SCHILY.acl.access", acl), ("mtime", b"1600000000.5")]),
        ("capability", [("SCHILY.xattr.security.capability", capability), ("uid", b"4713")]),
        ("comment", [("comment", b"one\ntwo\n"), ("size", b"1")]),
        ("name", [("comment", b"\n"), ("path", "né\nw".as_bytes())]),
    ];
    for (name, records) in described {
        builder.append_pax_extensions(records).unwrap();
        file(name, b"x").append(&mut builder);
    }
    let scene = Scene::with(&builder.into_inner().unwrap());
    let report = as_tar_does(&scene, BundleType::Tar);
    assert!(scene.staged("né\nw").is_file());
    let named = Named { names: vec!["acl".to_owned(), "capability".to_owned()], total: 2 };
    assert_eq!(report.warnings, [UnpackWarning::Privileges(named)]);
    assert_eq!(std::fs::metadata(scene.staged("acl")).unwrap().mtime_nsec(), 500_000_000);
}

/// One name in several entries, as `tar czf app.tgz appspec.yml dist .` and overlays have it.
#[test]
fn of_several_entries_for_one_path_the_last_one_is_unpacked_as_tar_does() {
    let soft = |name, target| link(EntryType::Symlink, name, target);
    let hard = |name, target| link(EntryType::Link, name, target);
    for (entries, repeated) in [
        (vec![file("a", b"1"), file("./a", b"2"), file("b", b"3")], 1),
        (vec![file("d/a", b"1"), file("d/b", b"2"), directory("d"), file("d/a", b"3"), file("d/b", b"4")], 2),
        (vec![file("a", b"long before"), file("a", b""), file("a", b"3")], 2),
        // Another name of the first one keeps what that was.
        (vec![file("a", b"1"), hard("b", "a"), file("a", b"2")], 1),
        (vec![file("a", b"1"), file("b", b"2"), hard("b", "a")], 1),
        (vec![file("a", b"1"), hard("a", "a"), hard("b", "a"), hard("b", "a")], 0),
        // Kinds that change.
        (vec![file("a", b"1"), soft("a", "b"), file("b", b"2")], 1),
        (vec![soft("a", "b"), file("a", b"1")], 1),
        (vec![soft("a", "b"), soft("a", "c")], 1),
        (vec![file("a", b"1"), directory("a"), file("a/b", b"2")], 1),
        (vec![soft("a", "b"), directory("a"), file("a/b", b"2")], 1),
        (vec![directory("a"), file("a", b"1")], 1),
        (vec![directory("a"), soft("a", "b")], 1),
        (vec![directory("a"), file("b", b"1"), hard("a", "b")], 1),
        (vec![directory("a/b"), soft("a/b", "c"), directory("a/b"), file("a/b/c", b"1")], 2),
        // Directories have always been allowed to come again.
        (vec![directory("a"), file("a/b", b"1"), Entry { mode: 0o700, ..directory("a") }], 0),
    ] {
        let shown: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.name)).collect();
        let scene = Scene::with(&tar(&entries));
        let report = as_tar_does(&scene, BundleType::Tar);
        let warned = match &report.warnings[..] {
            [] => 0,
            [UnpackWarning::Repeated(named)] => named.total,
            other => panic!("{shown:?}: {other:?}"),
        };
        assert_eq!(warned, repeated, "{shown:?}");
        for (path, digest) in &report.digests {
            use sha2::Digest as _;
            let content = std::fs::read(scene.staged(path.to_str().unwrap())).unwrap();
            assert_eq!(digest.0, <[u8; 32]>::from(sha2::Sha256::digest(content)), "{shown:?}: {path:?}");
            assert!(!scene.staged(path.to_str().unwrap()).is_symlink(), "{shown:?}: {path:?}");
        }
    }
}

#[test]
fn what_would_have_to_be_in_one_place_twice_is_refused_by_tar_too() {
    for entries in [
        vec![file("a/b", b"1"), file("a", b"2")],
        vec![file("a/b", b"1"), link(EntryType::Symlink, "a", "b")],
        vec![file("a/b", b"1"), link(EntryType::Link, "a", "a/b")],
        vec![file("a", b"1"), file("a/b", b"2")],
    ] {
        let shown: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.name)).collect();
        let scene = Scene::with(&tar(&entries));
        assert!(!shell(&scene, "mkdir theirs; tar -xpf bundle -C theirs"), "{shown:?}");
        let error = scene.unpack(BundleType::Tar, &Policy::default()).unwrap_err();
        assert!(matches!(error, UnpackError::Covers { .. } | UnpackError::Through { .. }), "{shown:?}: {error}");
    }
}

#[test]
fn a_gzip_that_is_filled_up_with_zeros_is_whole() {
    for zeros in [1, 512, 10_240, 1 << 20] {
        let scene = Scene::with(&[gzip(&usual_tar()), vec![0; zeros]].concat());
        as_tar_does(&scene, BundleType::Tgz);
    }
    let error = refused(&[gzip(&usual_tar()), b"\0\0more".to_vec()].concat(), BundleType::Tgz);
    assert!(error.to_string().contains("bytes that are not gzip follow"), "{error}");
}

/// Makes a zip of names, the system that made each, and attributes, which `zipfile` would fill in by itself.
const PYTHON: &str = r#"
import sys, zipfile
archive = zipfile.ZipFile("bundle", "w")
for line in sys.stdin.read().splitlines():
    system, attributes, content, name = line.split(" ", 3)
    info = zipfile.ZipInfo("placeholder", (2026, 1, 2, 3, 4, 6))
    archive.writestr(info, content)
    info = archive.infolist()[-1]
    info.filename, info.orig_filename = name, name
    info.create_system, info.external_attr = int(system), int(attributes, 0)
archive.close()
"#;

/// A zip whose central directory says so; `unzip` and this crate go by that.
fn python_zip(scene: &Scene, lines: &[&str]) {
    let mut python = Command::new("python3")
        .args(["-W", "ignore", "-c", PYTHON])
        .current_dir(scene.path(""))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    assert!(python.wait().unwrap().success());
}

/// Unpacks by this crate and by `unzip` as AWS's agent runs it, and holds the trees to each other.
fn as_unzip_does(scene: &Scene) -> UnpackReport {
    // Its status is 1 where it warns.
    assert!(shell(scene, "umask 022; mkdir theirs; unzip -qo bundle -d theirs 2>/dev/null || [ $? = 1 ]"));
    let report = scene.unpack(BundleType::Zip, &Policy::default()).unwrap();
    let without_set_id = |tree: BTreeMap<PathBuf, Seen>| -> BTreeMap<PathBuf, Seen> {
        tree.into_iter().map(|(path, seen)| (path, (seen.0, seen.1 & 0o1777, seen.2, seen.3, seen.4))).collect()
    };
    let (theirs, ours) = (walk(&scene.path("theirs")), walk(&scene.path("staging")));
    assert!(!theirs.is_empty());
    assert_eq!(ours, without_set_id(theirs));
    report
}

#[test]
fn zips_of_every_system_are_unpacked_as_unzip_does() {
    if lacks("python3") || lacks("unzip") {
        return;
    }
    let scene = Scene::new();
    python_zip(
        &scene,
        &[
            // Windows, DOS and Java: no modes, but attributes; some tools store a mode all the same.
            "0 0 x plain",
            "0 0x20 x archive",
            "0 0x21 x read-only",
            "0 0x10  folder/",
            "0 0 x folder/file",
            "0 0x81a00000 x mode-0640",
            "0 0x81ff0000 x mode-0777",
            "0 0xa1ff0000 x mode-of-a-link",
            "10 0x20 x ntfs",
            "14 0x20 x vfat",
            r"0 0x20 x back\slash\file.txt",
            // Unix.
            "3 0x81ed0000 x script",
            "3 0x89ed0000 x set-id",
            "3 0x81800000 x private",
            "3 0xa1ff0000 script link",
            "3 0x41c00000  closed/",
            r"3 0x81a40000 x unix\backslash",
            "3 0x81a40000 x /srv/absolute",
            "0 0 x //two/slashes",
        ],
    );
    let report = as_unzip_does(&scene);
    assert_eq!(report.warnings, []);
    let mode = |name: &str| std::fs::metadata(scene.staged(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("plain"), mode("folder"), mode("archive"), mode("script")), (0o644, 0o755, 0o644, 0o755));
    assert!(scene.staged("back/slash/file.txt").is_file() && scene.staged(r"unix\backslash").is_file());
}

#[test]
fn a_zip_that_was_made_on_windows_has_paths_with_backslashes() {
    if lacks("python3") {
        return;
    }
    let scene = Scene::new();
    python_zip(&scene, &[r"0 0x10  app\", r"0 0x20 x app\bin\run.cmd", r"10 0x20 y app/bin\other", r"11 0 z \root"]);
    scene.unpack(BundleType::Zip, &Policy::default()).unwrap();
    for name in ["app/bin/run.cmd", "app/bin/other", "root"] {
        assert!(scene.staged(name).is_file(), "{name}");
    }
    for name in [r"..\..\outside", r"a\..\..\outside", r"a/..\b"] {
        let scene = Scene::new();
        python_zip(&scene, &[&format!("0 0 x {name}")]);
        let policy = Policy { parents: Parents::Refused, ..Policy::default() };
        let error = scene.unpack(BundleType::Zip, &policy).unwrap_err();
        assert!(matches!(error, UnpackError::Path { problem: PathProblem::Parent, .. }), "{error}");
    }
}

#[test]
fn of_several_entries_of_a_zip_the_last_one_is_unpacked_as_unzip_does() {
    if lacks("python3") || lacks("unzip") {
        return;
    }
    for (lines, repeated) in [
        (&["3 0x81a40000 1 a", "3 0x81a40000 2 META-INF/LICENSE", "3 0x81ed0000 3 META-INF/LICENSE"][..], "LICENSE"),
        (
            &["3 0x81a40000 1 a", "3 0x81a40000 2 b", "3 0x81ed0000 3 a", "3 0x81ed0000 4 b", "3 0x81ed0000 5 a"],
            "\"b\"",
        ),
        (&["3 0x81a40000 1 a", "3 0x81a40000 2 ./a"], "./a"),
        (&["3 0x81a40000 1 a", "0 0 2 /a"], "/a"),
    ] {
        let scene = Scene::new();
        python_zip(&scene, lines);
        let report = as_unzip_does(&scene);
        let [warning @ UnpackWarning::Repeated(named)] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
        assert!(warning.to_string().contains(repeated), "{warning}");
        assert!(named.total >= 1);
        let digests: std::collections::BTreeSet<_> = report.digests.iter().map(|(path, _)| path).collect();
        assert_eq!(digests.len(), report.digests.len(), "{:?}", report.digests);
    }
}

#[test]
fn what_zip_itself_packs_is_unpacked_as_unzip_does() {
    if lacks("zip") || lacks("unzip") {
        return;
    }
    let scene = Scene::new();
    assert!(shell(
        &scene,
        "umask 022; mkdir -p tree/dir/empty; echo x > tree/dir/file; ln -s file tree/dir/link; chmod 640 tree/dir/file; \
         chmod 700 tree/dir/empty; echo é > tree/é; (cd tree; zip -qry ../archive.zip .); mv archive.zip bundle",
    ));
    assert_eq!(as_unzip_does(&scene).warnings, []);
}
