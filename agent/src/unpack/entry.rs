use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::disk::StagedAttributes;

/// Longest path of an entry, in bytes: with the root directory before it, it must still fit the
/// system's 4,096.
const MAX_PATH: usize = 3_072;
/// Longest single name, in bytes.
const MAX_NAME: usize = 255;

/// The path of an entry below the revision's root: ordinary names only. Empty means the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPath(PathBuf);

/// What is wrong with an entry's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    /// It has `..` in it.
    Parent,
    /// It has a NUL character in it.
    Nul,
    /// It is too long.
    TooLong,
    /// It names nothing.
    Empty,
}

impl fmt::Display for PathProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Parent => "has `..` in its path: pack the bundle from the directory that its paths begin at",
            Self::Nul => "has a NUL character in its name",
            Self::TooLong => "has a path longer than 3,072 bytes, or a name in it longer than 255",
            Self::Empty => "has no name",
        })
    }
}

impl EntryPath {
    /// Parses an entry's name; `.` and slashes in front or beside another one mean nothing, as for tar and unzip.
    pub fn parse(name: &[u8]) -> Result<Self, PathProblem> {
        if name.is_empty() {
            return Err(PathProblem::Empty);
        }
        if name.contains(&0) {
            return Err(PathProblem::Nul);
        }
        if name.len() > MAX_PATH {
            return Err(PathProblem::TooLong);
        }
        let mut path = PathBuf::new();
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(PathProblem::Parent),
                name if name.len() > MAX_NAME => return Err(PathProblem::TooLong),
                name => path.push(OsStr::from_bytes(name)),
            }
        }
        Ok(Self(path))
    }

    /// The same for a zip: each `..` is dropped, as Info-ZIP's unzip does. Returns whether there was one.
    pub(super) fn without_parents(name: &[u8]) -> Result<(Self, bool), PathProblem> {
        let parts = name.split(|byte| *byte == b'/');
        let kept: Vec<&[u8]> = parts.clone().filter(|part| part != b"..").collect();
        let dropped = kept.len() < parts.count();
        Ok((Self::parse(&kept.join(&b'/'))?, dropped))
    }

    /// As a path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.as_os_str().is_empty()
    }
}

/// An entry as an archive describes it, before its content.
#[derive(Debug)]
pub(super) struct Header {
    /// As the archive has it, for messages.
    pub name: String,
    pub path: EntryPath,
    pub attributes: StagedAttributes,
}

/// An archive's name as text for messages, no longer than a message should be.
pub(super) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    match text.char_indices().nth(300) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
