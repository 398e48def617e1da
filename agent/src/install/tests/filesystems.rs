//! Real file systems: full ones, missing ones, several at once, overlays. Mounting takes root; where
//! it is not to be had, each test says so.

use std::path::{Path, PathBuf};

use super::world::{World, mapping};
use crate::disk::fault;
use crate::install::{Aftermath, Cause, Ending};

/// Something mounted, until dropped.
pub(super) struct Mounted(PathBuf);

impl Mounted {
    pub(super) fn new(arguments: &[&str], on: &Path) -> Option<Self> {
        std::fs::create_dir_all(on).unwrap();
        Self::on(arguments, on)
    }

    fn on(arguments: &[&str], on: &Path) -> Option<Self> {
        let done = std::process::Command::new("mount").args(arguments).arg(on).output().unwrap();
        if !done.status.success() {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("skipped, since nothing can be mounted here: {}\n", String::from_utf8_lossy(&done.stderr)),
            );
            return None;
        }
        Some(Self(on.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn big(name: &str, kilobytes: usize) -> String {
    format!("{name}={}", "x".repeat(kilobytes << 10))
}

#[test]
fn a_disk_that_is_too_small_is_seen_before_anything_changes() {
    let mut world = World::new();
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "-o", "size=1m,nr_inodes=20", "tmpfs"], &world.path("small"))
    else {
        return;
    };
    world.destination = world.path("small/app");
    world.run("d-1", &[&big("file", 300)]).unwrap();
    let before = world.tree();
    let error = world.run("d-2", &[&big("file", 800)]).unwrap_err();
    let Cause::NoSpace(shortages) = &error.cause else { panic!("{error}") };
    assert_eq!(shortages[0].needed.bytes, 800 << 10);
    assert!(shortages[0].available.0.unwrap() < 800 << 10);
    let text = error.to_string();
    assert!(text.contains("819200 bytes") && text.contains(world.path("small").to_str().unwrap()), "{text}");
    let names: Vec<String> = (0..30).map(|n| format!("{n}=x")).collect();
    let many: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = world.run("d-3", &many).unwrap_err();
    assert!(error.to_string().contains("31 inodes") || error.to_string().contains("30 inodes"), "{error}");
    assert_eq!(world.tree(), before);
    world.assert_no_transactions();
    world.run("d-4", &[&big("file", 200)]).unwrap();
}

#[test]
fn a_disk_that_fills_up_during_the_install_leaves_the_old_revision() {
    let mut world = World::new();
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &world.path("small")) else {
        return;
    };
    world.destination = world.path("small/app");
    world.run("d-1", &[&big("one", 100), &big("two", 100)]).unwrap();
    let before = world.tree();
    // The revision grows between the check and the copy: the check cannot see it, the disk does.
    let revision = world.revision("d-2", &[&big("one", 300), &big("two", 300)]);
    let filler = world.path("small/filler");
    let filled = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while std::time::Instant::now() < until {
                let staged = std::fs::read_dir(world.path("small/app")).unwrap();
                let staged =
                    staged.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with('.'));
                if staged {
                    return std::fs::write(&filler, vec![0; 900 << 10]).is_err();
                }
            }
            false
        });
        let result = world.run_spec("d-2", &revision, &world.appspec());
        (result, waiting.join().unwrap())
    });
    std::fs::remove_file(&filler).ok();
    match filled {
        (Err(error), _) => {
            assert!(error.to_string().contains("No space left"), "{error}");
            assert!(matches!(error.aftermath, Aftermath::PutBack(_)), "{error}");
            assert_eq!(world.tree(), before);
        }
        // The install was faster than the filler.
        (Ok(_), _) => assert_eq!(world.read("small/app/one").len(), 300 << 10),
    }
    world.assert_no_transactions();
}

#[test]
fn a_file_system_that_is_not_mounted_is_waited_for() {
    let mut world = World::new();
    let image = world.temp.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let made = std::process::Command::new("mkfs.ext4").arg("-q").arg(&image).status();
    if !made.is_ok_and(|status| status.success()) {
        let _ =
            std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped, since there is no mkfs.ext4\n"));
        return;
    }
    let options = ["-o", "loop", image.to_str().unwrap()];
    let point = world.path("volume");
    let Some(mounted) = Mounted::new(&options, &point) else { return };
    world.destination = world.path("volume/app");
    world.run("d-1", &["file=1", "gone=1"]).unwrap();
    let before = world.tree();
    let (result, seen) = fault::run(None, false, || world.run("d-2", &["file=2"]));
    result.unwrap();
    world.run("d-1", &["file=1", "gone=1"]).unwrap();
    assert_eq!(world.tree(), before);
    // Dead right after the first exchange.
    let exchange = seen.iter().position(|call| *call == "exchange").unwrap();
    let (result, _) = fault::run(Some((exchange + 1, 5)), true, || world.run("d-2", &["file=2"]));
    assert!(result.is_err());
    assert_eq!(world.read("volume/app/file"), "2");
    drop(mounted);
    for _ in 0..2 {
        let settled = world.settle().unwrap();
        assert_eq!(settled[0].ending, Ending::Waiting { mount_point: point.clone() });
    }
    let error = world.run("d-3", &["file=3"]).unwrap_err();
    assert!(matches!(error.cause, Cause::HeldBack(_)), "{error}");
    // Others are not held up by it, except below that mount point.
    world.group("other");
    world.destination = world.path("elsewhere");
    world.run("d-9", &["file=9"]).unwrap();
    world.destination = world.path("volume/app");
    assert!(matches!(world.run("d-9", &["file=9"]).unwrap_err().cause, Cause::HeldBack(_)));
    world.destination = world.path("elsewhere");
    std::fs::remove_dir_all(world.path("elsewhere")).unwrap();
    world.group("group");
    let _again = Mounted::new(&options, &point).unwrap();
    assert_eq!(world.settle().unwrap()[0].ending, Ending::RolledBack);
    assert_eq!(world.tree(), before);
    world.assert_no_transactions();
}

#[test]
fn what_something_is_mounted_on_is_not_replaced() {
    let world = World::new();
    world.run("d-1", &["file=1", "dir/inner=1"]).unwrap();
    world.put(&["mounted=m"]);
    let Some(_bound) = Mounted::on(&["--bind", world.path("mounted").to_str().unwrap()], &world.path("app/file"))
    else {
        return;
    };
    let text = world.plan("d-2", &["file=2"]).unwrap_err().to_string();
    let file = world.path("app/file").display().to_string();
    assert!(text.contains(") is mounted on it") && text.contains(&format!("`umount {file}`")), "{text}");
    let text = world.plan("d-2", &["other=2"]).unwrap_err().to_string();
    assert!(text.contains(") is mounted on it") && text.contains(&format!("`umount {file}`")), "{text}");
    // The remedies: left out of `files`, where nothing wants its place, or unmounted.
    drop(_bound);
    world.run("d-2", &["file=2"]).unwrap();
}

#[test]
fn one_install_may_span_file_systems() {
    let world = World::new();
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], &world.path("other")) else {
        return;
    };
    let mut appspec = world.appspec();
    appspec.files = vec![mapping("a", &world.path("here")), mapping("b", &world.path("other/there"))];
    let revision = world.revision("d-1", &["a/file=1", "b/file=1"]);
    world.run_spec("d-1", &revision, &appspec).unwrap();
    let before = world.tree();
    let revision = world.revision("d-2", &["a/file=2", "b/file=2"]);
    let (result, seen) = fault::run(None, false, || world.run_spec("d-2", &revision, &appspec));
    result.unwrap();
    let after = world.tree();
    for at in 0..seen.len() {
        let revision = world.revision("d-1", &["a/file=1", "b/file=1"]);
        world.run_spec("d-1", &revision, &appspec).unwrap();
        let revision = world.revision("d-2", &["a/file=2", "b/file=2"]);
        let (result, _) = fault::run(Some((at, 5)), true, || world.run_spec("d-2", &revision, &appspec));
        assert!(result.is_err() || world.has_no_transactions());
        world.settle().unwrap();
        let tree = world.tree();
        assert!(tree == before || tree == after, "{at}");
        world.assert_no_transactions();
    }
}

#[test]
fn what_an_overlay_shows_from_below_is_exchanged_and_put_back() {
    let world = World::new();
    let base = world.temp.path().join("base");
    // An overlay on an overlay is not always allowed, a tmpfs always is.
    let Some(_below) = Mounted::new(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], &base) else { return };
    for directory in ["lower/app/sub", "upper", "work"] {
        std::fs::create_dir_all(base.join(directory)).unwrap();
    }
    std::fs::write(base.join("lower/app/file"), "below").unwrap();
    std::fs::write(base.join("lower/app/other"), "below").unwrap();
    let base = base.display();
    let options = format!("lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work");
    let Some(_overlay) = Mounted::new(&["-t", "overlay", "-o", &options, "overlay"], &world.path("merged")) else {
        return;
    };
    let mut world = world;
    world.destination = world.path("merged/app");
    world.behavior = crate::deployment::FileExistsBehavior::Overwrite;
    let lines = ["file=new", "other->file", "fresh/file=new"];
    let before = world.tree();
    let mut at = 0;
    loop {
        let (result, _) = fault::run(Some((at, 28)), false, || world.run("d-1", &lines));
        if result.is_ok() {
            break;
        }
        assert_eq!(timeless(world.tree()), timeless(before.clone()), "{at}");
        world.assert_no_transactions();
        at += 1;
    }
    assert!(at > 30, "{at}");
    assert_eq!(world.read("merged/app/file"), "new");
    assert_eq!(world.read("merged/app/fresh/file"), "new");
}

/// Without the fraction of a second, which not every copy-up keeps.
fn timeless(tree: std::collections::BTreeMap<PathBuf, String>) -> Vec<(PathBuf, String)> {
    let whole = |text: String| text.split(' ').filter(|word| !word.contains('.')).collect::<Vec<_>>().join(" ");
    tree.into_iter().map(|(path, shown)| (path, whole(shown))).collect()
}
