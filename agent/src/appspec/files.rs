//! The `files` section.

use std::path::{Path, PathBuf};

use super::Position;
use super::unknown::{self, Part};
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

/// Reads the section; entries with mistakes are left out. Of those that lack a destination alone the sources
/// are still known.
pub(super) fn read(
    section: &Node,
    report: &mut Report,
    lone_sources: &mut Vec<(RelativePath, Position)>,
) -> Vec<FileMapping> {
    let entries = section.items("`files` as a list of entries, each beginning with `- source:`", report);
    let mut mappings = Vec::with_capacity(entries.len());
    for node in entries {
        match mapping(node, report) {
            (Some(source), Some(destination)) => mappings.push(FileMapping { source, destination, at: node.at }),
            (Some(source), None) => lone_sources.push((source, node.at)),
            (None, _) => {}
        }
    }
    mappings
}

fn mapping(node: &Node, report: &mut Report) -> (Option<RelativePath>, Option<Destination>) {
    let expected = "an entry of `files`: a mapping with `source` and `destination`";
    let Some(mut fields) = node.fields(expected, report) else { return (None, None) };
    let source = fields
        .required("source", "`source`, a file or directory of the revision", report)
        .and_then(|value| value.parsed(report, |text| inside("source", text)));
    let destination =
        fields.required("destination", "`destination`, the directory to copy it into", report).and_then(|value| {
            value.parsed(report, |text| Destination::parse(text).map_err(|e| format!("`destination` as {e}")))
        });
    unknown::warn(fields, Part::File, report);
    (source, destination)
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
