//! Following symlinks by hand, so that each one on the way can be judged.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::accounts;
use super::root::Root;
use crate::disk::{self, Kind, Stat};
use crate::plan::grounds::{Distrust, Reach};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Which symlinks are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// All: the path was named by whoever wrote the AppSpec.
    Any,
    /// Those that nobody but root can have made or can redirect, and those that only the owner of the directory that
    /// they lead to can redirect: such a user gains nothing by it.
    Safe,
}

/// The directory that a path leads to, without symlinks on the way. Nothing where it leads nowhere, to
/// something else, or over a link that is not trusted.
pub(super) fn directory(root: &Root, path: &Path, trust: Trust) -> Result<Option<PathBuf>, disk::Error> {
    let mut here = PathBuf::from("/");
    let mut links = Vec::new();
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
                if links.len() == MAX_LINKS {
                    return Ok(None);
                }
                prepend(&root.read_link(&next)?, &mut here, &mut ahead);
                links.push(next);
            }
            Kind::File | Kind::Other => return Ok(None),
        }
    }
    if trust == Trust::Safe {
        for link in links {
            if distrust(root, &link, &here)?.is_some() {
                return Ok(None);
            }
        }
    }
    Ok(Some(here))
}

/// The symlinks on the way to a path, each with the directory that it leads to. The path itself need not exist.
pub(super) fn links_on_the_way(root: &Root, path: &Path) -> Result<Vec<(PathBuf, PathBuf)>, disk::Error> {
    let mut links = Vec::new();
    let mut here = PathBuf::from("/");
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        let next = here.join(name);
        let Some(found) = directory(root, &next, Trust::Any)? else { break };
        if found != next {
            links.push((next, found.clone()));
        }
        here = found;
    }
    Ok(links)
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

/// The reason why a link to a directory is not followed, if there is one: whoever could change the link, or a directory
/// above it, is not root, and would gain by it.
pub(super) fn distrust(root: &Root, link: &Path, led_to: &Path) -> Result<Option<Distrust>, disk::Error> {
    let distrust =
        |path: &Path, uid, reach| Some(Distrust { path: path.to_owned(), owner: accounts::name_of(uid), reach });
    let mut user: Option<(PathBuf, u32)> = None;
    for path in link.ancestors() {
        let Some(stat) = stat(root, path)? else { return Ok(distrust(path, 0, Reach::Others)) };
        if is_open(&stat) {
            return Ok(distrust(path, stat.uid, Reach::Others));
        }
        match &user {
            _ if stat.uid == 0 => {}
            None => user = Some((path.to_owned(), stat.uid)),
            Some((_, known)) if *known == stat.uid => {}
            Some(_) => return Ok(distrust(path, stat.uid, Reach::Owner)),
        }
    }
    let Some((path, uid)) = user else { return Ok(None) };
    for (depth, above) in led_to.ancestors().enumerate() {
        let is_theirs = stat(root, above)?.is_some_and(|stat| match depth {
            0 => stat.uid == uid,
            _ => (stat.uid == uid || stat.uid == 0) && !is_open(&stat),
        });
        if !is_theirs {
            return Ok(distrust(&path, uid, Reach::Owner));
        }
    }
    Ok(None)
}

fn stat(root: &Root, path: &Path) -> Result<Option<Stat>, disk::Error> {
    if path.parent().is_none() {
        return root.dir(path)?.stat_self().map(Some);
    }
    Ok(root.facts(path)?.map(|facts| facts.stat))
}

/// Whether others than its owner can change what is in a directory.
fn is_open(stat: &Stat) -> bool {
    stat.kind != Kind::Symlink && stat.mode & 0o022 != 0
}
