//! Owner, mode, access control lists and labels, read and set in the order that keeps each of them.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use crate::disk::{self, AclKind, Dir};
use crate::plan::acl::Acl;
use crate::plan::{Attrs, Label, PathState};

/// Adds to a state that facts alone show the access control lists of the entry.
pub(super) fn add_acls(state: PathState, parent: &Dir, name: &OsStr) -> Result<PathState, disk::Error> {
    let read = |kind| parsed(parent.acl_at(name, kind)?, || parent.path().join(name));
    Ok(match state {
        PathState::File { attrs, modified, size, sha256 } => {
            PathState::File { attrs: attrs.with_access_acl(read(AclKind::Access)?), modified, size, sha256 }
        }
        PathState::Directory { attrs } => PathState::Directory {
            attrs: attrs.with_access_acl(read(AclKind::Access)?).with_default_acl(read(AclKind::Default)?),
        },
        other => other,
    })
}

/// Adds to a state the label of the entry, where it is a file or directory.
pub(super) fn add_label(state: PathState, parent: &Dir, name: &OsStr) -> Result<PathState, disk::Error> {
    if state.attrs().is_none() {
        return Ok(state);
    }
    let label = parsed_label(parent.label_at(name)?, || parent.path().join(name))?;
    Ok(state.with_label(label))
}

/// The label of an open directory.
pub(super) fn label_of(dir: &Dir) -> Result<Option<Label>, disk::Error> {
    parsed_label(disk::read_label(dir, dir.path())?, || dir.path().to_owned())
}

/// Gives an open directory a label, or takes it away.
pub(super) fn set_label(dir: &Dir, label: Option<&Label>) -> Result<(), disk::Error> {
    disk::set_label(dir, dir.path(), label.map(Label::to_bytes).as_deref())
}

/// The attributes of an open directory but for its label.
pub(super) fn of_directory(dir: &Dir) -> Result<Attrs, disk::Error> {
    let stat = dir.stat_self()?;
    let read = |kind| parsed(disk::read_acl(dir, dir.path(), kind)?, || dir.path().to_owned());
    Ok(Attrs::new(stat.uid, stat.gid, stat.mode)
        .with_access_acl(read(AclKind::Access)?)
        .with_default_acl(read(AclKind::Default)?))
}

/// Sets the attributes of an open file that is being made, which `path` names in errors.
pub(super) fn set_on_file(file: &File, path: &Path, attrs: &Attrs) -> Result<(), disk::Error> {
    set(file, path, attrs)?;
    match &attrs.label {
        Some(label) => disk::set_label(file, path, Some(&label.to_bytes())),
        None => Ok(()),
    }
}

/// Sets the attributes of an open directory; its label stays where none is wanted.
pub(super) fn set_on_directory(dir: &Dir, attrs: &Attrs) -> Result<(), disk::Error> {
    set(dir, dir.path(), attrs)?;
    let default = attrs.default_acl().map(Acl::to_bytes);
    disk::set_acl(dir, dir.path(), AclKind::Default, default.as_deref())?;
    match &attrs.label {
        Some(label) => set_label(dir, Some(label)),
        None => Ok(()),
    }
}

/// Owner, then mode, then list: the kernel drops set-id bits at a change of the owner, and a change of the
/// mode changes the list.
fn set(open: impl AsFd, path: &Path, attrs: &Attrs) -> Result<(), disk::Error> {
    disk::set_owner(&open, path, attrs.uid, attrs.gid)?;
    disk::set_mode(&open, path, attrs.base_mode())?;
    let access = attrs.access_acl().map(Acl::to_bytes);
    disk::set_acl(&open, path, AclKind::Access, access.as_deref())
}

fn parsed(acl: Option<Vec<u8>>, path: impl Fn() -> std::path::PathBuf) -> Result<Option<Acl>, disk::Error> {
    acl.map(|bytes| Acl::from_bytes(&bytes)).transpose().map_err(|error| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        disk::Error::new("read the access control list of", path(), source)
    })
}

fn parsed_label(label: Option<Vec<u8>>, path: impl Fn() -> std::path::PathBuf) -> Result<Option<Label>, disk::Error> {
    label.map(|bytes| Label::from_bytes(&bytes)).transpose().map_err(|error| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        disk::Error::new("read the SELinux label of", path(), source)
    })
}
