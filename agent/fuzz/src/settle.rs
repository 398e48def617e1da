//! Settling by a journal that nobody would have written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use slipway_agent::disk::Mounts;
use slipway_agent::ids::{DeploymentId, GroupId, TransactionId};
use slipway_agent::install::{Ending, settle};
use slipway_agent::journal::{Begin, FORMAT, Filesystem, Journal, Record, Staged};
use slipway_agent::layout::Layout;
use slipway_agent::plan::{Attrs, Change, Identity, PathState, Step, Time};
use slipway_agent::store;

use crate::place::{self, Seen};

const TRANSACTION: &str = "00112233445566ff";
/// Below the place: targets, what is beside them, and what can only be wrong.
const PATHS: [&str; 14] = [
    "target/file",
    "target/other",
    "target/dir",
    "target/dir/one",
    "target/dir/two",
    "target/empty",
    "target/link",
    "target/missing",
    "target/missing/inner",
    "target/link/secret",
    "target/../outside/secret",
    "outside/../target/file",
    "target/file/below",
    "target/.file.00112233445566ff.new",
];
const CHANGES: [Change; 8] = [
    Change::Create,
    Change::Replace,
    Change::Remove,
    Change::RemoveDirectory,
    Change::Attributes,
    Change::Touch,
    Change::Keep,
    Change::Retain,
];

struct Sandbox {
    place: PathBuf,
    layout: Layout,
    filesystem: Filesystem,
}

/// The bytes are records, a few for each. Whatever they say, nothing changes but what the plan is about,
/// nothing at all where the journal is refused, and settling a second time does nothing more.
pub fn check(data: &[u8]) {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let sandbox = SANDBOX.get_or_init(Sandbox::new);
    let contents = sandbox.fill(data.first().copied().unwrap_or(0));
    let records = sandbox.records(data.get(1..).unwrap_or_default(), &contents);
    sandbox.write(&records);
    let before = sandbox.walk();
    let settled = settle(&sandbox.layout);
    let after = sandbox.walk();
    let plan = Touchable::new(&records);
    for path in before.keys().chain(after.keys()) {
        let is_same = before.get(path) == after.get(path);
        assert!(is_same || plan.covers(path), "{} was touched: {records:?}", path.display());
    }
    let settled = settled.expect("the transactions can be listed");
    assert_eq!(settled.len(), 1);
    match &settled[0].ending {
        // The plan may ask for what no file system does; a journal that is refused touches nothing.
        Ending::Failed { why } => {
            assert!(!why.contains("journal") || before == after, "{why}");
            assert!(sandbox.layout.transactions().join(TRANSACTION).exists());
        }
        ending => {
            let again = settle(&sandbox.layout).expect("settled once, it can be settled again");
            assert_eq!(sandbox.walk(), after, "the second time changes something: {records:?}");
            if matches!(ending, Ending::Waiting { .. }) {
                assert_eq!((before, settled), (after, again));
            } else {
                assert!(again.is_empty());
                assert!(!sandbox.layout.transactions().join(TRANSACTION).exists());
            }
        }
    }
}

impl Sandbox {
    fn new() -> Self {
        let place = place::own("settle");
        let layout = Layout::new(place.join("root"));
        store::prepare(&layout).expect("a root directory");
        let mounts = Mounts::read().expect("the mounts");
        let mount = mounts.of(&place).expect("a mount");
        let filesystem = Filesystem { mount_point: mount.point.clone(), kind: mount.kind.clone(), volume: None };
        Self { place, layout, filesystem }
    }

    /// Makes everything anew. Of the stage names, those are there whose bit is set.
    fn fill(&self, bits: u8) -> Vec<u64> {
        for directory in ["target", "outside"] {
            let _ = fs::remove_dir_all(self.place.join(directory));
        }
        let file = |path: &str| fs::write(self.place.join(path), path).expect("a file");
        let directory = |path: &str| fs::create_dir_all(self.place.join(path)).expect("a directory");
        ["target/dir", "target/empty", "outside/deep"].into_iter().for_each(directory);
        ["target/file", "target/other", "target/dir/one", "target/dir/two"].into_iter().for_each(file);
        ["outside/secret", "outside/deep/secret"].into_iter().for_each(file);
        symlink("../outside", self.place.join("target/link")).expect("a link");
        let stages = ["target/file", "target/dir", "target/missing", "target/link", "target/other", "target/empty"];
        for (number, path) in stages.into_iter().enumerate() {
            if bits & 1 << number == 0 {
                continue;
            }
            let ending = if bits & 64 == 0 { "new" } else { "old" };
            let name = sibling(Path::new(path), ending);
            match number {
                1 | 2 => {
                    directory(&format!("{name}/sub"));
                    file(&format!("{name}/inner"));
                }
                3 => symlink("../outside/deep", self.place.join(&name)).expect("a link"),
                _ => file(&name),
            }
        }
        let mut inodes: Vec<(PathBuf, u64)> = Vec::new();
        for directory in ["target", "outside"] {
            let root = self.place.join(directory);
            inodes.push((root.clone(), fs::symlink_metadata(&root).expect("a directory").ino()));
            inodes.extend(place::walk(&root).into_iter().map(|(path, seen)| (root.join(path), seen.inode)));
        }
        inodes.sort();
        inodes.into_iter().map(|(_, inode)| inode).collect()
    }

    fn walk(&self) -> BTreeMap<PathBuf, Seen> {
        let mut all = BTreeMap::new();
        for directory in ["target", "outside"] {
            let found = place::walk(&self.place.join(directory));
            all.extend(found.into_iter().map(|(path, seen)| (Path::new(directory).join(path), seen)));
        }
        all
    }

    fn write(&self, records: &[Record]) {
        let id = TransactionId::parse(TRANSACTION).expect("an id");
        let _ = fs::remove_dir_all(self.layout.transaction(&id));
        fs::create_dir(self.layout.transaction(&id)).expect("a directory");
        let mut journal = Journal::create(&self.layout.journal(&id)).expect("a journal");
        for record in records {
            journal.append(record).expect("an append");
        }
        journal.sync().expect("a sync");
    }

    fn records(&self, mut bytes: &[u8], inodes: &[u64]) -> Vec<Record> {
        let mut records = vec![Record::Begin(Begin {
            format: FORMAT,
            group: GroupId::parse("group").expect("an id"),
            deployment: DeploymentId::parse("d-1").expect("an id"),
            previous: None,
            filesystems: vec![self.filesystem.clone()],
            list: None,
        })];
        let identity = |byte: u8| {
            let inode = *inodes.get(usize::from(byte).checked_sub(1)? % inodes.len())?;
            Some(Identity { inode, birth: None })
        };
        let mut steps = 0;
        while let Some((kind, rest)) = bytes.split_first() {
            bytes = rest;
            let mut next = || {
                let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
                bytes = rest;
                *first
            };
            records.push(match kind % 8 {
                0 | 1 => {
                    steps += 1;
                    let path = self.place.join(PATHS[usize::from(next()) % PATHS.len()]);
                    let change = CHANGES[usize::from(next()) % CHANGES.len()];
                    let (was, want) = (Some(Box::new(state(next()))), state(next()));
                    let identity = identity(next()).map(Box::new);
                    let step = Step { path, change, was, want, identity, given: None, source: None };
                    Record::Step(Box::new(step))
                }
                2 => Record::Planned { steps: if next() == 0xff { 0 } else { steps }, rules: 0 },
                3 => Record::Staged(Staged {
                    step: usize::from(next()) % (steps + 1),
                    old: identity(next()),
                    new: identity(next()),
                }),
                4 => Record::Prepared,
                5 => Record::Commit,
                6 => Record::RolledBack,
                _ => Record::Done,
            });
        }
        records
    }
}

fn state(byte: u8) -> PathState {
    let attrs = Attrs::new(0, 0, [0o755, 0o700, 0o4711, 0o644][usize::from(byte >> 4) % 4]);
    match byte % 5 {
        0 => PathState::Absent,
        1 => PathState::File { attrs, modified: Time(1_000_000, 0), size: 3, sha256: None },
        2 => PathState::Directory { attrs },
        3 => PathState::Symlink { uid: 0, gid: 0, target: "../outside".into() },
        _ => PathState::Other,
    }
}

/// A name of the transaction beside a path.
fn sibling(path: &Path, ending: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{TRANSACTION}.{ending}")).display().to_string()
}

/// What a journal's plan is about: each target with what is below it, and the names beside it. Before
/// anything was prepared, that is only the names.
struct Touchable {
    targets: Vec<PathBuf>,
    names: Vec<PathBuf>,
}

impl Touchable {
    fn new(records: &[Record]) -> Self {
        let mut touchable = Self { targets: Vec::new(), names: Vec::new() };
        for record in records {
            let Record::Step(step) = record else { continue };
            let Some(path) = PATHS.iter().find(|path| step.path.ends_with(path)).map(Path::new) else { continue };
            touchable.names.extend(["new", "old"].map(|ending| PathBuf::from(sibling(path, ending))));
            if records.contains(&Record::Prepared) {
                touchable.targets.push(path.to_owned());
            }
        }
        touchable
    }

    fn covers(&self, path: &Path) -> bool {
        self.targets.iter().chain(&self.names).any(|covered| path.starts_with(covered))
    }
}
