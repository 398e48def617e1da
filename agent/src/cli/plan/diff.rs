//! How the content of text files changes.

use std::path::Path;
use std::time::Duration;

use similar::TextDiff;

use super::report::{Changed, State};
use crate::cli::output::{shown, visible_lines};
use crate::disk::{self, Dir};
use crate::revision::Revision;

/// Longer files are not compared, in bytes.
const LONGEST: u64 = 1 << 20;
/// How long two files may be compared; a result that is not the shortest one is as true.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lines around a change.
const CONTEXT: usize = 3;

/// What is at one side of a comparison.
enum Side {
    /// No file.
    Nothing,
    Text(String),
    /// No text.
    Binary,
    TooLong,
}

/// Adds to each change how the content of its file changes: as a unified diff where both sides are text,
/// else as a line that says why there is none.
pub(super) fn add(changes: &mut [Changed], revision: &Revision) -> Result<(), disk::Error> {
    let (host, bundle) = (Dir::root()?, Dir::open(revision.root())?);
    for changed in changes {
        if is_unchanged(changed) {
            continue;
        }
        let old = side(&changed.was, &host, changed.path.strip_prefix("/").unwrap_or(&changed.path))?;
        let new = side(&changed.becomes, &bundle, changed.source.as_deref().unwrap_or(Path::new("")))?;
        changed.diff = compared(&changed.path, &old, &new);
    }
    Ok(())
}

fn is_unchanged(changed: &Changed) -> bool {
    match (&changed.was, &changed.becomes) {
        (State::File { sha256: Some(old), .. }, State::File { sha256: Some(new), .. }) => old == new,
        _ => false,
    }
}

fn side(state: &State, dir: &Dir, relative: &Path) -> Result<Side, disk::Error> {
    let State::File { size, .. } = state else { return Ok(Side::Nothing) };
    if *size > LONGEST {
        return Ok(Side::TooLong);
    }
    let content = disk::read_bounded_at(dir, relative, LONGEST)?;
    Ok(match String::from_utf8(content) {
        Ok(text) if !text.contains('\0') => Side::Text(text),
        _ => Side::Binary,
    })
}

fn compared(path: &Path, old: &Side, new: &Side) -> Option<String> {
    let path = shown(path);
    let name = |side: &Side| if matches!(side, Side::Nothing) { "/dev/null".to_owned() } else { path.clone() };
    let text = |side: &Side| match side {
        Side::Text(text) => text.clone(),
        _ => String::new(),
    };
    match (old, new) {
        (Side::Nothing, Side::Nothing) => None,
        (Side::TooLong, _) | (_, Side::TooLong) => Some(format!("{path}: longer than {LONGEST} bytes, not compared\n")),
        (Side::Binary, _) | (_, Side::Binary) => Some(format!("{path}: not a text\n")),
        _ => {
            let (old_text, new_text) = (text(old), text(new));
            let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old_text.as_str(), new_text.as_str());
            let unified = diff.unified_diff().context_radius(CONTEXT).header(&name(old), &name(new)).to_string();
            Some(visible_lines(&unified)).filter(|unified| !unified.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Side {
        Side::Text(text.to_owned())
    }

    #[test]
    fn texts_are_compared_line_by_line() {
        let old: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 10\n", "line ten\n");
        assert_eq!(
            compared(Path::new("/etc/app.conf"), &text(&old), &text(&new)).unwrap(),
            "--- /etc/app.conf\n+++ /etc/app.conf\n@@ -7,7 +7,7 @@\n line 7\n line 8\n line 9\n-line 10\n+line ten\n \
             line 11\n line 12\n line 13\n"
        );
    }

    #[test]
    fn a_side_that_is_missing_is_dev_null() {
        let added = compared(Path::new("/a"), &Side::Nothing, &text("x\n")).unwrap();
        assert_eq!(added, "--- /dev/null\n+++ /a\n@@ -0,0 +1 @@\n+x\n");
        let removed = compared(Path::new("/a"), &text("x"), &Side::Nothing).unwrap();
        assert_eq!(removed, "--- /a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n");
        assert_eq!(compared(Path::new("/a"), &Side::Nothing, &text("")), None);
    }

    #[test]
    fn what_is_no_text_is_said_to_be_none_and_a_terminal_gets_no_orders() {
        assert_eq!(compared(Path::new("/a"), &Side::Binary, &text("x")).unwrap(), "/a: not a text\n");
        assert!(compared(Path::new("/a"), &Side::Nothing, &Side::TooLong).unwrap().contains("not compared"));
        let diff = compared(Path::new("/a"), &Side::Nothing, &text("\x1b[2Jx\r\n")).unwrap();
        assert!(diff.contains("+\\u{1b}[2Jx\\r\n"), "{diff}");
    }
}
