//! A tree as an install may change it: everything of it in text, so that two are compared and the
//! difference is told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Differences that a message shows.
const SHOWN: usize = 6;

/// Every path below some roots, with all that an install sets: kind, mode, owner, time, content, extended
/// attributes (and so ACLs), and which names are one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, String>);

impl Tree {
    /// Walks all of `roots`.
    pub fn read(roots: &[&Path]) -> Result<Self> {
        let (mut found, mut first_names) = (BTreeMap::new(), BTreeMap::new());
        for root in roots {
            let mut ahead = vec![(*root).to_owned()];
            while let Some(directory) = ahead.pop() {
                let entries = fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?;
                let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
                paths.sort();
                for path in paths {
                    let shown = show(&path, &mut first_names)?;
                    if shown.starts_with("dir") {
                        ahead.push(path.clone());
                    }
                    found.insert(path, shown);
                }
            }
        }
        Ok(Self(found))
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first paths that are not the same in both, in words.
    pub fn difference(&self, wanted: &Self) -> String {
        let paths = self.0.keys().chain(wanted.0.keys().filter(|path| !self.0.contains_key(*path)));
        let differing: Vec<String> = paths
            .filter(|path| self.0.get(*path) != wanted.0.get(*path))
            .map(|path| format!("{}: is {:?}, not {:?}", path.display(), self.0.get(path), wanted.0.get(path)))
            .collect();
        let shown = differing.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
        if differing.len() > SHOWN { format!("{shown}; and {} more", differing.len() - SHOWN) } else { shown }
    }
}

fn show(path: &Path, first_names: &mut BTreeMap<(u64, u64), PathBuf>) -> Result<String> {
    let meta = fs::symlink_metadata(path).with_context(|| format!("examine {}", path.display()))?;
    let owner = format!("{}:{}", meta.uid(), meta.gid());
    if meta.is_symlink() {
        return Ok(format!("link {owner} to {}", fs::read_link(path)?.display()));
    }
    let attributes = extended_attributes(path)?;
    let mode = meta.mode() & 0o7777;
    if meta.is_dir() {
        return Ok(format!("dir {mode:o} {owner}{attributes}"));
    }
    let content = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let digest = hex::encode(&Sha256::digest(&content)[..6]);
    let first = first_names.entry((meta.dev(), meta.ino())).or_insert_with(|| path.to_owned());
    let same = if first == path { String::new() } else { format!(" is {}", first.display()) };
    let (seconds, nanos) = (meta.mtime(), meta.mtime_nsec());
    let (links, length) = (meta.nlink(), content.len());
    Ok(format!("file {mode:o} {owner} {seconds}.{nanos} {length} {digest} {links} names{same}{attributes}"))
}

fn extended_attributes(path: &Path) -> Result<String> {
    let mut names = vec![0; 4096];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else { return Ok(String::new()) };
    let mut shown = String::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        shown.push_str(&format!(" {}={}", String::from_utf8_lossy(name), hex::encode(&value[..length])));
    }
    Ok(shown)
}
