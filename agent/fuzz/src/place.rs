//! A directory for a target that writes, and what is in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names the directory that targets write to; whoever runs them removes it.
const VARIABLE: &str = "SLIPWAY_FUZZ_PLACE";

/// A new directory of this process, in memory where there is a place for it.
pub fn own(target: &str) -> PathBuf {
    let parent = std::env::var_os(VARIABLE).map_or_else(
        || {
            let shm = Path::new("/dev/shm");
            if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
        },
        PathBuf::from,
    );
    let place = parent.join(format!("slipway-fuzz-{target}-{}", std::process::id()));
    fs::create_dir_all(&place).expect("a place to write to");
    place.canonicalize().expect("a place to write to")
}

/// What tells whether a path was touched. The times of directories are left out: making a file beside
/// another changes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub inode: u64,
    /// Kind and permission bits.
    pub mode: u32,
    pub owner: (u32, u32),
    pub links: Option<u64>,
    pub size: u64,
    pub modified: Option<(i64, i64)>,
    /// Of a file its content, of a symlink where it points.
    pub content: Vec<u8>,
}

impl Seen {
    const KIND: u32 = 0o170_000;

    pub fn is_file(&self) -> bool {
        self.mode & Self::KIND == 0o100_000
    }

    pub fn is_directory(&self) -> bool {
        self.mode & Self::KIND == 0o040_000
    }

    pub fn is_symlink(&self) -> bool {
        self.mode & Self::KIND == 0o120_000
    }
}

/// Everything below a directory, by its path relative to that.
pub fn walk(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            let meta = fs::symlink_metadata(&path).expect("an entry that is there");
            let is_directory = meta.is_dir();
            let content = if meta.is_symlink() {
                fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
            } else if meta.is_file() {
                fs::read(&path).expect("a readable file")
            } else {
                Vec::new()
            };
            let seen = Seen {
                inode: meta.ino(),
                mode: meta.mode(),
                owner: (meta.uid(), meta.gid()),
                links: (!is_directory).then_some(meta.nlink()),
                size: if is_directory { 0 } else { meta.size() },
                modified: (!is_directory).then_some((meta.mtime(), meta.mtime_nsec())),
                content,
            };
            found.insert(path.strip_prefix(root).expect("a path below the root").to_owned(), seen);
            if is_directory {
                ahead.push(path);
            }
        }
    }
    found
}
