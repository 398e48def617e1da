use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_path_is_never_walked_through_a_symlink() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", temp.path().join("link")).unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    assert!(dir.open_dir("real").is_ok());
    assert!(dir.open_dir("link").is_err());
    assert!(dir.create_file("link/file", 0o600).is_err());
    assert!(dir.open_dir("..").is_err());
}

#[test]
fn make_dir_ignores_the_umask() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    dir.make_dir("wide", 0o777).unwrap();
    let mode = std::fs::metadata(temp.path().join("wide")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o777);
}

#[test]
fn an_atomic_write_that_fails_anywhere_leaves_the_old_content() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("state");
    write_atomic(&path, b"old", 0o600).unwrap();
    let (result, seen) = fault::run(None, false, || write_atomic(&path, b"old", 0o600));
    result.unwrap();
    assert!(seen.len() >= 5, "{seen:?}");
    for at in 0..seen.len() {
        let (result, _) = fault::run(Some((at, 5)), true, || write_atomic(&path, b"new", 0o600));
        assert!(result.is_err());
        let content = std::fs::read(&path).unwrap();
        assert!(content == b"old" || content == b"new");
        write_atomic(&path, b"old", 0o600).unwrap();
    }
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn a_lock_is_exclusive_until_dropped() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    let held = Lock::try_now(&path).unwrap();
    assert!(matches!(Lock::try_now(&path), Err(LockError::Held(_))));
    drop(held);
    Lock::try_now(&path).unwrap();
}

#[test]
fn a_file_longer_than_the_limit_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("big");
    std::fs::write(&path, b"0123456789").unwrap();
    assert_eq!(read_bounded(&path, 10).unwrap().len(), 10);
    assert!(read_bounded(&path, 9).is_err());
    assert!(read_if_exists(&temp.path().join("none"), 9).unwrap().is_none());
}
