//! The list of a group's files in the form of AWS's agent, which that agent reads and writes for its own next install.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::disk;
use crate::ids::GroupId;
use crate::layout::Layout;
use crate::plan::{Links, Manifest, OwnedToBe};

/// The longest list that is read, in bytes.
const MAX_CLEANUP: u64 = 64 << 20;
/// Before a path that has a rule for its SELinux label.
const RULE: &[u8] = b"semanage\0";

/// A group's file `<group>-cleanup`: a path a line, a last line without its newline is torn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// What was installed, each directory before what is in it.
    pub paths: Vec<PathBuf>,
    /// What has a rule for its label.
    pub labelled: Vec<PathBuf>,
    /// The last line, where it is torn: it may be a path, or the beginning of one.
    pub torn: Option<PathBuf>,
}

/// The list as it is on the disk; nothing where there is none.
pub(super) fn read(layout: &Layout, group: &GroupId) -> disk::Result<Option<Vec<u8>>> {
    disk::read_if_exists(&layout.cleanup_file(group), MAX_CLEANUP)
}

/// The list of what a deployment owns: a path a line, as the AppSpec names it, what is in a directory after it, and its
/// rule for a label after that. A name with a newline in it cannot be said.
pub(super) fn text<'a>(entries: impl Iterator<Item = OwnedToBe<'a>>, links: &Links) -> Vec<u8> {
    let mut text = Vec::new();
    pieces(entries, links, |piece| text.extend_from_slice(piece));
    text
}

/// The same of a manifest.
pub(super) fn text_of(manifest: &Manifest) -> Vec<u8> {
    let links = manifest.links.clone().unwrap_or_default();
    text(manifest.entries.iter().map(OwnedToBe::from), &links)
}

/// Whether a list is the one that this agent writes for a manifest.
pub(super) fn is_of(list: &[u8], manifest: &Manifest) -> bool {
    let mut rest = Some(list);
    let links = manifest.links.clone().unwrap_or_default();
    pieces(manifest.entries.iter().map(OwnedToBe::from), &links, |piece| {
        rest = rest.and_then(|rest| rest.strip_prefix(piece));
    });
    rest.is_some_and(<[u8]>::is_empty)
}

fn pieces<'a>(entries: impl Iterator<Item = OwnedToBe<'a>>, links: &Links, mut each: impl FnMut(&[u8])) {
    for owned in entries {
        let named = links.named(owned.path);
        let (named, path) = (named.as_os_str().as_bytes(), owned.path.as_os_str().as_bytes());
        if named.contains(&b'\n') || path.contains(&b'\n') {
            continue;
        }
        each(named);
        each(b"\n");
        // Undone from last to first: the rule goes before what it is for.
        if owned.state.label().is_some() {
            each(RULE);
            each(path);
            each(b"\n");
        }
    }
}

pub(super) fn parse(text: &[u8]) -> Inherited {
    let mut found = Inherited::default();
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match (line.strip_suffix(b"\n"), line.strip_prefix(RULE)) {
            (None, _) => found.torn = Some(path(line)),
            (Some(_), Some(labelled)) => found.labelled.push(path(labelled.strip_suffix(b"\n").unwrap_or(labelled))),
            (Some(line), None) => found.paths.push(path(line)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_line_by_line() {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            parse(b"/srv/app\n/srv/app/a b\nsemanage\0/srv/app\n"),
            Inherited { paths: paths(&["/srv/app", "/srv/app/a b"]), labelled: paths(&["/srv/app"]), torn: None }
        );
        assert_eq!(parse(b""), Inherited::default());
        assert_eq!(parse(b"/a\n/b").torn, Some("/b".into()));
        assert_eq!(parse(b"/a\nsemanage\0/b").paths, paths(&["/a"]));
    }
}
