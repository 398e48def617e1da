#![allow(clippy::disallowed_methods)]

mod genuine;
mod hostile;
mod place;
mod truncated;

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use ::tar::{EntryType, Header};
use ::zip::write::SimpleFileOptions;

use super::*;
use crate::store::Origin;

/// A directory with a bundle in it and an empty `staging` beside that; and one for the list of owners and modes.
struct Scene(tempfile::TempDir, tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("staging")).unwrap();
        Self(dir, tempfile::tempdir().unwrap())
    }

    fn with(bundle: &[u8]) -> Self {
        let scene = Self::new();
        std::fs::write(scene.path("bundle"), bundle).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn staged(&self, name: &str) -> PathBuf {
        self.path("staging").join(name)
    }

    fn unpack(&self, bundle_type: BundleType, policy: &Policy) -> Result<UnpackReport, UnpackError> {
        let mut list = AttributeList::begin(&self.list(), Origin::Unpacked).unwrap();
        let task = Task { policy, stop: StopSignal::default(), list: Some(&mut list) };
        let report = unpack_as(&self.path("bundle"), bundle_type, Dir::open(self.path("staging")).unwrap(), task)?;
        list.publish(Path::new("")).unwrap();
        Ok(report)
    }

    fn list(&self) -> PathBuf {
        self.1.path().join("attributes")
    }

    /// What is installed of an entry: mode, user and group.
    fn given(&self, name: impl AsRef<Path>) -> (u32, u32, u32) {
        let mut stat = Dir::open(self.path("staging")).unwrap().stat(name.as_ref()).unwrap();
        let attributes = Attributes::read(&self.list()).unwrap().unwrap();
        attributes.apply(name.as_ref(), &mut stat);
        (stat.mode, stat.uid, stat.gid)
    }
}

fn unpacked(bundle: &[u8], bundle_type: BundleType) -> Scene {
    let scene = Scene::with(bundle);
    scene.unpack(bundle_type, &Policy::default()).unwrap();
    scene
}

fn refused(bundle: &[u8], bundle_type: BundleType) -> UnpackError {
    refused_by(bundle, bundle_type, &Policy::default())
}

fn refused_by(bundle: &[u8], bundle_type: BundleType, policy: &Policy) -> UnpackError {
    Scene::with(bundle).unpack(bundle_type, policy).unwrap_err()
}

/// One entry of a tar archive; the name and the target are written as they are, past the library's
/// own checks.
struct Entry<'a> {
    kind: EntryType,
    name: &'a str,
    content: &'a [u8],
    target: &'a str,
    mode: u32,
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Entry<'a> {
    Entry { kind: EntryType::Regular, name, content, target: "", mode: 0o640 }
}

fn directory(name: &str) -> Entry<'_> {
    Entry { kind: EntryType::Directory, name, content: b"", target: "", mode: 0o750 }
}

fn link<'a>(kind: EntryType, name: &'a str, target: &'a str) -> Entry<'a> {
    Entry { kind, name, content: b"", target, mode: 0o777 }
}

impl Entry<'_> {
    fn append(&self, builder: &mut ::tar::Builder<Vec<u8>>) {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..self.name.len()].copy_from_slice(self.name.as_bytes());
        header.as_old_mut().linkname[..self.target.len()].copy_from_slice(self.target.as_bytes());
        header.set_entry_type(self.kind);
        header.set_size(self.content.len() as u64);
        header.set_mode(self.mode);
        header.set_uid(4711);
        header.set_gid(4712);
        header.set_mtime(1_600_000_000);
        header.set_cksum();
        builder.append(&header, self.content).unwrap();
    }
}

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    entries.iter().for_each(|entry| entry.append(&mut builder));
    builder.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zip(build: impl FnOnce(&mut ::zip::ZipWriter<std::io::Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    build(&mut writer);
    writer.finish().unwrap().into_inner()
}

fn usual_tar() -> Vec<u8> {
    tar(&[
        directory("./"),
        directory("app/"),
        file("app/run", b"#!/bin/sh\n"),
        link(EntryType::Symlink, "app/current", "/srv/elsewhere"),
        link(EntryType::Link, "app/again", "app/run"),
        file("deep/er/without/directory/entries", b"x"),
        file("empty", b""),
    ])
}

fn assert_usual(scene: &Scene) {
    assert_eq!(std::fs::read(scene.staged("app/run")).unwrap(), b"#!/bin/sh\n");
    assert_eq!(std::fs::read_link(scene.staged("app/current")).unwrap(), PathBuf::from("/srv/elsewhere"));
    assert_eq!(std::fs::read(scene.staged("deep/er/without/directory/entries")).unwrap(), b"x");
    assert_eq!(std::fs::read(scene.staged("empty")).unwrap(), b"");
    let run = std::fs::metadata(scene.staged("app/run")).unwrap();
    assert_eq!(run.mtime(), 1_600_000_000);
    assert_eq!((run.permissions().mode() & 0o7777, scene.given("app/run").0), (0o640, 0o640));
    let implicit = std::fs::metadata(scene.staged("deep/er")).unwrap();
    assert_eq!(implicit.permissions().mode() & 0o7777, 0o755);
}

#[test]
fn tar_in_every_wrapping_keeps_what_it_holds() {
    let plain = usual_tar();
    let mut zstd = zstd::stream::encode_all(&plain[..], 19).unwrap();
    for (bundle, bundle_type) in [
        (plain.clone(), BundleType::Tar),
        (gzip(&plain), BundleType::Tgz),
        (gzip(&plain), BundleType::Tar),
        (std::mem::take(&mut zstd), BundleType::Tar),
    ] {
        let scene = unpacked(&bundle, bundle_type);
        assert_usual(&scene);
        let run = std::fs::metadata(scene.staged("app/run")).unwrap();
        assert_eq!(run.ino(), std::fs::metadata(scene.staged("app/again")).unwrap().ino());
        let app = std::fs::metadata(scene.staged("app")).unwrap();
        assert_eq!((app.mode() & 0o7777, app.mtime()), (0o750, 1_600_000_000));
        if rustix::process::geteuid().is_root() {
            let link = std::fs::symlink_metadata(scene.staged("app/current")).unwrap();
            assert_eq!([run.uid(), app.uid(), link.uid(), run.gid(), app.gid(), link.gid()], [0; 6]);
            for (name, mode) in [("app/run", 0o640), ("app/again", 0o640), ("app", 0o750), ("app/current", 0o777)] {
                assert_eq!(scene.given(name), (mode, 4711, 4712), "{name}");
            }
            assert_eq!(link.mtime(), 1_600_000_000);
        }
    }
}

#[test]
fn zip_keeps_what_it_holds() {
    let time = ::zip::DateTime::from_date_and_time(2020, 9, 13, 12, 26, 40).unwrap();
    for method in [::zip::CompressionMethod::Stored, ::zip::CompressionMethod::Deflated] {
        let bundle = zip(|writer| {
            let options = SimpleFileOptions::default().compression_method(method).last_modified_time(time);
            writer.add_directory("app/", options.unix_permissions(0o750)).unwrap();
            writer.start_file("app/run", options.unix_permissions(0o640)).unwrap();
            writer.write_all(b"#!/bin/sh\n").unwrap();
            writer.add_symlink("app/current", "/srv/elsewhere", options).unwrap();
            writer.start_file("deep/er/without/directory/entries", options).unwrap();
            writer.write_all(b"x").unwrap();
            writer.start_file("empty", options).unwrap();
        });
        assert_usual(&unpacked(&bundle, BundleType::Zip));
    }
}

#[test]
fn long_and_foreign_names_are_kept() {
    use std::os::unix::ffi::OsStrExt;
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let raw = std::ffi::OsStr::from_bytes(b"latin-\xe4");
    let mut builder = ::tar::Builder::new(Vec::new());
    for name in [std::ffi::OsStr::new(&long), raw, std::ffi::OsStr::new(r"dev-disk\x2dlabel.swap")] {
        let mut header = Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &b"x"[..]).unwrap();
    }
    let scene = unpacked(&builder.into_inner().unwrap(), BundleType::Tar);
    assert!(scene.staged(&long).is_file());
    assert!(scene.path("staging").join(raw).is_file());
    assert!(scene.staged(r"dev-disk\x2dlabel.swap").is_file());
}

#[test]
fn extended_headers_give_names_times_and_owners() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let name = "é".repeat(120);
    builder
        .append_pax_extensions([("path", name.as_bytes()), ("mtime", b"1600000000.5".as_slice()), ("uid", b"70000")])
        .unwrap();
    file("short", b"content").append(&mut builder);
    let scene = unpacked(&builder.into_inner().unwrap(), BundleType::Tar);
    let found = std::fs::metadata(scene.staged(&name)).unwrap();
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_600_000_000, 500_000_000));
    if rustix::process::geteuid().is_root() {
        assert_eq!((found.uid(), scene.given(&name).1), (0, 70000));
    }
}

#[test]
fn the_comment_of_git_archive_is_passed_over() {
    let comment = b"52 comment=0123456789012345678901234567890123456789\n";
    let global = Entry { kind: EntryType::XGlobalHeader, ..file("pax_global_header", comment) };
    let scene = unpacked(&tar(&[global, file("a", b"1")]), BundleType::Tar);
    assert_eq!(std::fs::read_dir(scene.path("staging")).unwrap().count(), 1);
}

#[test]
fn set_id_bits_need_the_owner_that_they_are_for() {
    let special = Entry { mode: 0o4755, ..file("tool", b"x") };
    let mode = |scene: &Scene| {
        assert_eq!(std::fs::metadata(scene.staged("tool")).unwrap().mode() & 0o7777, 0o755);
        scene.given("tool").0
    };
    let bundle = tar(&[special]);
    let kept = if rustix::process::geteuid().is_root() { 0o4755 } else { 0o755 };
    assert_eq!(mode(&unpacked(&bundle, BundleType::Tar)), kept);
    let scene = Scene::with(&bundle);
    scene.unpack(BundleType::Tar, &Policy { ownership: Ownership::Own, ..Policy::default() }).unwrap();
    assert_eq!(mode(&scene), 0o755);
    let options = SimpleFileOptions::default().unix_permissions(0o4755);
    let scene = unpacked(&zip(|writer| writer.start_file("tool", options).unwrap()), BundleType::Zip);
    assert_eq!(mode(&scene), 0o755);
}

/// Whatever the archive says, and however it comes to an entry.
#[test]
fn nothing_of_the_tree_is_anybody_elses_to_change() {
    let wide = |entry: Entry<'static>, mode| Entry { mode, ..entry };
    let bundle = tar(&[
        wide(directory("dir/"), 0o2777),
        wide(file("dir/script", b"#!/bin/sh\n"), 0o6777),
        link(EntryType::Link, "dir/again", "dir/script"),
        link(EntryType::Symlink, "dir/link", "script"),
        wide(file("twice", b"1"), 0o666),
        wide(file("twice", b"2"), 0o640),
        wide(directory("then/"), 0o777),
        wide(file("then", b"3"), 0o664),
        wide(directory("closed/"), 0o555),
        wide(directory("closed/"), 0o755),
    ]);
    let scene = unpacked(&bundle, BundleType::Tar);
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for name in ["dir", "dir/script", "dir/again", "dir/link", "twice", "then", "closed"] {
        let stat = std::fs::symlink_metadata(scene.staged(name)).unwrap();
        assert_eq!((stat.uid(), stat.gid()), own, "{name}");
        assert!(stat.is_symlink() || stat.mode() & 0o7022 == 0, "{name}: {:o}", stat.mode());
    }
    if rustix::process::geteuid().is_root() {
        let modes = ["dir", "dir/script", "twice", "then", "closed"].map(|name| scene.given(name));
        assert_eq!(modes.map(|(_, uid, gid)| (uid, gid)), [(4711, 4712); 5]);
        assert_eq!(modes.map(|(mode, ..)| mode), [0o2777, 0o6777, 0o640, 0o664, 0o755]);
    }
}

#[test]
fn the_type_is_told_by_the_content() {
    let (plain, zip) = (usual_tar(), zip(|writer| writer.start_file("a", SimpleFileOptions::default()).unwrap()));
    let zstd = zstd::stream::encode_all(&plain[..], 1).unwrap();
    for (bundle, bundle_type, named) in [
        (&plain, BundleType::Tgz, "a tar archive without compression"),
        (&plain, BundleType::Zip, "a tar archive"),
        (&zip, BundleType::Tar, "a zip archive"),
        (&zip, BundleType::Tgz, "a zip archive"),
        (&gzip(&plain), BundleType::Zip, "a gzip file"),
        (&zstd, BundleType::Tgz, "a zstd file"),
        (&b"<?xml version=\"1.0\"?><Error/>".to_vec(), BundleType::Zip, "an XML document"),
        (&b"\n<!DOCTYPE HTML><html>".to_vec(), BundleType::Tgz, "captive portal"),
        (&b"\xfd7zXZ\0......".to_vec(), BundleType::Tar, "xz"),
        (&b"BZh91AY&SY......".to_vec(), BundleType::Tar, "bzip2"),
        (&Vec::new(), BundleType::Tar, "empty"),
        (&b"hello".to_vec(), BundleType::Tar, "neither tar"),
    ] {
        let error = refused(bundle, bundle_type);
        assert!(matches!(error, UnpackError::WrongType { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn an_empty_archive_is_an_empty_revision() {
    let report = Scene::with(&[0; 1024]).unpack(BundleType::Tar, &Policy::default()).unwrap();
    assert_eq!(report, UnpackReport::default());
}
