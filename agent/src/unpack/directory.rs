//! A directory of this host as the revision: copied, since it may change while it is deployed.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::entry::{EntryPath, Header, shown};
use super::tree::Tree;
use super::{UnpackError, UnpackReport};
use crate::disk::{Dir, Kind, StagedAttributes, Stat};
use crate::store::Attributes;

pub(super) fn copy(
    source: &Path,
    attributes: Option<&Attributes>,
    mut tree: Tree<'_>,
) -> Result<UnpackReport, UnpackError> {
    let source = Dir::open(source).map_err(UnpackError::Bundle)?;
    copy_below(&source, Path::new(""), attributes, &mut tree)?;
    tree.finish()
}

/// Ends at the policy's depth, which the tree holds for every entry.
fn copy_below(
    source: &Dir,
    prefix: &Path,
    attributes: Option<&Attributes>,
    tree: &mut Tree<'_>,
) -> Result<(), UnpackError> {
    for entry in source.entries().map_err(UnpackError::Bundle)? {
        let path = prefix.join(&entry.name);
        let mut stat = source.stat(&entry.name).map_err(UnpackError::Bundle)?;
        if let Some(attributes) = attributes {
            attributes.apply(&path, &mut stat);
        }
        let header = header(path, &stat)?;
        match stat.kind {
            Kind::Directory => {
                tree.directory(&header)?;
                let below = source.open_dir(&entry.name).map_err(UnpackError::Bundle)?;
                copy_below(&below, header.path.as_path(), attributes, tree)?;
            }
            Kind::File => {
                let mut file = source.open_file(&entry.name).map_err(UnpackError::Bundle)?;
                tree.room_for(&header, stat.size)?;
                tree.file(&header, stat.size, &mut file)?;
            }
            Kind::Symlink => {
                let target = source.read_link(&entry.name).map_err(UnpackError::Bundle)?;
                tree.symlink(&header, target.as_os_str().as_bytes())?;
            }
            Kind::Other => {
                return Err(UnpackError::Special { entry: header.name, kind: "device, pipe or socket" });
            }
        }
    }
    Ok(())
}

fn header(path: PathBuf, stat: &Stat) -> Result<Header, UnpackError> {
    let bytes = path.as_os_str().as_bytes();
    let name = shown(bytes);
    let path = EntryPath::parse(bytes).map_err(|problem| UnpackError::Path { entry: name.clone(), problem })?;
    let attributes =
        StagedAttributes { mode: stat.mode, owner: Some((stat.uid, stat.gid)), modified: Some(stat.modified) };
    Ok(Header { name, path, attributes })
}
