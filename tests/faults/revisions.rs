//! The old revision and the new one: every kind of change that an install makes is between them.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// A program that runs for as long as it is told to.
const PROGRAM: &str = "/bin/sleep";

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// What is on the host before.
    Old,
    /// What is installed over it.
    New,
}

/// Paths of `content`, each as `path/`, `path->target` or `path=content`, with what follows a bar as
/// attributes: `mode` in octal, `uid:gid`, `@seconds`.
const OLD: &[&str] = &[
    "same=s",
    "same-large=*20000",
    "touched=t|@1000000",
    "changed=one",
    "changed-large=*9000",
    "grows=g",
    "gone=g",
    "gone-link->same",
    "link->changed",
    "dangling->nowhere",
    "empty=",
    "mode=m|600",
    "set-id=s|2755",
    "owned=o|640|1:1",
    "given-away=g|640|1:2",
    "named=n",
    "listed=l",
    "vanishing/deep/file=v",
    "vanishing/deep/other=v",
    "vanishing-too/a=1",
    "becomes-dir=f",
    "becomes-link/a=1",
    "becomes-link/b/c=2",
    "link-becomes-file->same",
    "file-becomes-link=f",
    "closed/file=c",
    "closed/changed=1",
    "opened/|700",
    "opened/file=o",
];

const NEW: &[&str] = &[
    "same=s",
    "same-large=*20000",
    "touched=t|@3000000",
    "changed=two",
    "changed-large=*12000",
    "grows=*30000",
    "link->same",
    "dangling->elsewhere",
    "empty=",
    "mode=m|644",
    "set-id=t|4755",
    "owned=o|640|1:1",
    "given-away=g|640|2:1",
    "named=n",
    "listed=l",
    "new=n",
    "new-link->new",
    "new-owned=*5000|600|7:7",
    "appearing/deep/file=a",
    "appearing/deep/deeper/other=*4097",
    "appearing/link->deep/file",
    "appearing/closed/|711|2:2",
    "appearing/closed/inner=i|400",
    "appearing-too/x=1",
    "becomes-dir/inner=f",
    "becomes-link->same",
    "link-becomes-file=l",
    "file-becomes-link->same",
    "closed/file=c",
    "closed/changed=2",
    "opened/|755|3:3",
    "opened/file=o",
];

/// What is installed on the state's own file system.
const OLD_BESIDE: &[&str] = &["kept=k", "changed=1", "gone=1", "sub/gone=1"];
const NEW_BESIDE: &[&str] = &["kept=k", "changed=2", "new=2", "other/new=2"];

/// Where the revisions are installed to.
#[derive(Clone, Debug)]
pub struct Destinations {
    /// On a file system of its own.
    pub app: PathBuf,
    /// On the file system that the agent's state is on.
    pub beside: PathBuf,
}

/// Writes a revision as a directory.
pub fn write(version: Version, to: &Path, destinations: &Destinations) -> Result<()> {
    let (content, beside) = match version {
        Version::Old => (OLD, OLD_BESIDE),
        Version::New => (NEW, NEW_BESIDE),
    };
    fs::create_dir_all(to)?;
    make(&to.join("content"), content)?;
    make(&to.join("beside"), beside)?;
    let program = to.join("content/bin/program");
    fs::create_dir_all(to.join("content/bin"))?;
    fs::copy(PROGRAM, &program).context("copy a program")?;
    if version == Version::New {
        // Programs are not spoilt by what follows them.
        use std::io::Write as _;
        File::options().append(true).open(&program)?.write_all(b"new")?;
    }
    date(&program, 1_500_000)?;
    fs::write(to.join("appspec.yml"), appspec(version, destinations))?;
    Ok(())
}

fn appspec(version: Version, destinations: &Destinations) -> String {
    let (app, beside) = (destinations.app.display(), destinations.beside.display());
    // A directory that exists and is closed to some, opened by list to others.
    let closed = match version {
        Version::Old => "",
        Version::New => "    mode: 700\n    owner: daemon\n    acls: [\"u:bin:rx\", \"d:u:bin:rx\"]\n",
    };
    let listed = match version {
        Version::Old => "u:daemon:rw",
        Version::New => "u:bin:r",
    };
    format!(
        "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {app}\n  - source: beside\n    \
         destination: {beside}\npermissions:\n  - object: {app}\n    pattern: named\n    owner: daemon\n    group: daemon\n    \
         mode: 640\n    type: [file]\n  - object: {app}\n    pattern: closed\n    group: root\n{closed}    type: [directory]\n  - object: {app}\n    pattern: listed\n    acls: \
         [\"{listed}\"]\n    type: [file]\n"
    )
}

/// What somebody else has where the revisions go.
pub fn make_foreign(app: &Path) -> Result<()> {
    make(app, &["foreign=f", "vanishing/kept=k", "opened/foreign=f"])
}

/// Second names and ACLs of what was installed.
pub fn adorn(app: &Path) -> Result<()> {
    let beside = app.parent().context("the destination has a parent")?;
    for name in ["same", "changed", "gone", "touched"] {
        fs::hard_link(app.join(name), beside.join(format!("second-{name}")))?;
    }
    for name in ["same", "changed", "closed/changed", "foreign"] {
        set_acl(&app.join(name))?;
    }
    Ok(())
}

/// An ACL by which the user 1 may read and write: version 2, then tag, permission and id of each entry.
fn set_acl(path: &Path) -> Result<()> {
    const NOBODY: u32 = u32::MAX;
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permission, id) in [(1u16, 6u16, NOBODY), (2, 6, 1), (4, 4, NOBODY), (0x10, 6, NOBODY), (0x20, 4, NOBODY)]
    {
        acl.extend(tag.to_le_bytes());
        acl.extend(permission.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    rustix::fs::setxattr(path, "system.posix_acl_access", &acl, rustix::fs::XattrFlags::empty())
        .with_context(|| format!("set the ACL of {}", path.display()))
}

fn make(root: &Path, lines: &[&str]) -> Result<()> {
    fs::create_dir_all(root)?;
    for line in lines {
        let mut parts = line.split('|');
        let what = parts.next().unwrap_or_default();
        let (path, is_link) = make_entry(root, what)?;
        let mut seconds = 1_000_000;
        for attribute in parts {
            if let Some(time) = attribute.strip_prefix('@') {
                seconds = time.parse()?;
            } else if let Some((uid, gid)) = attribute.split_once(':') {
                lchown(&path, Some(uid.parse()?), Some(gid.parse()?))?;
            } else {
                fs::set_permissions(&path, fs::Permissions::from_mode(u32::from_str_radix(attribute, 8)?))?;
            }
        }
        if !is_link && path.is_file() {
            date(&path, seconds)?;
        }
    }
    Ok(())
}

fn make_entry(root: &Path, what: &str) -> Result<(PathBuf, bool)> {
    let parent = |path: &Path| fs::create_dir_all(path.parent().unwrap_or(root));
    if let Some((link, target)) = what.split_once("->") {
        let path = root.join(link);
        parent(&path)?;
        symlink(target, &path)?;
        Ok((path, true))
    } else if let Some((file, content)) = what.split_once('=') {
        let path = root.join(file);
        parent(&path)?;
        let content = match content.strip_prefix('*') {
            Some(length) => noise(file, length.parse()?),
            None => content.as_bytes().to_vec(),
        };
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        Ok((path, false))
    } else if let Some(directory) = what.strip_suffix('/') {
        let path = root.join(directory);
        fs::create_dir_all(&path)?;
        Ok((path, false))
    } else {
        bail!("{what} says no kind of entry")
    }
}

/// Content in which no block is like another, the same in every run.
fn noise(name: &str, length: usize) -> Vec<u8> {
    let seed = name.bytes().fold(length as u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn date(path: &Path, seconds: u64) -> Result<()> {
    Ok(File::open(path)?.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))?)
}
