//! The `files` section.

use std::path::{Path, PathBuf};

use super::Position;
use crate::deployment::RelativePath;

/// One source and where it goes.
///
/// A directory's content is copied into the destination; a file is copied *into* the destination,
/// which is a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMapping {
    /// Relative to the revision's root; may be the root itself.
    pub source: RelativePath,
    /// The directory that it goes to.
    pub destination: Destination,
    /// Where the entry is in the AppSpec.
    pub at: Position,
}

/// An absolute path without `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(PathBuf);

impl Destination {
    /// Parses an absolute path; double and trailing slashes and `.` are dropped.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        if text.contains('\0') {
            return Err("a path without NUL characters".to_owned());
        }
        if !path.is_absolute() {
            return Err("an absolute path".to_owned());
        }
        if path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err("a path without `..`".to_owned());
        }
        Ok(Self(path.components().collect()))
    }

    /// As a path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}
