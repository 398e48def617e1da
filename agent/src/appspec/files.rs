//! The `files` section.

use std::path::{Path, PathBuf};

use super::{Position, warn_of_unknown};
use crate::deployment::RelativePath;
use crate::yaml::{Node, Report};

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

pub(super) const KEYS: [&str; 2] = ["source", "destination"];

/// Reads the section; entries with mistakes are left out.
pub(super) fn read(section: &Node, report: &mut Report) -> Vec<FileMapping> {
    let entries = section.items("`files` as a list of entries, each beginning with `- source:`", report);
    entries.iter().filter_map(|node| mapping(node, report)).collect()
}

fn mapping(node: &Node, report: &mut Report) -> Option<FileMapping> {
    let mut fields = node.fields("an entry of `files`: a mapping with `source` and `destination`", report)?;
    let source = fields
        .required("source", "`source`, a file or directory of the revision", report)
        .and_then(|value| value.parsed(report, |text| inside("source", text)));
    let destination =
        fields.required("destination", "`destination`, the directory to copy it into", report).and_then(|value| {
            value.parsed(report, |text| Destination::parse(text).map_err(|e| format!("`destination` as {e}")))
        });
    let at = fields.at();
    warn_of_unknown(fields, &KEYS, report);
    Some(FileMapping { source: source?, destination: destination?, at })
}

/// Parses a path of the revision that must stay inside of it; the error says what was expected.
pub(super) fn inside(key: &str, text: &str) -> Result<RelativePath, String> {
    let expected = || format!("`{key}` as a path that stays inside the revision");
    if text.is_empty() { Err(expected()) } else { RelativePath::parse(text).map_err(|_| expected()) }
}

/// An absolute path without `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(PathBuf);

impl Destination {
    /// Parses an absolute path; double and trailing slashes and `.` are dropped. The error says what
    /// was expected.
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
