//! A recovery that ends the agent each time.

use std::ops::Range;

use nix::libc::{EIO, ENOSPC};

use super::world::World;
use crate::disk::fault;
use crate::install::attempts::MOST;
use crate::install::{Ending, Settled};

/// A host with a revision of group `one`.
fn host() -> World {
    let mut world = World::new();
    world.group("one").run("d-1", &["file=1", "gone=1"]).unwrap();
    world
}

/// One whose next install was cut off as soon as its first target had moved.
fn cut_off() -> World {
    let clean = host();
    let (installed, mutations) = fault::traced(|| clean.run("d-2", &["file=2", "new=2"]));
    installed.unwrap();
    let moves = |mutation: &fault::Mutation| {
        mutation.from.is_some() && [clean.path("app/file"), clean.path("app/new")].contains(&mutation.path)
    };
    let first = mutations.iter().position(moves).expect("targets move");
    let world = host();
    let (result, _) = fault::run(Some((first + 1, EIO)), true, || world.run("d-2", &["file=2", "new=2"]));
    result.unwrap_err();
    assert!(!world.has_no_transactions());
    world
}

/// The mutations by which a recovery is counted, between what it reads and what it does.
fn counting() -> Range<usize> {
    let world = cut_off();
    let (settled, mutations) = fault::traced(|| world.settle_at_start());
    assert_eq!(settled.unwrap().len(), 1);
    let about_count = |mutation: &fault::Mutation| mutation.path.to_string_lossy().contains("attempts.json");
    let begin = mutations.iter().position(about_count).expect("the recovery is counted");
    let acts = |mutation: &fault::Mutation| !mutation.path.starts_with(world.layout.transactions());
    begin..mutations.iter().position(acts).expect("the recovery does something")
}

/// The first thing that a recovery does once it is counted.
fn until_counted() -> usize {
    counting().end
}

fn die(world: &World, at: usize) {
    let (result, _) = fault::run(Some((at, EIO)), true, || world.settle_at_start());
    result.unwrap_err();
}

fn the_one(settled: Vec<Settled>) -> Settled {
    assert_eq!(settled.len(), 1, "{settled:?}");
    settled.into_iter().next().unwrap()
}

#[test]
fn a_recovery_that_ends_the_agent_each_time_is_left_aside() {
    let at = until_counted();
    let mut world = cut_off();
    let before = world.tree();
    for _ in 0..MOST {
        die(&world, at);
    }
    let left = the_one(world.settle_at_start().unwrap());
    let said = left.to_string();
    let Ending::LeftAside { recoveries: MOST, record } = &left.ending else { panic!("{left:?}") };
    assert!(record.starts_with(world.layout.transactions()), "{record:?}");
    for part in ["d-2", "group one", "5 times", record.to_str().unwrap(), "slipway-agent recover"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    assert_eq!(world.tree(), before);

    // Its group waits for it; others do not.
    let refused = world.run("d-3", &["file=3"]).unwrap_err();
    assert!(refused.to_string().contains(&said), "{refused}");
    world.destination = world.path("other");
    world.group("two").run("d-4", &["file=4"]).unwrap();
    assert_eq!(world.read("other/file"), "4");

    // Whoever asks for it gets it, and it is over.
    assert_eq!(the_one(world.settle().unwrap()).ending, Ending::RolledBack);
    assert_eq!((world.read("app/file"), world.read("app/gone")), ("1".into(), "1".into()));
    world.assert_no_transactions();
    world.destination = world.path("app");
    world.group("one").run("d-5", &["file=5"]).unwrap();
    assert_eq!(world.read("app/file"), "5");
}

#[test]
fn one_that_ends_the_agent_when_somebody_asked_for_it_stays_aside() {
    let at = until_counted();
    let world = cut_off();
    for _ in 0..MOST {
        die(&world, at);
    }
    let (result, _) = fault::run(Some((at, EIO)), true, || world.settle());
    result.unwrap_err();
    let left = the_one(world.settle_at_start().unwrap());
    assert!(matches!(left.ending, Ending::LeftAside { recoveries, .. } if recoveries == MOST + 1), "{left:?}");
    assert_eq!(the_one(world.settle().unwrap()).ending, Ending::RolledBack);
}

#[test]
fn a_recovery_that_fails_is_tried_as_often_as_it_takes() {
    let at = until_counted();
    let world = cut_off();
    for _ in 0..3 * MOST {
        let (result, _) = fault::run(Some((at, EIO)), false, || world.settle_at_start());
        result.unwrap_err();
    }
    assert_eq!(the_one(world.settle_at_start().unwrap()).ending, Ending::RolledBack);
    assert_eq!(world.read("app/file"), "1");
    world.assert_no_transactions();
}

#[test]
fn a_disk_that_cannot_take_the_count_keeps_no_recovery_back() {
    for at in counting() {
        let world = cut_off();
        let (result, _) = fault::run(Some((at, ENOSPC)), false, || world.settle_at_start());
        assert_eq!(the_one(result.unwrap()).ending, Ending::RolledBack, "without mutation {at}");
        assert_eq!(world.read("app/file"), "1");
        world.assert_no_transactions();
    }
}
