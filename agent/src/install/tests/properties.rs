//! Random hosts, random revisions, random faults: old or new, whole, and nothing else.
//!
//! `SLIPWAY_SEEDS=0..5000` tries more of them, `SLIPWAY_SEEDS=17..18` one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::random::Host;
use super::syncs;
use super::world::{World, id, tree};
use crate::disk::fault;
use crate::install::{Aftermath, Cause, Ending};
use crate::plan::{Change, Manifest, Owned};
use crate::store::{groups, read_manifest, read_markers};

/// The hosts that are tried where nothing else is said.
const SEEDS: Range<u64> = 0..200;
/// EIO, ENOSPC, EROFS, EDQUOT.
const ERRORS: [i32; 4] = [5, 28, 30, 122];
/// How often a recovery is cut off before it may end.
const DEEPEST: usize = 3;
const FALLBACKS: [&[&str]; 4] = [
    &[],
    &[],
    &["openat2", "syncfs", "clone", "copy_file_range"],
    &["openat2", "exchange", "noreplace", "syncfs", "clone", "copy_file_range"],
];

/// What is to be the same: all that an install sets on the host, and what the agent knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    tree: BTreeMap<PathBuf, String>,
    /// Of each group, what it owns and of which deployment, with the number of that install.
    owned: BTreeMap<String, (String, u64, Vec<Owned>)>,
    last_successful: Option<String>,
    /// The files that another agent would read.
    instructions: BTreeMap<PathBuf, String>,
}

impl State {
    /// Names what differs and nothing else: the whole would not be read.
    fn must_be(&self, expected: &Self, context: &str) {
        let paths: BTreeSet<_> = self.tree.keys().chain(expected.tree.keys()).collect();
        for path in paths {
            assert_eq!(self.tree.get(path), expected.tree.get(path), "{}: {context}", path.display());
        }
        assert_eq!(self.owned, expected.owned, "{context}");
        assert_eq!(self.last_successful, expected.last_successful, "{context}");
        assert_eq!(self.instructions, expected.instructions, "{context}");
    }
}

/// One seed's host before and after its new revision.
struct Reference {
    old: State,
    /// Nothing where the revision clashes with what is there.
    new: Option<State>,
    /// How many mutations the install makes.
    mutations: usize,
}

/// What came of all hosts.
#[derive(Debug, Default)]
struct Tally {
    clashes: usize,
    /// What the revisions change, by kind.
    steps: BTreeMap<&'static str, usize>,
    /// In clean installs, all of which were held to the order of syncs.
    mutations: usize,
    failures: usize,
    deaths: usize,
    /// Some of these are errors alone.
    deaths_in_recovery: usize,
    old: usize,
    new: usize,
}

#[test]
fn any_install_that_fails_anywhere_leaves_the_old_state_or_the_new_one() {
    let seeds = std::env::var("SLIPWAY_SEEDS").map_or(SEEDS, |text| {
        let (from, to) = text.split_once("..").expect("SLIPWAY_SEEDS=FROM..TO");
        from.parse().unwrap()..to.parse().unwrap()
    });
    let count = seeds.end - seeds.start;
    let mut tally = Tally::default();
    for seed in seeds {
        // A failed assertion ends the test here, and this tells what it was about.
        let told = Told(seed);
        fault::without(FALLBACKS[Rng::with_seed(!seed).usize(..FALLBACKS.len())], || one(seed, &mut tally));
        std::mem::forget(told);
    }
    super::world::said(&format!("{count} random hosts: {tally:?}"));
    if count >= SEEDS.end {
        assert!(tally.clashes > 0 && tally.clashes * 10 < tally.failures, "{tally:?}");
        assert!(tally.steps.len() == 8 && tally.steps.values().all(|count| *count > 5), "{tally:?}");
        assert!(tally.old > 200 && tally.new > 200 && tally.deaths_in_recovery > 100, "{tally:?}");
    }
}

/// Says which seed it was, when a test panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        super::world::said(&format!("the random host is that of SLIPWAY_SEEDS={}..{}", self.0, self.0 + 1));
    }
}

fn one(seed: u64, tally: &mut Tally) {
    let mut random = Rng::with_seed(seed ^ 0x5eed);
    let reference = reference(seed, tally);
    for _ in 0..2 {
        let at = (random.usize(..reference.mutations), *random.choice(ERRORS.iter()).unwrap());
        fail(seed, at, &reference, tally);
        let at = (random.usize(..reference.mutations), ERRORS[0]);
        die(seed, at, &reference, &mut random, tally);
    }
}

fn reference(seed: u64, tally: &mut Tally) -> Reference {
    let host = Host::of(seed);
    let old = state(&host.world);
    let before = everything(&host.world);
    let plan = host.plan();
    let ((result, seen), mutations) = fault::traced(|| fault::run(None, false, || host.install()));
    match result {
        Ok(installed) => {
            assert_eq!(syncs::broken(&mutations, &host.world), None);
            let plan = plan.unwrap_or_else(|error| panic!("it was installed: {error}"));
            assert_eq!(installed.changed, plan.changes().count());
            for step in &plan.steps {
                *tally.steps.entry(kind(step.change)).or_insert(0) += 1;
            }
            tally.mutations += mutations.len();
            settles_to_nothing(&host.world);
            let new = state(&host.world);
            assert_eq!(new.last_successful.as_deref(), Some("d-2"));
            Reference { old, new: Some(new), mutations: seen.len() }
        }
        Err(error) => {
            assert!(matches!(error.cause, Cause::Conflicts(_)), "{error}: {:?}", host.appspec());
            assert!(matches!(error.aftermath, Aftermath::Untouched), "{error}");
            tally.clashes += 1;
            assert_eq!(changes(&before, &everything(&host.world)), Vec::<PathBuf>::new(), "by what clashes");
            Reference { old, new: None, mutations: seen.len().max(1) }
        }
    }
}

fn kind(change: Change) -> &'static str {
    match change {
        Change::Create => "create",
        Change::Replace => "replace",
        Change::Remove => "remove",
        Change::RemoveDirectory => "remove directory",
        Change::Attributes => "attributes",
        Change::Touch => "touch",
        Change::Keep => "keep",
        Change::Retain => "retain",
    }
}

/// One mutation fails, and the install itself puts things right.
fn fail(seed: u64, at: (usize, i32), reference: &Reference, tally: &mut Tally) {
    let host = Host::of(seed);
    let inodes = inodes(&host.world);
    let (result, seen) = fault::run(Some(at), false, || host.install());
    let context = format!("{:?} of {} fails with {}", seen.get(at.0), at.0, at.1);
    tally.failures += 1;
    let is_new = whole(&host.world, reference, &context, tally);
    match &result {
        Ok(_) => assert!(is_new, "{context}: success was answered"),
        Err(error) => {
            assert!(!is_new, "{context}: {error}");
            assert!(!matches!(error.aftermath, Aftermath::Unsettled(_)), "{context}: {error}");
        }
    }
    if !is_new {
        assert_eq!(self::inodes(&host.world), inodes, "{context}: another inode was put back");
    }
    settles_to_nothing(&host.world);
    let Some(new) = &reference.new else { return };
    // What is in the way of one failure is not in the way of the next attempt.
    match host.install() {
        Ok(_) => {}
        // A link that was kept can lead to a directory now, where it led nowhere.
        Err(error) if is_new && matches!(error.cause, Cause::Conflicts(_)) => {}
        Err(error) => panic!("{context}, and then {error}"),
    }
    if !is_new {
        let again = State { owned: new.owned.clone(), ..state(&host.world) };
        again.must_be(new, &format!("{context}, and again"));
    }
    settles_to_nothing(&host.world);
}

/// The process ends at a mutation, and those that recover from it end too, before one gets to its end.
fn die(seed: u64, at: (usize, i32), reference: &Reference, random: &mut Rng, tally: &mut Tally) {
    let host = Host::of(seed);
    let inodes = inodes(&host.world);
    let (result, seen) = fault::run(Some(at), true, || host.install());
    let mut context = format!("dead at {:?} of {}", seen.get(at.0), at.0);
    tally.deaths += 1;
    for _ in 0..random.usize(..=DEEPEST) {
        let second = random.usize(..20);
        let then_dead = random.u8(..4) != 0;
        let (recovered, seen) = fault::run(Some((second, at.1)), then_dead, || host.world.settle());
        let how = if then_dead { "dead" } else { "an error" };
        context += &format!(", in the recovery {how} at {:?} of {second}", seen.get(second));
        if recovered.is_ok() {
            break;
        }
        tally.deaths_in_recovery += 1;
    }
    let (settled, mutations) = fault::traced(|| host.world.settle());
    let settled = settled.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(syncs::broken(&mutations, &host.world), None);
    let is_new = whole(&host.world, reference, &context, tally);
    assert!(is_new || result.is_err(), "{context}: success was answered");
    for one in &settled {
        assert!(one.drift.is_empty(), "{context}: {settled:?}");
        // A journal goes before its directory does: then there was nothing left to do, or nothing done yet.
        let is_told = one.install.is_some();
        assert!(!is_told || (one.ending == Ending::Completed) == is_new, "{context}: {settled:?}");
    }
    if !is_new {
        assert_eq!(self::inodes(&host.world), inodes, "{context}: another inode was put back");
    }
    settles_to_nothing(&host.world);
}

/// Whether it is the new state, which is the old one otherwise: on the host, in the manifests, in the
/// marker and in the files that another agent would read.
fn whole(world: &World, reference: &Reference, context: &str, tally: &mut Tally) -> bool {
    world.assert_no_transactions();
    let found = state(world);
    let is_new = found.last_successful.as_deref() == Some("d-2");
    if is_new {
        tally.new += 1;
        let new = reference.new.as_ref().unwrap_or_else(|| panic!("{context}: what clashes was installed"));
        found.must_be(new, context);
    } else {
        tally.old += 1;
        found.must_be(&reference.old, context);
    }
    is_new
}

/// Settling what is settled makes no call that could change anything, and changes nothing.
fn settles_to_nothing(world: &World) {
    let before = everything(world);
    let (again, seen) = fault::run(None, false, || world.settle());
    assert_eq!((again.unwrap(), seen), (Vec::new(), Vec::new()));
    assert_eq!(changes(&before, &everything(world)), Vec::<PathBuf>::new(), "by settling again");
}

fn state(world: &World) -> State {
    let place = world.temp.path();
    let relative = |path: &Path| path.strip_prefix(place).unwrap_or(path).to_owned();
    let owned = |Manifest { deployment, serial, entries, .. }: Manifest| {
        let owned = |owned: Owned| Owned { path: relative(&owned.path), ..owned };
        (deployment.to_string(), serial, entries.into_iter().map(owned).collect())
    };
    let manifest = |group: crate::ids::GroupId| {
        let manifest = read_manifest(&world.layout, &group).unwrap().unwrap();
        (group.to_string(), owned(manifest))
    };
    let owned: BTreeMap<_, _> = groups(&world.layout).unwrap().into_iter().map(manifest).collect();
    let marker = read_markers(&world.layout, &world.group).unwrap().last_successful.map(|mark| mark.deployment);
    let deployment = owned.get("group").map(|(deployment, ..)| id(deployment));
    assert_eq!(marker, deployment, "manifest and marker disagree");
    let instructions = std::fs::read_dir(world.layout.instructions()).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: &Path| std::fs::read_to_string(path).unwrap().replace(place.to_str().unwrap(), "");
    let instructions = instructions.map(|path| (relative(&path), text(&path))).collect();
    let tree = tree(&world.path(""));
    State { tree, owned, last_successful: marker.map(|deployment| deployment.to_string()), instructions }
}

fn inodes(world: &World) -> BTreeMap<PathBuf, u64> {
    let inode = |path: &Path| std::fs::symlink_metadata(world.path("").join(path)).unwrap().ino();
    world.tree().into_keys().map(|path| (path.clone(), inode(&path))).collect()
}

/// By what a change of a path could be seen: its inode, the time of its last change, its size.
type Trace = (u64, (i64, i64), u64);

/// Everything on the host and in the agent's state but its locks, which say nothing.
fn everything(world: &World) -> BTreeMap<PathBuf, Trace> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![world.path(""), world.layout.own(), world.layout.instructions()];
    while let Some(path) = ahead.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            let below = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            ahead.extend(below.filter(|path| *path != world.layout.locks()));
        }
        found.insert(path, (meta.ino(), (meta.ctime(), meta.ctime_nsec()), meta.size()));
    }
    found
}

/// The paths that differ.
fn changes(before: &BTreeMap<PathBuf, Trace>, after: &BTreeMap<PathBuf, Trace>) -> Vec<PathBuf> {
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}
