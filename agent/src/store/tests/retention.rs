//! Which revisions are kept.

use std::num::NonZeroUsize;
use std::path::Path;

use super::super::*;
use super::{host, id};
use crate::ids::{DeploymentId, GroupId};

#[test]
fn retention_removes_the_oldest_and_spares_the_protected() {
    let (_temp, layout, group) = host();
    for n in 1..=5i64 {
        let dir = layout.deployment(&group, &id(&format!("d-{n}")));
        std::fs::create_dir_all(dir.join("deployment-archive/bin")).unwrap();
        std::fs::write(dir.join("deployment-archive/bin/app"), "x").unwrap();
        let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + n as u64);
        std::fs::File::open(&dir).unwrap().set_modified(when).unwrap();
    }
    let left_over = layout.group(&group).join(".removing-d-0");
    std::fs::create_dir_all(left_over.join("deployment-archive")).unwrap();
    let result = retain(&layout, &group, NonZeroUsize::new(2).unwrap(), &[id("d-1")]).unwrap();
    assert_eq!(result.removed, [id("d-2"), id("d-3"), id("d-4")]);
    assert!(result.failed.is_empty());
    let mut left: Vec<_> = std::fs::read_dir(layout.group(&group)).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["d-1", "d-5"]);
}

#[test]
fn the_oldest_of_all_groups_go_until_the_rest_is_small_enough() {
    let (_temp, layout, own) = host();
    let [busy, other] = ["busy", "other"].map(|name| GroupId::parse(name).unwrap());
    for (group, numbers) in [(&other, [1, 4, 8]), (&own, [2, 5, 6]), (&busy, [0, 3, 7])] {
        for number in numbers {
            revision(&layout, group, &id(&format!("d-{number}")), number);
        }
    }
    let who = Who { application: "shop".to_owned(), group: "blue".to_owned() };
    mark_last_successful(&layout, &other, &id("d-1")).unwrap();
    mark_most_recent(&layout, &own, &id("d-6"), &who).unwrap();
    prepare(&layout).unwrap();
    let lock = crate::disk::Lock::try_now(&layout.group_lock(&busy)).unwrap();
    let removed = |bytes: u64| {
        let Shrunk { retention, left } = shrink(&layout, &own, bytes).unwrap();
        assert!(retention.failed.is_empty(), "{retention:?}");
        (retention.removed, left)
    };
    assert_eq!(removed(9000), (vec![], 9000));
    assert_eq!(removed(7500), (vec![id("d-2"), id("d-4")], 7000));
    // What has to stay stays, whatever it takes: what is marked, what somebody works on, and the newest.
    assert_eq!(removed(1), (vec![id("d-5")], 6000));
    drop(lock);
    assert_eq!(removed(1), (vec![id("d-0"), id("d-3")], 4000));
    let left = |group: &GroupId| std::fs::read_dir(layout.group(group)).unwrap().count();
    assert_eq!((left(&own), left(&busy), left(&other)), (1, 1, 2));
}

#[test]
fn a_removal_that_fails_is_reported_and_stops_nothing() {
    let (_temp, layout, group) = host();
    for n in 1..=3 {
        std::fs::create_dir_all(layout.deployment(&group, &id(&format!("d-{n}")))).unwrap();
    }
    let keep = NonZeroUsize::MIN;
    let (result, _) = disk::fault::run(Some((0, 5)), false, || retain(&layout, &group, keep, &[]));
    let result = result.unwrap();
    assert_eq!((result.removed.len(), result.failed.len()), (1, 1));
}

/// A revision of 1,000 bytes that came at that second.
fn revision(layout: &Layout, group: &GroupId, deployment: &DeploymentId, second: u64) {
    let dir = layout.deployment(group, deployment);
    std::fs::create_dir_all(dir.join("deployment-archive")).unwrap();
    std::fs::write(dir.join("deployment-archive/app"), [0; 1000]).unwrap();
    date(&dir, second);
}

fn date(dir: &Path, second: u64) {
    let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
    std::fs::File::open(dir).unwrap().set_modified(when).unwrap();
}

#[test]
fn what_has_only_logs_takes_no_place_of_a_revision() {
    let (_temp, layout, group) = host();
    for second in 1..=2 {
        revision(&layout, &group, &id(&format!("d-{second}")), second);
    }
    for second in 3..=5 {
        let dir = layout.deployment(&group, &id(&format!("d-{second}")));
        std::fs::create_dir_all(dir.join("logs")).unwrap();
        date(&dir, second);
    }
    let result = retain(&layout, &group, NonZeroUsize::new(2).unwrap(), &[]).unwrap();
    assert_eq!(result.removed, [id("d-3")]);
    assert!(result.failed.is_empty());
}

#[test]
fn directories_of_others_are_no_deployments() {
    let (_temp, layout, group) = host();
    revision(&layout, &group, &id("d-1"), 1);
    let other = layout.root().join("bin/tools");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("app"), [0; 1000]).unwrap();
    date(&other, 0);
    std::fs::create_dir_all(layout.root().join("bin/other")).unwrap();
    assert_eq!(deployed(&layout).unwrap(), [(group.clone(), vec![id("d-1")])]);
    let shrunk = shrink(&layout, &group, 1).unwrap();
    assert_eq!((shrunk.retention.removed.len(), shrunk.left), (0, 1000));
    assert!(other.join("app").exists());
}

#[test]
fn trouble_with_one_group_stops_nothing_in_the_others() {
    let (_temp, layout, group) = host();
    let broken = GroupId::parse("broken").unwrap();
    let who = Who { application: "shop".to_owned(), group: "blue".to_owned() };
    mark_most_recent(&layout, &broken, &id("d-2"), &who).unwrap();
    std::fs::write(layout.markers(&broken), "{").unwrap();
    prepare(&layout).unwrap();
    for (group, numbers) in [(&broken, [1, 2]), (&group, [3, 4])] {
        for number in numbers {
            revision(&layout, group, &id(&format!("d-{number}")), number);
        }
    }
    let shrunk = shrink(&layout, &group, 1).unwrap();
    assert_eq!((shrunk.retention.removed, shrunk.left), (vec![id("d-3")], 3000));
    let [error] = &shrunk.retention.failed[..] else { panic!("{:?}", shrunk.retention.failed) };
    assert!(error.to_string().contains("broken"), "{error}");
}

/// What is mounted in an old revision is others', and half of the revision would be of no use to anybody.
#[test]
fn a_revision_that_something_is_mounted_in_stays_whole_and_the_others_go() {
    let (temp, layout, group) = host();
    let precious = temp.path().join("precious");
    std::fs::create_dir_all(precious.join("sub")).unwrap();
    std::fs::write(precious.join("sub/db"), "x").unwrap();
    for number in 1..=4 {
        revision(&layout, &group, &id(&format!("d-{number}")), number);
    }
    let point = layout.archive(&group, &id("d-1")).join("data");
    std::fs::create_dir(&point).unwrap();
    let Some(mounted) = disk::Mounted::bind(&precious, &point) else { return };
    let keep = NonZeroUsize::MIN;
    let result = retain(&layout, &group, keep, &[]).unwrap();
    assert_eq!(result.removed, [id("d-2"), id("d-3")]);
    let told: Vec<_> = result.failed.iter().map(ToString::to_string).collect();
    assert!(matches!(&told[..], [one] if one.contains(&format!("umount {}", point.display()))), "{told:?}");
    let shrunk = shrink(&layout, &group, 1).unwrap();
    assert_eq!((shrunk.retention.removed.len(), shrunk.retention.failed.len()), (0, 1));
    assert!(precious.join("sub/db").exists());
    let file = std::fs::read_dir(layout.archive(&group, &id("d-1"))).unwrap().count();
    assert_eq!(file, 2, "the revision is whole, and has its name");
    drop(mounted);
    assert_eq!(retain(&layout, &group, keep, &[]).unwrap().removed, [id("d-1")]);
    assert!(precious.join("sub/db").exists());
}
