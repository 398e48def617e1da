//! What AWS's agent notes of a group's files, for its own next install.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::disk;
use crate::ids::GroupId;
use crate::layout::Layout;

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

/// Reads the list; nothing where there is none.
pub fn inherited(layout: &Layout, group: &GroupId) -> disk::Result<Option<Inherited>> {
    let text = disk::read_if_exists(&layout.cleanup_file(group), MAX_CLEANUP)?;
    Ok(text.map(|text| parse(&text)))
}

fn parse(text: &[u8]) -> Inherited {
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
