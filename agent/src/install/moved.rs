//! The places of what the group installed, where a symlink leads elsewhere since, or a directory was moved.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::follow::{self, Trust};
use super::root::Root;
use crate::appspec::AppSpec;
use crate::disk::{self, Kind};
use crate::plan::grounds::FollowedLinks;
use crate::plan::link::under;
use crate::plan::plain_path::{below, same, split};
use crate::plan::{Links, Manifest};

/// What became of the links of a manifest.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// The links as they were installed through.
    pub(super) links: Links,
    /// Directories into which the group installed earlier, and to which its links lead again.
    pub(super) earlier: Vec<PathBuf>,
    /// What people should know.
    pub(super) warnings: Vec<String>,
}

/// The place of what was installed through one link.
enum Place {
    /// Where it was installed.
    Same,
    /// The link leads to another directory, and nobody gains who could have changed it.
    Now(PathBuf),
    /// The link leads elsewhere or nowhere: what was installed through it is not the group's any more.
    GivenUp,
}

/// Finds what the group owns where it is now, for an install by this AppSpec.
pub(super) fn follow(
    root: &Root,
    manifest: &mut Manifest,
    appspec: &AppSpec,
    links: FollowedLinks,
) -> Result<Moved, disk::Error> {
    let moved = by_name(root, manifest, appspec, links)?;
    relocate(root, manifest, Ways::Of(appspec), links)?;
    Ok(moved)
}

/// Goes by the names of the AppSpec where links lead elsewhere since: what was installed through them stays, and what
/// is at these names now is the group's.
fn by_name(
    root: &Root,
    manifest: &mut Manifest,
    appspec: &AppSpec,
    followed: FollowedLinks,
) -> Result<Moved, disk::Error> {
    let Some(links) = manifest.links.take() else { return unrecorded(root, manifest, appspec) };
    let mut moved = Moved::default();
    let mut places = Vec::new();
    for link in links.iter() {
        let now = follow::directory(root, &link.named, Trust::Any)?;
        places.push(match now {
            _ if link.is_direct() => Place::Same,
            Some(now) if now == link.led_to => Place::Same,
            Some(now) => {
                if link.earlier.contains(&now) {
                    moved.earlier.push(now.clone());
                }
                let safe = follow::directory(root, &link.named, Trust::Safe(followed))?;
                if safe.as_ref() == Some(&now) { Place::Now(now) } else { Place::GivenUp }
            }
            None => Place::GivenUp,
        });
    }
    if places.iter().any(|place| !matches!(place, Place::Same)) {
        manifest.entries.retain_mut(|owned| {
            let number = links.number_of(&owned.path);
            let led_to = number.and_then(|number| Some((links.iter().nth(number)?, places.get(number)?)));
            match led_to {
                None | Some((_, Place::Same)) => true,
                Some((_, Place::GivenUp)) => false,
                Some((link, Place::Now(now))) => {
                    if let Some(rest) = below(&owned.path, &link.led_to) {
                        owned.path = under(now, rest);
                    }
                    true
                }
            }
        });
    }
    moved.links = links;
    Ok(moved)
}

/// Of a manifest that does not say which links there were. Where a destination is reached through one now, what is
/// beside the directory that it leads to may have been installed through it before, and is given up.
fn unrecorded(root: &Root, manifest: &mut Manifest, appspec: &AppSpec) -> Result<Moved, disk::Error> {
    let mut moved = Moved::default();
    let mut led_to = Vec::new();
    for mapping in &appspec.files {
        led_to.extend(follow::links_on_the_way(root, mapping.destination.as_path())?.into_iter().map(|(_, to)| to));
    }
    let is_beside = |path: &Path, directory: &PathBuf| {
        let above = split(directory).0;
        above.parent().is_some() && below(path, above).is_some_and(|rest| !rest.as_os_str().is_empty())
    };
    let (before, deployment) = (manifest.entries.len(), &manifest.deployment);
    manifest.entries.retain(|owned| {
        let is_below = led_to.iter().any(|directory| below(&owned.path, directory).is_some());
        let is_named = appspec.files.iter().any(|mapping| below(&owned.path, mapping.destination.as_path()).is_some());
        is_below || is_named || !led_to.iter().any(|directory| is_beside(&owned.path, directory))
    });
    let given_up = before - manifest.entries.len();
    if given_up > 0 {
        moved.warnings.push(format!(
            "{given_up} paths of deployment {deployment} stay: a destination is reached through a symlink, and they may \
             have been installed when that led to another directory; remove them yourself if nothing needs them"
        ));
    }
    Ok(moved)
}

/// The directories that an AppSpec names: its destinations, and those above them.
#[derive(Clone, Copy)]
pub(super) enum Ways<'a> {
    /// Those of this AppSpec.
    Of(&'a AppSpec),
    /// No AppSpec is at hand.
    Unknown,
}

/// Finds what was installed in a directory that was moved elsewhere since, leaving a link that is safe to follow. A link
/// below a destination in the place of a directory of the group is not followed where the destinations are known: the
/// directory takes its place, and what it leads to is somebody else's.
pub(super) fn relocate(
    root: &Root,
    manifest: &mut Manifest,
    ways: Ways<'_>,
    links: FollowedLinks,
) -> Result<(), disk::Error> {
    let mut moved: HashMap<OsString, Option<PathBuf>> = HashMap::new();
    for owned in &manifest.entries {
        let parent = split(&owned.path).0;
        if !moved.contains_key(parent.as_os_str()) {
            let found = follow::directory(root, parent, Trust::Safe(links))?.filter(|found| found != parent);
            let found = match found {
                Some(_) if is_replaced(root, manifest, parent, ways)? => None,
                found => found,
            };
            moved.insert(parent.as_os_str().to_owned(), found);
        }
    }
    for owned in &mut manifest.entries {
        let (parent, name) = split(&owned.path);
        if let Some(Some(now)) = moved.get(parent.as_os_str()) {
            owned.path = now.join(name);
        }
    }
    Ok(())
}

/// Whether the first link on the way to a directory is in the place of one of the group's below a destination.
fn is_replaced(root: &Root, manifest: &Manifest, directory: &Path, ways: Ways<'_>) -> Result<bool, disk::Error> {
    let Ways::Of(appspec) = ways else { return Ok(false) };
    for path in directory.ancestors().filter(|path| path.parent().is_some()) {
        if root.facts(path)?.is_some_and(|facts| facts.stat.kind == Kind::Symlink) {
            let is_way = appspec.files.iter().any(|mapping| below(mapping.destination.as_path(), path).is_some());
            let is_own = || manifest.entries.iter().any(|owned| same(&owned.path, path) && owned.state.is_directory());
            return Ok(!is_way && is_own());
        }
    }
    Ok(false)
}
