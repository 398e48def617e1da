//! Following symlinks by hand, so that each one on the way can be judged.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::root::Root;
use crate::disk::{self, Kind};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Which symlinks are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// All: the path was named by whoever wrote the AppSpec.
    Any,
    /// Those that nobody but root can have made or can redirect.
    RootAlone,
}

/// The directory that a path leads to, without symlinks on the way. Nothing where it leads nowhere, to
/// something else, or over a link that is not trusted.
pub(super) fn directory(root: &Root, path: &Path, trust: Trust) -> Result<Option<PathBuf>, disk::Error> {
    let mut here = PathBuf::from("/");
    let mut links = 0;
    let mut ahead: VecDeque<OsString> = VecDeque::new();
    prepend(path, &mut here, &mut ahead);
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let Some(facts) = root.facts(&next)? else { return Ok(None) };
        match facts.stat.kind {
            Kind::Directory => here = next,
            Kind::Symlink => {
                links += 1;
                if links > MAX_LINKS || (trust == Trust::RootAlone && !belongs_to_root(root, &next)?) {
                    return Ok(None);
                }
                prepend(&root.read_link(&next)?, &mut here, &mut ahead);
            }
            Kind::File | Kind::Other => return Ok(None),
        }
    }
    Ok(Some(here))
}

fn prepend(path: &Path, here: &mut PathBuf, ahead: &mut VecDeque<OsString>) {
    if path.is_absolute() {
        *here = PathBuf::from("/");
    }
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    for name in names.rev() {
        ahead.push_front(name.as_os_str().to_owned());
    }
}

/// Whether the link and every directory above it belong to root, and only root can write these.
fn belongs_to_root(root: &Root, link: &Path) -> Result<bool, disk::Error> {
    for path in link.ancestors() {
        if path.parent().is_none() {
            let stat = root.dir(path)?.stat_self()?;
            return Ok(stat.uid == 0 && stat.mode & 0o022 == 0);
        }
        let Some(facts) = root.facts(path)? else { return Ok(false) };
        let writable = facts.stat.kind != Kind::Symlink && facts.stat.mode & 0o022 != 0;
        if facts.stat.uid != 0 || writable {
            return Ok(false);
        }
    }
    Ok(true)
}
