use super::*;
use crate::disk::Dir;

fn stamp(dir: &Path, name: &str) -> Stamp {
    Stamp::of(&Dir::open(dir).unwrap().stat(name).unwrap())
}

/// As if the file had been there for long.
fn settled(mut stamp: Stamp) -> Stamp {
    stamp.changed.0 -= 10;
    stamp
}

/// A directory with a file in it that has been there for long, and the file's stamp.
fn place() -> (tempfile::TempDir, Stamp) {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), "a").unwrap();
    let stamp = settled(stamp(temp.path(), "file"));
    (temp, stamp)
}

#[test]
fn a_digest_is_known_again_until_the_file_is_touched() {
    let temp = tempfile::tempdir().unwrap();
    let (list, digest) = (temp.path().join("list"), Sha256([7; 32]));
    std::fs::write(temp.path().join("file"), "a").unwrap();
    let known = settled(stamp(temp.path(), "file"));
    let name = PathBuf::from("odd name\nwith \u{e4} line");
    let mut digests = Digests::default();
    digests.insert(name.clone(), known, digest);
    digests.write(&list, []).unwrap();

    let digests = Digests::read(&list);
    assert_eq!(digests.lookup().of(&name, &known), Some(digest));
    assert_eq!(digests.lookup().of(Path::new("other"), &known), None);
    for touched in [
        Stamp { inode: known.inode + 1, ..known },
        Stamp { size: known.size + 1, ..known },
        Stamp { modified: (known.modified.0, known.modified.1 ^ 1), ..known },
        Stamp { changed: (known.changed.0, known.changed.1 ^ 1), ..known },
    ] {
        assert_eq!(digests.lookup().of(&name, &touched), None);
    }
}

#[test]
fn changes_are_merged_into_what_was_known() {
    let (temp, stamp) = place();
    let list = temp.path().join("list");
    let known = |n: u8| Known { stamp, digest: Sha256([n; 32]) };
    let mut digests = Digests::default();
    for (path, n) in [("b", 1), ("d", 2), ("a/x", 3), ("a.x", 4)] {
        digests.insert(path.into(), stamp, known(n).digest);
    }
    digests.write(&list, []).unwrap();
    let mut digests = Digests::read(&list);
    digests.insert("b".into(), stamp, known(8).digest);
    let changes = [("z", Some(known(5))), ("d", None), ("b", Some(known(6))), ("c", Some(known(7)))];
    digests.write(&list, changes.map(|(path, known)| (Path::new(path), known))).unwrap();
    let digests = Digests::read(&list);
    for (path, n) in [("a/x", 3), ("a.x", 4), ("b", 6), ("c", 7), ("z", 5)] {
        assert_eq!(digests.lookup().of(Path::new(path), &stamp), Some(known(n).digest), "{path}");
    }
    assert_eq!(digests.lookup().of(Path::new("d"), &stamp), None);
    assert_eq!(digests.starts.len(), 5);
}

#[test]
fn few_changes_are_appended_until_they_are_many() {
    let (temp, stamp) = place();
    let list = temp.path().join("list");
    let path = |n: usize| PathBuf::from(format!("{n:03}"));
    let known = |n: u8| Known { stamp, digest: Sha256([n; 32]) };
    let mut digests = Digests::default();
    (0..100).for_each(|n| digests.insert(path(n), stamp, known(0).digest));
    digests.write(&list, []).unwrap();
    let length = || std::fs::metadata(&list).unwrap().len();
    let (first, mut lengths) = (length(), vec![]);
    for round in 1..=20 {
        let changes: Vec<_> = (0..5).map(|n| (path(n), Some(known(round)))).chain([(path(99), None)]).collect();
        let before = Digests::read(&list);
        before.write(&list, changes.iter().map(|(path, known)| (path.as_path(), *known))).unwrap();
        let after = Digests::read(&list);
        let digest = |n| after.lookup().of(&path(n), &stamp);
        assert_eq!(
            [0, 4, 5].map(digest),
            [Some(known(round).digest), Some(known(round).digest), Some(known(0).digest)]
        );
        assert!(after.end.is_some());
        lengths.push(length());
    }
    assert!(lengths.iter().all(|length| *length <= first + first / 4 + 12), "{first}: {lengths:?}");
    assert!(lengths[0] > first && !lengths.is_sorted(), "{first}: {lengths:?}");
    // What nothing is known of any more goes when all is written.
    assert_eq!(Digests::read(&list).starts.len(), 99);
}

#[test]
fn a_file_that_was_changed_just_now_is_not_trusted() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), "a").unwrap();
    let mut fresh = stamp(temp.path(), "file");
    let now = Timestamp::now();
    fresh.changed = (now.as_second(), u32::try_from(now.subsec_nanosecond()).unwrap());
    let mut ahead = fresh;
    ahead.changed.0 += 3600;
    for untrusted in [fresh, ahead] {
        let mut digests = Digests::default();
        digests.insert("file".into(), untrusted, Sha256([0; 32]));
        assert_eq!(digests.lookup().of(Path::new("file"), &untrusted), None);
    }
}

#[test]
fn a_list_that_is_torn_or_changed_says_nothing() {
    let (temp, known) = place();
    let list = temp.path().join("list");
    let mut digests = Digests::default();
    for name in ["one", "two"] {
        digests.insert(name.into(), known, Sha256([1; 32]));
    }
    digests.write(&list, []).unwrap();
    let whole = std::fs::read(&list).unwrap();
    let read = |content: &[u8]| {
        std::fs::write(&list, content).unwrap();
        Digests::read(&list)
    };
    assert!(read(&whole).end.is_some());
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).starts.is_empty(), "{length} bytes");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(read(&changed).starts.is_empty(), "byte {at}");
    }
    // What comes after a part that is whole takes nothing from it, and nothing is appended to that.
    for more in [&whole[HEADER.len()..whole.len() - 1], &[1; 12], &[0xff; 12], b"x"] {
        let torn = read(&[&whole, more].concat());
        assert!(torn.end.is_none());
        assert_eq!(torn.lookup().of(Path::new("two"), &known), Some(Sha256([1; 32])));
        torn.write(&list, []).unwrap();
        assert_eq!(std::fs::read(&list).unwrap(), whole);
    }
}
