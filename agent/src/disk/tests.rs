use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

#[test]
fn what_the_systems_answer_does_not_tell_is_told_with_the_remedy() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let told = |errno: i32, action: &'static str| {
        Error::new(action, "/srv/app/file", std::io::Error::from_raw_os_error(errno)).to_string()
    };
    assert!(told(30, "write").contains("(`findmnt -T /srv/app/file` shows"), "{}", told(30, "write"));
    assert!(told(16, "remove").contains("unmount it (`findmnt -R /srv/app/file` shows"), "{}", told(16, "remove"));
    assert!(told(2, "open").ends_with("(os error 2)"), "{}", told(2, "open"));
    let temp = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(temp.path().join("sealed")).unwrap();
    let seal =
        |flags: IFlags| ioctl_getflags(&file).and_then(|now| ioctl_setflags(&file, (now - IFlags::IMMUTABLE) | flags));
    if seal(IFlags::IMMUTABLE).is_err() {
        // Not as root, or not on this file system.
        return;
    }
    let removed = Dir::open(temp.path()).unwrap().remove_tree("sealed");
    seal(IFlags::empty()).unwrap();
    let text = removed.unwrap_err().to_string();
    assert!(text.contains("immutable") && text.contains("run `chattr -i -a` on that"), "{text}");
}

#[test]
fn a_path_is_never_walked_through_a_symlink() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", temp.path().join("link")).unwrap();
    std::fs::write(temp.path().join("real/file"), "x").unwrap();
    std::os::unix::fs::symlink("file", temp.path().join("real/link")).unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    // Where there is no `openat2`, every name is opened by itself.
    for lacking in [&[][..], &["openat2"]] {
        fault::without(lacking, || {
            assert!(dir.open_dir("real").is_ok() && dir.open_file("real/file").is_ok());
            for path in ["link", ".."] {
                assert!(dir.open_dir(path).is_err(), "{path}");
            }
            for path in ["link/file", "real/link", "../file", "/etc/passwd"] {
                assert!(dir.open_file(path).is_err(), "{path}");
                assert!(dir.create_file(path, 0o600).is_err(), "{path}");
            }
            assert!(dir.facts("link/file").is_err());
        });
    }
}

#[test]
fn a_copy_is_whole_by_whatever_the_kernel_has() {
    let temp = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(temp.path().join("from"), &content).unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    let both: &[&'static str] = &["clone", "copy_file_range"];
    for (number, lacking) in [&[][..], &["clone"], &["copy_file_range"], both].into_iter().enumerate() {
        let name = format!("to-{number}");
        let to = dir.create_file(&name, 0o600).unwrap();
        let from = dir.open_file("from").unwrap();
        let copied = fault::without(lacking, || copy(&from, &to, Path::new(&name)));
        assert_eq!(copied.unwrap(), content.len() as u64, "without {lacking:?}");
        assert_eq!(std::fs::read(temp.path().join(&name)).unwrap(), content, "without {lacking:?}");
    }
}

/// Neither way loses anything, nor replaces what somebody else put there.
#[test]
fn a_rename_that_replaces_nothing_does_so_without_the_kernels_help() {
    for lacking in [&[][..], &["noreplace"]] {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for directory in ["dir", "full/inner", "empty"] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        std::fs::write(at("file"), "f").unwrap();
        std::fs::write(at("theirs"), "t").unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        fault::without(lacking, || {
            for (from, to) in [("file", "theirs"), ("file", "dir"), ("dir", "full"), ("dir", "empty"), ("dir", "file")]
            {
                let error = dir.rename_noreplace(from, to).unwrap_err();
                assert!(error.is_already_exists(), "{from} to {to}: {error}");
            }
            dir.rename_noreplace("file", "renamed").unwrap();
            dir.rename_noreplace("full", "moved").unwrap();
        });
        assert_eq!(std::fs::read_to_string(at("renamed")).unwrap(), "f");
        assert_eq!(std::fs::read_to_string(at("theirs")).unwrap(), "t");
        assert!(at("moved/inner").is_dir() && !at("file").exists() && !at("full").exists());
    }
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
    let mut held = Lock::try_now(&path).unwrap();
    assert!(matches!(Lock::try_now(&path), Err(LockError::Held(_))));
    assert_eq!(Lock::holder(&path).unwrap(), None, "it has noted nothing");
    held.note("d-LONGER").unwrap();
    held.note("d-A").unwrap();
    assert_eq!(Lock::holder(&path).unwrap().as_deref(), Some("d-A"));
    drop(held);
    assert_eq!(Lock::holder(&path).unwrap(), None, "nobody holds it");
    let next = Lock::try_now(&path).unwrap();
    assert_eq!(Lock::holder(&path).unwrap(), None, "the note was another holder's");
    drop(next);
    Lock::try_now(&path).unwrap();
}

#[test]
fn a_lock_file_is_closed_to_others_and_never_behind_a_link() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let (path, link) = (temp.path().join("lock"), temp.path().join("link"));
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let held = Lock::try_now(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    drop(held);
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Lock::try_now(&link).is_err() && Lock::wait(&link).is_err());
    assert!(Lock::is_held(&link).is_err() && Lock::holder(&link).is_err());
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
