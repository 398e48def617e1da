//! What AWS's agent installed, as far as its files and the revision say: the paths by its list, and the content by its
//! instructions, which name a source in the revision for each file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::attributes;
use super::claims::resolved;
use super::follow::Trust;
use super::index::digest;
use super::last_install::AwsInstall;
use super::root::{Root, name, shallow_state};
use crate::disk::{self, Kind};
use crate::ids::GroupId;
use crate::layout::Layout;
use crate::plan::grounds::FollowedLinks;
use crate::plan::{Attrs, Manifest, Owned, PathState, Time};
use crate::store::Mark;

/// The longest list of instructions that is read, in bytes.
const MAX_INSTRUCTIONS: u64 = 64 << 20;

/// What one of its instructions makes.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Instruction {
    Copy {
        #[serde(default)]
        source: Option<PathBuf>,
        destination: PathBuf,
    },
    Mkdir {
        directory: PathBuf,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Instructions {
    instructions: Vec<Instruction>,
}

/// What a path was made to be.
enum Made {
    Directory,
    CopyOf(PathBuf),
}

/// Its last install as a manifest; nothing where not even the deployment is known. A path of which nothing but its
/// existence is known has the state [`PathState::Other`]. Owner and mode are those that it has: they are not on record.
pub(super) fn manifest(
    layout: &Layout,
    group: &GroupId,
    install: AwsInstall,
    root: &Root,
) -> Result<Option<Manifest>, disk::Error> {
    let Some(Mark { deployment, at }) = install.deployment else { return Ok(None) };
    let mut made = instructions(layout, group)?;
    let mut entries = Vec::new();
    for listed in install.list.paths {
        let Some(path) = resolved(root, &listed, Trust::Safe(FollowedLinks::Safe))? else { continue };
        let state = match made.remove(&listed) {
            Some(made) => state(root, &path, made)?,
            None => PathState::Other,
        };
        entries.push(Owned { path, state });
    }
    let serial = install.own_serial;
    Ok(Some(Manifest { group: group.clone(), deployment, serial, at, links: None, entries }))
}

/// What its instructions made, by path. Nothing where they cannot be read: they are wanted for the content alone.
fn instructions(layout: &Layout, group: &GroupId) -> Result<HashMap<PathBuf, Made>, disk::Error> {
    let text = disk::read_if_exists(&layout.install_file(group), MAX_INSTRUCTIONS)?.unwrap_or_default();
    let Ok(Instructions { instructions }) = serde_json::from_slice(&text) else { return Ok(HashMap::new()) };
    let revisions = layout.group(group);
    let made = instructions.into_iter().filter_map(|instruction| match instruction {
        Instruction::Copy { source: Some(source), destination } if source.starts_with(&revisions) => {
            Some((destination, Made::CopyOf(source)))
        }
        Instruction::Mkdir { directory } => Some((directory, Made::Directory)),
        Instruction::Copy { .. } | Instruction::Other => None,
    });
    Ok(made.collect())
}

fn state(root: &Root, path: &Path, made: Made) -> Result<PathState, disk::Error> {
    let Some(facts) = root.facts(path)? else { return Ok(PathState::Other) };
    let found =
        root.parent(path).and_then(|parent| attributes::add_acls(shallow_state(&facts.stat), &parent, name(path)));
    let found = match found {
        Err(error) if error.is_not_found() || error.is_not_a_directory() => return Ok(PathState::Other),
        found => found?,
    };
    let nobodys = Attrs::new(0, 0, 0);
    Ok(match made {
        Made::Directory => match found {
            PathState::Directory { .. } => found,
            _ => PathState::Directory { attrs: nobodys },
        },
        Made::CopyOf(source) => match source_state(root, &source) {
            Some(PathState::File { size, sha256, .. }) => {
                let (attrs, modified) = match found {
                    PathState::File { attrs, modified, .. } => (attrs, modified),
                    _ => (nobodys, Time(0, 0)),
                };
                PathState::File { attrs, modified, size, sha256 }
            }
            Some(PathState::Symlink { target, .. }) => match found {
                PathState::Symlink { uid, gid, .. } => PathState::Symlink { uid, gid, target },
                _ => PathState::Symlink { uid: 0, gid: 0, target },
            },
            _ => PathState::Other,
        },
    })
}

/// A file or link of the revision; nothing where it is gone, or cannot be read: then its copy's content is not known.
fn source_state(root: &Root, source: &Path) -> Option<PathState> {
    let facts = root.facts(source).ok()??;
    let mut state = shallow_state(&facts.stat);
    match &mut state {
        PathState::File { sha256, .. } => *sha256 = Some(digest(&root.file(source).ok()?, source).ok()?),
        PathState::Symlink { target, .. } if facts.stat.kind == Kind::Symlink => {
            *target = root.read_link(source).ok()?
        }
        _ => return None,
    }
    Some(state)
}
