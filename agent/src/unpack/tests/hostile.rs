//! Archives that were made to do harm.

use super::*;

fn outside_is_untouched(entries: &[Entry<'_>]) -> UnpackError {
    beside_outside(entries).1.unwrap_err()
}

/// Unpacks beside a directory that nothing of the bundle may touch.
fn beside_outside(entries: &[Entry<'_>]) -> (Scene, Result<UnpackReport, UnpackError>) {
    let scene = Scene::with(&tar(entries));
    std::fs::create_dir(scene.path("outside")).unwrap();
    std::fs::write(scene.path("outside/file"), b"precious").unwrap();
    let result = scene.unpack(BundleType::Tar, &Policy::default());
    let outside = scene.path("outside/file");
    assert_eq!(std::fs::read(&outside).unwrap(), b"precious");
    let stat = std::fs::metadata(&outside).unwrap();
    assert!(stat.nlink() == 1 && stat.uid() == rustix::process::geteuid().as_raw(), "{stat:?}");
    assert_eq!(std::fs::read_dir(scene.path("outside")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(scene.path("")).unwrap().count(), 3, "{result:?}");
    (scene, result)
}

#[test]
fn paths_that_leave_the_revision_are_refused_and_named() {
    for (name, problem) in [
        ("../outside/new", PathProblem::Parent),
        ("a/../../outside/new", PathProblem::Parent),
        ("a/..", PathProblem::Parent),
        ("..", PathProblem::Parent),
        ("/..", PathProblem::Parent),
        ("/tmp/../../slipway-must-not-exist", PathProblem::Parent),
    ] {
        let error = outside_is_untouched(&[file("first", b"1"), file(name, b"2")]);
        assert!(matches!(&error, UnpackError::Path { problem: found, .. } if *found == problem), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        let options = SimpleFileOptions::default();
        let bundle = zip(|writer| {
            writer.start_file("placeholder-".repeat(name.len()).get(..name.len()).unwrap(), options).unwrap();
        });
        let strict = Policy { parents: Parents::Refused, ..Policy::default() };
        let error = refused_by(&renamed(bundle, name), BundleType::Zip, &strict);
        assert!(matches!(&error, UnpackError::Path { problem: found, .. } if *found == problem), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(!std::path::Path::new("/tmp/slipway-must-not-exist").exists());
}

#[test]
fn each_dot_dot_of_a_zip_is_dropped_as_unzip_does_and_told() {
    let options = SimpleFileOptions::default();
    for (name, expected) in
        [("../outside/new", "outside/new"), ("a/../../outside/new", "a/outside/new"), ("a/../b", "a/b"), ("/../x", "x")]
    {
        let placeholder = "placeholder-".repeat(name.len());
        let bundle = zip(|writer| writer.start_file(placeholder.get(..name.len()).unwrap(), options).unwrap());
        let bundle = renamed(bundle, name);
        let scene = Scene::with(&bundle);
        let report = scene.unpack(BundleType::Zip, &Policy::default()).unwrap();
        let [UnpackWarning::Parents(named)] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
        assert_eq!(named.names, [name]);
        assert!(scene.staged(expected).is_file(), "{name}");
        if !super::genuine::lacks("unzip") {
            std::fs::write(scene.path("bundle.zip"), &bundle).unwrap();
            let mut unzip = std::process::Command::new("unzip");
            unzip.args(["-qo", "bundle.zip", "-d", "theirs"]).current_dir(scene.path("")).output().unwrap();
            assert!(scene.path("theirs").join(expected).is_file(), "{name}");
        }
    }
    // A file of which no name is left.
    let bundle = zip(|writer| writer.start_file("pl", options).unwrap());
    let error = refused(&renamed(bundle, ".."), BundleType::Zip);
    assert!(matches!(error, UnpackError::Path { problem: PathProblem::Empty, .. }), "{error}");
}

#[test]
fn an_absolute_path_is_one_below_the_revision() {
    let scene = Scene::with(&tar(&[
        file("//tmp/slipway-must-not-exist", b"1"),
        link(EntryType::Link, "/tmp/again", "/tmp/slipway-must-not-exist"),
        directory("/"),
    ]));
    scene.unpack(BundleType::Tar, &Policy::default()).unwrap();
    assert_eq!(std::fs::read(scene.staged("tmp/slipway-must-not-exist")).unwrap(), b"1");
    assert_eq!(std::fs::read(scene.staged("tmp/again")).unwrap(), b"1");
    assert!(!std::path::Path::new("/tmp/slipway-must-not-exist").exists());
}

/// Writes a name of the same length over the only entry's, in both places where a zip has it: the
/// library would not let such a name be written.
fn renamed(mut zip: Vec<u8>, name: &str) -> Vec<u8> {
    let placeholder = "placeholder-".repeat(name.len());
    let placeholder = &placeholder.as_bytes()[..name.len()];
    let places: Vec<_> = (0..zip.len() - name.len()).filter(|at| zip[*at..].starts_with(placeholder)).collect();
    let places: Vec<_> = places.into_iter().filter(|at| *at >= 30 && is_name(&zip, *at)).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        zip[at..at + name.len()].copy_from_slice(name.as_bytes());
    }
    zip
}

fn is_name(zip: &[u8], at: usize) -> bool {
    zip[at - 30..].starts_with(b"PK\x03\x04") || (at >= 46 && zip[at - 46..].starts_with(b"PK\x01\x02"))
}

#[test]
fn nothing_is_written_through_a_symlink() {
    for target in ["../outside", "/", ".", "elsewhere"] {
        let error = outside_is_untouched(&[
            link(EntryType::Symlink, "way", target),
            directory("elsewhere/"),
            file("way/file", b"evil"),
        ]);
        assert!(matches!(&error, UnpackError::Through { through, .. } if through == "way"), "{error}");
        assert!(error.to_string().contains("way/file"), "{error}");
    }
    // What comes again takes the place of the link, and is behind no link any more.
    let soft = |target| link(EntryType::Symlink, "way", target);
    for (entries, written) in [
        (vec![soft("../outside/file"), file("way", b"ours")], "way"),
        (vec![soft("../outside"), directory("way/"), file("way/file", b"ours")], "way/file"),
        (vec![soft("../outside"), file("way", b"x"), directory("way/"), file("way/file", b"ours")], "way/file"),
        (vec![soft("../outside/file"), file("other", b"ours"), link(EntryType::Link, "way", "other")], "way"),
    ] {
        let (scene, result) = beside_outside(&entries);
        result.unwrap();
        let found = scene.staged(written);
        assert!(!found.is_symlink() && std::fs::read(&found).unwrap() == b"ours", "{written}");
    }
    for entries in [
        vec![file("way", b"x"), soft("../outside"), file("way/file", b"evil")],
        vec![soft("/etc"), soft("../outside"), file("way/file", b"evil")],
        vec![directory("way/"), soft("../outside"), file("way/file", b"evil")],
        vec![soft("../outside"), directory("way/"), soft("../outside"), file("way/file", b"evil")],
        vec![
            directory("way/sub/"),
            link(EntryType::Symlink, "way/sub", "../../outside"),
            file("way/sub/file", b"evil"),
        ],
    ] {
        let error = outside_is_untouched(&entries);
        assert!(matches!(error, UnpackError::Through { .. }), "{error}");
    }
    let error = outside_is_untouched(&[file("way/sub", b"x"), soft("../outside"), file("way/file", b"evil")]);
    assert!(matches!(error, UnpackError::Covers { .. }), "{error}");
    let options = SimpleFileOptions::default();
    let bundle = zip(|writer| {
        writer.add_symlink("way", "/tmp", options).unwrap();
        writer.start_file("way/slipway-must-not-exist", options).unwrap();
    });
    let error = refused(&bundle, BundleType::Zip);
    assert!(matches!(error, UnpackError::Through { .. }), "{error}");
}

#[test]
fn hard_links_reach_only_earlier_files_of_the_bundle() {
    for target in ["../outside/file", "/etc/passwd", "later", "dir", "soft", "soft-dir/file", ""] {
        let error = outside_is_untouched(&[
            directory("dir/"),
            link(EntryType::Symlink, "soft", "../outside/file"),
            link(EntryType::Symlink, "soft-dir", "../outside"),
            link(EntryType::Link, "hard", target),
            file("later", b"1"),
        ]);
        assert!(matches!(error, UnpackError::HardLink { .. }), "{target}: {error}");
    }
}

#[test]
fn devices_and_pipes_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let error = refused(&tar(&[Entry { kind, ..file("node", b"") }]), BundleType::Tar);
        assert!(matches!(&error, UnpackError::Special { entry, .. } if entry == "node"), "{error}");
    }
}

#[test]
fn a_file_and_a_directory_of_one_name_are_refused_where_both_would_have_to_stay() {
    let error = refused(&tar(&[file("a", b"1"), file("a/b", b"2")]), BundleType::Tar);
    assert!(matches!(error, UnpackError::Through { .. }), "{error}");
    for last in [file("a", b"2"), link(EntryType::Symlink, "a", "b"), link(EntryType::Link, "a", "a/b")] {
        let error = refused(&tar(&[file("a/b", b"1"), last]), BundleType::Tar);
        assert!(matches!(&error, UnpackError::Covers { entry } if entry == "a"), "{error}");
    }
    unpacked(&tar(&[directory("a/"), file("a/b", b"1"), directory("a/")]), BundleType::Tar);
}

#[test]
fn names_that_no_path_can_have_are_refused() {
    let long = "x".repeat(256);
    let deep = "d/".repeat(1600);
    let mut builder = ::tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", long.as_bytes())]).unwrap();
    file("short", b"").append(&mut builder);
    let error = refused(&builder.into_inner().unwrap(), BundleType::Tar);
    assert!(matches!(error, UnpackError::Path { problem: PathProblem::TooLong, .. }), "{error}");
    let mut builder = ::tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", deep.as_bytes())]).unwrap();
    file("short", b"").append(&mut builder);
    let error = refused(&builder.into_inner().unwrap(), BundleType::Tar);
    assert!(matches!(error, UnpackError::Path { problem: PathProblem::TooLong, .. }), "{error}");
    let mut builder = ::tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", b"nul\0name".as_slice())]).unwrap();
    file("short", b"").append(&mut builder);
    let error = refused(&builder.into_inner().unwrap(), BundleType::Tar);
    assert!(matches!(error, UnpackError::Path { problem: PathProblem::Nul, .. }), "{error}");
}

#[test]
fn bombs_end_at_their_caps() {
    let policy = |limits| Policy { limits, ..Policy::default() };
    let limits = Limits { entries: 3, depth: 4, bytes: 1000 };
    let is_limit = |error: &UnpackError, cap: u64| matches!(error, UnpackError::Limit { limit, .. } if *limit == cap);
    let zeros = vec![0; 1001];
    let error = refused_by(&gzip(&tar(&[file("zeros", &zeros)])), BundleType::Tgz, &policy(limits));
    assert!(is_limit(&error, 1000), "{error}");
    let half = vec![0; 501];
    let error = refused_by(&tar(&[file("one", &half), file("two", &half)]), BundleType::Tar, &policy(limits));
    assert!(is_limit(&error, 1000) && error.to_string().contains("\"two\""), "{error}");
    let many = [file("1", b""), file("2", b""), file("3", b""), file("4", b"")];
    let error = refused_by(&tar(&many), BundleType::Tar, &policy(limits));
    assert!(is_limit(&error, 3) && error.to_string().contains("\"4\""), "{error}");
    let error = refused_by(&tar(&[file("a/b/c/d", b"")]), BundleType::Tar, &policy(limits));
    assert!(is_limit(&error, 3), "directories without entries count: {error}");
    let deep = Limits { entries: 100, ..limits };
    let error = refused_by(&tar(&[file("a/b/c/d/e", b"")]), BundleType::Tar, &policy(deep));
    assert!(is_limit(&error, 4), "{error}");
    let bundle = zip(|writer| {
        writer.start_file("zeros", SimpleFileOptions::default()).unwrap();
        writer.write_all(&zeros).unwrap();
    });
    let error = refused_by(&bundle, BundleType::Zip, &policy(limits));
    assert!(is_limit(&error, 1000), "{error}");
}

#[test]
fn the_end_of_an_archive_is_no_place_for_a_bomb() {
    let mut bundle = tar(&[file("a", b"1")]);
    bundle.resize(bundle.len() + 100_000, 0);
    let policy = Policy { limits: Limits { bytes: 50_000, ..Limits::default() }, ..Policy::default() };
    let error = refused_by(&gzip(&bundle), BundleType::Tgz, &policy);
    assert!(matches!(error, UnpackError::Limit { .. }), "{error}");
}

#[test]
fn endless_names_are_not_kept_in_memory() {
    let name = "n/".repeat(2 << 20);
    let mut builder = ::tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", name.as_bytes())]).unwrap();
    file("short", b"").append(&mut builder);
    let error = refused(&builder.into_inner().unwrap(), BundleType::Tar);
    assert!(error.to_string().contains("longer than 1 MiB"), "{error}");
}

#[test]
fn a_zip_whose_list_of_entries_is_endless_is_refused() {
    let mut entry = b"PK\x01\x02".to_vec();
    entry.extend([0; 42]);
    let comment = 60_000_u16;
    entry[32..34].copy_from_slice(&comment.to_le_bytes());
    entry.extend(vec![b'c'; comment.into()]);
    let count = 500_u16;
    let mut bundle = b"PK\x03\x04".to_vec();
    bundle.extend([0; 26]);
    let start = bundle.len() as u32;
    for _ in 0..count {
        bundle.extend(&entry);
    }
    let size = bundle.len() as u32 - start;
    bundle.extend(b"PK\x05\x06\0\0\0\0");
    bundle.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    bundle.extend([size.to_le_bytes(), start.to_le_bytes()].concat());
    bundle.extend([0, 0]);
    let error = refused(&bundle, BundleType::Zip);
    assert!(matches!(error, UnpackError::Limit { .. }), "{error}");
}

#[test]
fn strict_policies_refuse_links_and_unsafe_modes() {
    let strict = Policy { symlinks: Symlinks::Refused, modes: Modes::UnsafeRefused, ..Policy::default() };
    let error = refused_by(&tar(&[link(EntryType::Symlink, "l", "target")]), BundleType::Tar, &strict);
    assert!(matches!(&error, UnpackError::Symlink { target, .. } if target == "target"), "{error}");
    for mode in [0o4755, 0o2755, 0o666] {
        let error = refused_by(&tar(&[Entry { mode, ..file("f", b"") }]), BundleType::Tar, &strict);
        assert!(matches!(error, UnpackError::UnsafeMode { mode: found, .. } if found == mode), "{error}");
    }
    let scene = Scene::with(&tar(&[Entry { mode: 0o1777, ..directory("shared/") }, file("f", b"")]));
    scene.unpack(BundleType::Tar, &strict).unwrap();
}

#[test]
fn lists_of_a_sparse_files_pieces_that_make_no_sense_are_refused() {
    let block = |text: &str| [text.as_bytes(), &vec![0; 512 - text.len()]].concat();
    for (records, content) in [
        (&[("GNU.sparse.major", "1")][..], block("0\n")),
        (&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "10")], block("1\n0\n")),
        (&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "10")], b"1\n0\n5".to_vec()),
        (&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "10")], block("99999999999999999999\n")),
        (&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "10")], [block("1\n8\n5\n"), b"12345".to_vec()].concat()),
        (&[("GNU.sparse.major", "2"), ("GNU.sparse.realsize", "10")], block("0\n")),
        (&[("GNU.sparse.map", "0,5,3,5"), ("GNU.sparse.size", "10")], b"1234567890".to_vec()),
        (&[("GNU.sparse.map", "0,5"), ("GNU.sparse.size", "10")], b"1234567890".to_vec()),
        (&[("GNU.sparse.map", "0,5,9"), ("GNU.sparse.size", "10")], b"12345".to_vec()),
        (&[("GNU.sparse.map", "18446744073709551615,5"), ("GNU.sparse.size", "10")], b"12345".to_vec()),
    ] {
        let mut builder = ::tar::Builder::new(Vec::new());
        builder.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_bytes()))).unwrap();
        file("GNUSparseFile.0/f", &content).append(&mut builder);
        let error = refused(&builder.into_inner().unwrap(), BundleType::Tar);
        assert!(matches!(error, UnpackError::Damaged { .. } | UnpackError::Truncated(_)), "{records:?}: {error}");
    }
    // A hole of a terabyte counts as what it would take.
    let records: [(&str, &[u8]); 2] = [("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"1099511627776")];
    let mut builder = ::tar::Builder::new(Vec::new());
    builder.append_pax_extensions(records).unwrap();
    file("f", b"1").append(&mut builder);
    let error = refused(&builder.into_inner().unwrap(), BundleType::Tar);
    assert!(matches!(error, UnpackError::Limit { .. }), "{error}");
}

/// Makes a header's checksum right again, so that what was changed is looked at.
fn seal(block: &mut [u8]) {
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    header.set_cksum();
    block.copy_from_slice(header.as_bytes());
}

#[test]
fn whatever_a_header_says_nothing_is_written_elsewhere() {
    let tar = usual_tar();
    let options = SimpleFileOptions::default();
    let zip = zip(|writer| {
        writer.add_directory("d/", options).unwrap();
        writer.add_symlink("d/l", "/tmp", options).unwrap();
        writer.start_file("d/f", options).unwrap();
        writer.write_all(b"content").unwrap();
    });
    let mut random = fastrand::Rng::with_seed(42);
    let mut unpacked = 0;
    for round in 0..200 {
        let (mut bundle, bundle_type) =
            if round % 2 == 0 { (tar.clone(), BundleType::Tar) } else { (zip.clone(), BundleType::Zip) };
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bundle.len());
            let values = [0, b'.', b'/', b'0', b'7', 0x80, 0xff, random.u8(..)];
            bundle[at] = values[random.usize(..values.len())];
            if bundle_type == BundleType::Tar && bundle[at / 512 * 512..][..512].iter().any(|byte| *byte != 0) {
                seal(&mut bundle[at / 512 * 512..][..512]);
            }
        }
        let scene = Scene::with(&bundle);
        let limits = Limits { bytes: 1 << 20, ..Limits::default() };
        unpacked += u32::from(scene.unpack(bundle_type, &Policy { limits, ..Policy::default() }).is_ok());
        let mut around: Vec<_> =
            std::fs::read_dir(scene.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        around.sort();
        assert_eq!(around, ["bundle", "staging"], "round {round}");
    }
    assert!((10..190).contains(&unpacked), "{unpacked} of 200 could be unpacked");
}

/// Headers without end that describe entries which never come, or that describe all entries.
#[test]
fn headers_that_describe_others_count_as_entries_and_bytes() {
    let policy = |entries, bytes| Policy { limits: Limits { entries, bytes, depth: 9 }, ..Policy::default() };
    let global = |content| Entry { kind: EntryType::XGlobalHeader, ..file("pax_global_header", content) };
    let local = |content| Entry { kind: EntryType::XHeader, ..file("pax_header", content) };
    let long = || Entry { kind: EntryType::GNULongName, ..file("././@LongLink", b"name\0") };
    let record = b"18 comment=1234567";
    let record = [&record[..17], b"\n"].concat();
    // None of them takes a byte of what an entry may have for its names.
    let endless: Vec<Entry<'_>> = (0..20).map(|_| global(b"")).collect();
    let error = refused_by(&tar(&endless), BundleType::Tar, &policy(10, 1000));
    assert!(matches!(&error, UnpackError::Limit { limit: 10, what, .. } if what.contains("describe")), "{error}");
    let mut between = Vec::new();
    for name in ["1", "2", "3", "4", "5", "6"] {
        between.extend([local(&record), file(name, b"")]);
    }
    assert!(Scene::with(&tar(&between)).unpack(BundleType::Tar, &policy(12, 1000)).is_ok());
    let error = refused_by(&tar(&between), BundleType::Tar, &policy(11, 1000));
    assert!(matches!(&error, UnpackError::Limit { entry, limit: 11, .. } if entry == "6"), "{error}");
    let error = refused_by(&tar(&between), BundleType::Tar, &policy(100, 100));
    assert!(matches!(&error, UnpackError::Limit { limit: 100, what, .. } if what.contains("bytes")), "{error}");
    let names: Vec<Entry<'_>> = (0..6).flat_map(|_| [long(), file("x", b"")]).collect();
    let error = refused_by(&tar(&names), BundleType::Tar, &policy(11, 1000));
    assert!(matches!(&error, UnpackError::Limit { limit: 11, .. }), "{error}");
}

/// Whatever it reads at that time.
#[test]
fn unpacking_ends_once_it_is_to_stop() {
    let entries: Vec<Entry<'_>> = (0..50).map(|_| Entry { kind: EntryType::XGlobalHeader, ..file("g", b"") }).collect();
    let (headers, content) = (tar(&entries), tar(&[file("a", &[0; 100_000])]));
    let listed = zip(|writer| writer.start_file("a", SimpleFileOptions::default()).unwrap());
    for (bundle, bundle_type) in [
        (&headers, BundleType::Tar),
        (&content, BundleType::Tar),
        (&gzip(&content), BundleType::Tgz),
        (&listed, BundleType::Zip),
    ] {
        let scene = Scene::with(bundle);
        let stop = StopSignal::default();
        stop.give();
        let task = Task { policy: &Policy::default(), stop, list: None };
        let staging = Dir::open(scene.path("staging")).unwrap();
        let error = unpack_as(&scene.path("bundle"), bundle_type, staging, task).unwrap_err();
        assert!(matches!(error, UnpackError::Stopped), "{error}");
    }
}
