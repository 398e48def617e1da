//! Following symlinks by hand, so that each one on the way can be judged.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::accounts;
use super::root::Root;
use crate::disk::{self, Kind, Stat};
use crate::plan::Conflict;
use crate::plan::grounds::{Distrust, FollowedLinks, Reach};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Which symlinks are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// All: to look at what is there, never to change it.
    Any,
    /// Those that nobody but root can have made or can redirect, and where that is allowed those that only the owner of
    /// the directory that they lead to can redirect: such a user gains nothing by it.
    Safe(FollowedLinks),
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Led {
    /// To this directory, without symlinks on the way.
    To(PathBuf),
    /// To a directory, over a link that is not trusted.
    Distrusted(Distrust),
    /// To something else, or to nothing.
    Nowhere,
}

/// The directory that a path leads to, without symlinks on the way. Nothing where it leads nowhere, to
/// something else, or over a link that is not trusted.
pub(super) fn directory(root: &Root, path: &Path, trust: Trust) -> Result<Option<PathBuf>, disk::Error> {
    Ok(match lead(root, path, trust)? {
        Led::To(directory) => Some(directory),
        Led::Distrusted(_) | Led::Nowhere => None,
    })
}

/// Where a path leads. A link that is changed meanwhile changes nothing of that: what is trusted is the way that was
/// gone, and what is found has no link on its way any more.
pub(super) fn lead(root: &Root, path: &Path, trust: Trust) -> Result<Led, disk::Error> {
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
        let Some(facts) = root.facts(&next)? else { return Ok(Led::Nowhere) };
        match facts.stat.kind {
            Kind::Directory => here = next,
            Kind::Symlink => {
                if links.len() == MAX_LINKS {
                    return Ok(Led::Nowhere);
                }
                prepend(&root.read_link(&next)?, &mut here, &mut ahead);
                links.push(next);
            }
            Kind::File | Kind::Other => return Ok(Led::Nowhere),
        }
    }
    if let Trust::Safe(followed) = trust {
        for link in links {
            if let Some(distrust) = distrust(root, &link, &here, followed)? {
                return Ok(Led::Distrusted(distrust));
            }
        }
    }
    Ok(Led::To(here))
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

/// The first symlink on the way to a path, or in its place, that an install here would not follow, as it would tell it.
/// Returns an error where it cannot be looked at.
pub fn link_not_followed(path: &Path, links: FollowedLinks) -> Result<Option<Conflict>, disk::Error> {
    let root = Root::open()?;
    let mut here = PathBuf::from("/");
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        let next = here.join(name);
        match lead(&root, &next, Trust::Safe(links))? {
            Led::To(found) => here = found,
            Led::Distrusted(by) => {
                let target = root.read_link(&next)?;
                return Ok(Some(Conflict::SymlinkOnTheWay { path: next, target, by }));
            }
            Led::Nowhere => break,
        }
    }
    Ok(None)
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

/// The reason why a link to a directory is not followed, if there is one: somebody who is not root could change the link,
/// or a directory above it, and would gain by it.
fn distrust(root: &Root, link: &Path, led_to: &Path, followed: FollowedLinks) -> Result<Option<Distrust>, disk::Error> {
    let agent = rustix::process::geteuid().as_raw();
    let is_root = |uid: u32| uid == 0 || uid == agent;
    let distrust =
        |path: &Path, uid, reach| Some(Distrust { path: path.to_owned(), owner: accounts::name_of(uid), reach });
    let mut user: Option<(PathBuf, u32)> = None;
    for (height, path) in link.ancestors().enumerate() {
        let Some(stat) = stat(root, path)? else { return Ok(distrust(path, 0, Reach::Others)) };
        // The link's own directory is nobody else's; in one above that, the sticky bit keeps what is on the way in its place.
        if is_open(&stat) && (height == 1 || !is_sticky(&stat)) {
            return Ok(distrust(path, stat.uid, Reach::Others));
        }
        match &user {
            _ if is_root(stat.uid) => {}
            None if followed == FollowedLinks::OfRoot => return Ok(distrust(path, stat.uid, Reach::NotRoot)),
            None => user = Some((path.to_owned(), stat.uid)),
            Some((_, known)) if *known == stat.uid => {}
            Some(_) => return Ok(distrust(path, stat.uid, Reach::Owner)),
        }
    }
    let Some((path, uid)) = user else { return Ok(None) };
    for (height, above) in led_to.ancestors().enumerate() {
        let is_theirs = stat(root, above)?.is_some_and(|stat| match height {
            0 => stat.uid == uid,
            _ => (stat.uid == uid || is_root(stat.uid)) && (!is_open(&stat) || is_sticky(&stat)),
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

/// Whether only its owner can rename or remove what is in a directory that others can write to.
fn is_sticky(stat: &Stat) -> bool {
    stat.mode & 0o1000 != 0
}
