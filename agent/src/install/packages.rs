//! Which packages of the distribution own a path.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{self, Dir, Kind};
use crate::plan::{Blocked, Conflict, PathOwner};
use crate::process;

/// Where dpkg keeps a list of paths for each package (`dpkg-query(1)`).
const DPKG: &str = "/var/lib/dpkg/info";
/// The longest list that is read. Those of the largest packages have a few megabytes.
const MAX_LIST: u64 = 64 << 20;
/// Where distributions with rpm keep its database, and the names that it has.
const RPM: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
const RPM_DATABASES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];
/// How many paths rpm is asked about: each is a question of its own.
const RPM_PATHS: usize = 200;
/// How long rpm may take for one.
const PATIENCE: Duration = Duration::from_secs(30);
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
    // The clash itself is what has to be told.
    let warn = |error: &dyn std::error::Error| {
        tracing::warn!(%error, "which packages own what is in the way cannot be looked up");
    };
    let mut packages = owners(Path::new(DPKG), &paths).unwrap_or_else(|error| {
        warn(&error);
        BTreeMap::new()
    });
    let others = paths.iter().filter(|path| !packages.contains_key(*path)).cloned().collect();
    match rpm_database().map(|database| rpm_owners(&database, &others)) {
        None => {}
        Some(Ok(found)) => packages.extend(found),
        Some(Err(error)) => warn(&error),
    }
    for (path, owner) in conflicts.0.iter_mut().filter_map(unknown) {
        if let Some(names) = packages.get(path) {
            *owner = PathOwner::Packages(names.clone());
        }
    }
    blocked
}

/// Where this host has a database of rpm. One that was only installed as a tool has none.
fn rpm_database() -> Option<PathBuf> {
    RPM.into_iter().map(PathBuf::from).find(|directory| {
        let Ok(dir) = Dir::open(directory) else { return false };
        RPM_DATABASES.iter().any(|name| matches!(dir.stat_if_exists(name), Ok(Some(_))))
    })
}

/// The packages of rpm that the paths belong to; nothing where there is no rpm to ask. Its database is of
/// several kinds, which rpm alone reads.
fn rpm_owners(database: &Path, paths: &BTreeSet<PathBuf>) -> Result<BTreeMap<PathBuf, Vec<String>>, process::Error> {
    let mut found = BTreeMap::new();
    let Some(rpm) = process::find_program("rpm") else { return Ok(found) };
    // What is not owned is said on the same output, in a sentence.
    let question = ["-qf", "--queryformat", "package %{NAME}\\n", "--dbpath"].map(OsStr::new);
    for path in paths.iter().take(RPM_PATHS) {
        let args = [&question[..], &[database.as_os_str(), path.as_os_str()]].concat();
        let answer = process::ask(&rpm, &args, b"", PATIENCE)?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let mut names: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("package ")).map(str::to_owned).collect();
        names.truncate(NAMED);
        if !names.is_empty() {
            found.insert(path.clone(), names);
        }
    }
    Ok(found)
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

    /// With the real rpm, in a database of its own.
    #[test]
    fn packages_of_rpm_are_found_by_asking_it() {
        let has = |program| process::find_program(program).is_some();
        if !has("rpm") || !has("rpmbuild") {
            let why = "skipped, since there is no rpm and rpmbuild: they are in the package rpm\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), why.as_bytes());
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        std::fs::create_dir_all(at("app")).unwrap();
        for file in ["owned", "own two", "theirs"] {
            std::fs::write(at("app").join(file), "x").unwrap();
        }
        // Both would make a database in the home directory too.
        let run = |program: &str, args: &[String]| {
            let output = std::process::Command::new(program).args(args).env("HOME", temp.path()).output().unwrap();
            assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let build = |name: &str| {
            let app = at("app").display().to_string();
            let spec = format!(
                "Name: {name}\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n\
                 %install\nmkdir -p %{{buildroot}}{app}\ntouch %{{buildroot}}{app}/owned \"%{{buildroot}}{app}/own two\"\n\
                 %files\n{app}/owned\n\"{app}/own two\"\n"
            );
            std::fs::write(at("spec"), spec).unwrap();
            let define = |key: &str, value: &str| ["--define".to_owned(), format!("{key} {}", at(value).display())];
            let defines = [define("_topdir", "top"), define("_rpmdir", "out"), define("_tmppath", "tmp")].concat();
            std::fs::create_dir_all(at("tmp")).unwrap();
            run("rpmbuild", &[&["-bb".to_owned(), "--quiet".to_owned()], &defines[..], &[text(&at("spec"))]].concat());
            let package = at("out/noarch").join(format!("{name}-1-1.noarch.rpm"));
            let options = ["--justdb", "--nodeps", "--replacefiles", "-i", "--dbpath"].map(str::to_owned);
            run("rpm", &[&options[..], &[text(&at("db")), text(&package)]].concat());
        };
        build("web-shop");
        build("web-other");
        let paths = ["owned", "own two", "theirs"].map(|name| at("app").join(name));
        let found = rpm_owners(&at("db"), &paths.clone().into()).unwrap();
        let both = vec!["web-other".to_owned(), "web-shop".to_owned()];
        let sorted = |path: &PathBuf| {
            let mut names = found.get(path).cloned().unwrap_or_default();
            names.sort();
            names
        };
        assert_eq!(paths.each_ref().map(sorted), [both.clone(), both, vec![]]);
    }

    fn text(path: &Path) -> String {
        path.display().to_string()
    }

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
