//! Which packages of the distribution own a path.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::disk::{self, Dir, Kind};
use crate::plan::{Blocked, Conflict, PathOwner};

/// Where dpkg keeps a list of paths for each package (`dpkg-query(1)`).
const DPKG: &str = "/var/lib/dpkg/info";
/// The longest list that is read. Those of the largest packages have a few megabytes.
const MAX_LIST: u64 = 64 << 20;
/// How many packages a message names.
const NAMED: usize = 3;
/// Directories that are links into `/usr` on most hosts, while packages list what is in them either way.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Names the packages that own what is in the way. Read only where there are clashes: it takes a moment.
pub(super) fn name_owners(mut blocked: Box<Blocked>) -> Box<Blocked> {
    let conflicts = &mut blocked.conflicts;
    let paths: BTreeSet<PathBuf> =
        conflicts.0.iter_mut().filter_map(unknown).map(|(path, _)| path.to_owned()).collect();
    if paths.is_empty() {
        return blocked;
    }
    match owners(Path::new(DPKG), &paths) {
        Ok(packages) => {
            for (path, owner) in conflicts.0.iter_mut().filter_map(unknown) {
                if let Some(names) = packages.get(path) {
                    *owner = PathOwner::Packages(names.clone());
                }
            }
        }
        // The clash itself is what has to be told.
        Err(error) => tracing::warn!(%error, "which packages own what is in the way cannot be looked up"),
    }
    blocked
}

fn unknown(conflict: &mut Conflict) -> Option<(&Path, &mut PathOwner)> {
    match conflict {
        Conflict::Exists { path, owner: owner @ PathOwner::Unknown, .. } => Some((path, owner)),
        _ => None,
    }
}

/// The packages that list the paths; nothing where there is no dpkg.
fn owners(lists: &Path, paths: &BTreeSet<PathBuf>) -> Result<BTreeMap<PathBuf, Vec<String>>, disk::Error> {
    let mut spellings: BTreeMap<Vec<u8>, &PathBuf> = BTreeMap::new();
    for path in paths {
        spellings.insert(path.as_os_str().as_bytes().to_vec(), path);
        if let Some(other) = unmerged(path) {
            spellings.insert(other.into_os_string().into_encoded_bytes(), path);
        }
    }
    let mut found: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    let dir = match Dir::open(lists) {
        Err(error) if error.is_not_found() => return Ok(found),
        other => other?,
    };
    for entry in dir.entries()?.iter().filter(|entry| entry.kind == Kind::File) {
        // `name.list`, or `name:architecture.list`.
        let Some(package) = entry.name.to_str().and_then(|name| name.strip_suffix(".list")) else { continue };
        let package = package.split(':').next().unwrap_or(package);
        let text = disk::read_bounded_at(&dir, Path::new(&entry.name), MAX_LIST)?;
        for path in text.split(|byte| *byte == b'\n').filter_map(|line| spellings.get(line)) {
            let packages = found.entry((*path).clone()).or_default();
            if packages.len() < NAMED && !packages.iter().any(|known| known == package) {
                packages.push(package.to_owned());
            }
        }
    }
    Ok(found)
}

/// The other spelling of a path in a directory that was merged into `/usr`.
fn unmerged(path: &Path) -> Option<PathBuf> {
    let below = path.strip_prefix("/usr").ok()?;
    let first = below.iter().next()?.to_str()?;
    MERGED.contains(&first).then(|| Path::new("/").join(below))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make files by themselves")]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_by_their_lists() {
        let temp = tempfile::tempdir().unwrap();
        let list = |name: &str, text: &str| std::fs::write(temp.path().join(name), text).unwrap();
        list("web.list", "/.\n/etc\n/etc/web.conf\n/etc/web.conf.d\n");
        list("tool:amd64.list", "/etc\n/bin/tool\n");
        list("tool.md5sums", "/etc/web.conf\n");
        list("a.list", "/etc");
        list("b.list", "/etc");
        let paths = ["/etc", "/etc/web.conf", "/etc/web", "/usr/bin/tool", "/usr/etc"];
        let found = owners(temp.path(), &paths.map(PathBuf::from).into()).unwrap();
        let of = |path: &str| found.get(Path::new(path)).map(Vec::as_slice).unwrap_or_default().join(" ");
        assert_eq!(paths.map(of), ["a b tool", "web", "", "tool", ""]);
        assert_eq!(owners(&temp.path().join("none"), &paths.map(PathBuf::from).into()).unwrap(), BTreeMap::new());
    }
}
