//! The `permissions` section.

mod section;

use std::path::Path;

pub(super) use section::{CONTEXT_KEYS, KEYS, read};

pub use super::acl::{AclEntry, AclWho};
pub use super::mode::Mode;
pub use super::pattern::{NamePattern, Pattern};
pub use super::selinux::SelinuxContext;
use super::{Destination, Position};

/// Owner, group, mode and labels for what this deployment installs at or below one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionEntry {
    /// A file that this deployment installs, or a directory that holds such files.
    pub object: Destination,
    /// Which paths below a directory it means.
    pub pattern: Pattern,
    /// Which of those it does not mean.
    pub except: Vec<NamePattern>,
    /// Whether it means files, directories or both.
    pub target: PermissionTarget,
    /// User name or number.
    pub owner: Option<String>,
    /// Group name or number.
    pub group: Option<String>,
    /// Permission bits.
    pub mode: Option<Mode>,
    /// Access control entries, `None` if the key is absent.
    pub acls: Option<Vec<AclEntry>>,
    /// SELinux context.
    pub context: Option<SelinuxContext>,
    /// Where the entry is in the AppSpec.
    pub at: Position,
}

/// The `type` list of a permission entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionTarget {
    /// Files and directories, the default.
    Both,
    /// Files alone.
    Files,
    /// Directories alone.
    Directories,
}

/// What a path that the deployment installs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

impl PermissionEntry {
    /// Whether the entry means `path`, the final and absolute path of something that this deployment
    /// installs.
    ///
    /// The object itself is meant only where it is a file, and `type` includes files. Whether the entry may stand for a file at
    /// all is another question: [`PermissionEntry::check_file_object`].
    pub fn applies_to(&self, path: &Path, kind: PathKind) -> bool {
        let Ok(relative) = path.strip_prefix(self.object.as_path()) else { return false };
        if relative.as_os_str().is_empty() {
            return kind == PathKind::File && self.target.includes(kind);
        }
        self.target.includes(kind)
            && self.pattern.matches(relative)
            && !self.except.iter().any(|pattern| pattern.matches(relative))
    }

    /// What keeps this entry from having a file as its object; to be asked once it is known that the
    /// deployment installs a file there.
    pub fn check_file_object(&self) -> Result<(), FileObjectError> {
        if self.pattern != Pattern::Everything {
            return Err(FileObjectError::Pattern);
        }
        if !self.except.is_empty() {
            return Err(FileObjectError::Except);
        }
        if self.acls.iter().flatten().any(|entry| entry.default) {
            return Err(FileObjectError::DefaultAcl);
        }
        Ok(())
    }
}

impl PermissionTarget {
    /// Whether it includes things of this kind.
    pub fn includes(self, kind: PathKind) -> bool {
        match self {
            Self::Both => true,
            Self::Files => kind == PathKind::File,
            Self::Directories => kind == PathKind::Directory,
        }
    }
}

/// Why a permission entry cannot have a file as its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileObjectError {
    /// It selects children.
    #[error(
        "`object` is a file, so `pattern` has nothing to select from: remove it, or name the directory as `object`"
    )]
    Pattern,
    /// It excludes children.
    #[error("`object` is a file, so `except` has nothing to except from: remove it, or name the directory as `object`")]
    Except,
    /// It has entries for what is created in a directory.
    #[error("`object` is a file, but `acls` holds default entries, which only directories have: remove these")]
    DefaultAcl,
}

#[cfg(test)]
mod tests;
