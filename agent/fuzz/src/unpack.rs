//! Any bytes as a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use slipway_agent::deployment::BundleType;
use slipway_agent::disk::Dir;
use slipway_agent::unpack::{
    Limits, Modes, Ownership, Parents, Policy, Symlinks, UnpackError, UnpackReport, UnpackWarning, unpack,
};

use crate::place::{self, Seen};

/// So small that archives of a few kilobytes come to them.
const LIMITS: Limits = Limits { entries: 24, depth: 5, bytes: 4 << 10 };
/// As agents unpack where nothing is configured, but for the limits.
const KEPT: Policy = Policy {
    limits: LIMITS,
    symlinks: Symlinks::Kept,
    parents: Parents::Dropped,
    modes: Modes::Kept,
    ownership: Ownership::Preserved,
};
const REFUSED: Policy = Policy {
    limits: LIMITS,
    symlinks: Symlinks::Refused,
    parents: Parents::Refused,
    modes: Modes::UnsafeRefused,
    ownership: Ownership::Own,
};

/// A place with something beside the tree, which nobody may touch.
struct Sandbox {
    place: PathBuf,
    canary: BTreeMap<PathBuf, Seen>,
}

/// Nothing outside of the tree is touched, the limits hold, there is nothing but files, directories and
/// links in it, and the digests that are told are those of the files. With everything refused that can be, there are not even links.
pub fn check(bundle: &[u8], bundle_type: BundleType) {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let sandbox = SANDBOX.get_or_init(Sandbox::new);
    fs::write(sandbox.place.join("bundle"), bundle).expect("a file");
    let (result, tree) = sandbox.unpack(bundle_type, &KEPT);
    let is_unsafe = |seen: &Seen| seen.is_symlink() || seen.mode & 0o6000 != 0 || seen.mode & 0o1002 == 0o002;
    if !tree.values().any(is_unsafe) {
        return;
    }
    let (refused, tree) = sandbox.unpack(bundle_type, &REFUSED);
    assert!(refused.is_err() || result.is_err(), "what is unsafe was unpacked");
    assert!(!tree.values().any(is_unsafe), "{tree:?}");
}

impl Sandbox {
    fn new() -> Self {
        let place = place::own("unpack");
        let outside = place.join("outside");
        fs::create_dir_all(outside.join("dir")).expect("a directory");
        fs::write(outside.join("secret"), "secret").expect("a file");
        fs::write(outside.join("dir/secret"), "secret").expect("a file");
        symlink("secret", outside.join("link")).expect("a link");
        let canary = place::walk(&outside);
        Self { place, canary }
    }

    fn unpack(
        &self,
        bundle_type: BundleType,
        policy: &Policy,
    ) -> (Result<UnpackReport, UnpackError>, BTreeMap<PathBuf, Seen>) {
        let staging = self.place.join("staging");
        let _ = fs::remove_dir_all(&staging);
        fs::create_dir(&staging).expect("a directory");
        let dir = Dir::open(&staging).expect("the staging directory");
        let result = unpack(&self.place.join("bundle"), bundle_type, dir, policy);
        let tree = place::walk(&staging);
        check_tree(&tree, policy);
        match &result {
            Ok(report) => check_report(&tree, report),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert_eq!(place::walk(&self.place.join("outside")), self.canary, "{result:?}");
        let beside: BTreeSet<PathBuf> =
            fs::read_dir(&self.place).expect("the place").map(|entry| entry.expect("an entry").path()).collect();
        assert_eq!(beside.len(), 3, "{beside:?}");
        (result, tree)
    }
}

fn check_tree(tree: &BTreeMap<PathBuf, Seen>, policy: &Policy) {
    assert!(tree.len() as u64 <= LIMITS.entries, "{} entries", tree.len());
    let mut files = BTreeMap::new();
    for (path, seen) in tree {
        assert!(seen.is_file() || seen.is_directory() || seen.is_symlink(), "{}: {seen:?}", path.display());
        assert!(path.components().count() <= LIMITS.depth, "{} is too deep", path.display());
        if seen.is_file() {
            files.insert(seen.inode, seen.size);
        }
        if policy.ownership == Ownership::Own {
            assert_eq!(seen.mode & 0o6000, 0, "{} has a gift", path.display());
        }
    }
    // Two names of one file count once.
    assert!(files.values().sum::<u64>() <= LIMITS.bytes, "{files:?}");
}

fn check_report(tree: &BTreeMap<PathBuf, Seen>, report: &UnpackReport) {
    assert!(tree.len() as u64 <= report.entries && report.entries <= LIMITS.entries, "{report:?}");
    let files: BTreeMap<u64, u64> =
        tree.values().filter(|seen| seen.is_file()).map(|seen| (seen.inode, seen.size)).collect();
    // What a later entry of the same path took the place of was counted, and is gone, or has another name.
    let is_repeated = |warning: &UnpackWarning| matches!(warning, UnpackWarning::Repeated(_));
    let replaced = report.warnings.iter().any(is_repeated);
    let (bytes, count) = (files.values().sum::<u64>(), files.len());
    assert!(bytes <= report.bytes && count >= report.digests.len(), "{report:?}");
    assert!(replaced || (bytes == report.bytes && count == report.digests.len()), "{report:?}");
    for (path, digest) in &report.digests {
        let seen = tree.get(path).expect("a file that was unpacked");
        assert!(seen.is_file(), "{}", path.display());
        let content = &seen.content;
        assert_eq!(digest.0, <[u8; 32]>::from(Sha256::digest(content)), "{}", path.display());
    }
}
