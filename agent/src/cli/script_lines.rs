//! The last lines that scripts have said, from a deployment's log.

use std::path::Path;

use super::output::visible_lines;
use crate::disk;

/// Bytes of a log that are looked at for them.
const TAIL: u64 = 4 << 10;

/// The last lines of output of the newest event, without their times; of that event alone where one is named. A line
/// that was drawn over again and again is shown as it stands.
pub(super) fn last_lines(log: &Path, event: Option<&str>, at_most: usize) -> disk::Result<Vec<String>> {
    let tail = disk::read_tail(log, TAIL)?;
    let text = String::from_utf8_lossy(&tail);
    const HEADING: &str = "LifecycleEvent - ";
    // What an earlier event has said is not this one's.
    let own = match text.rfind(HEADING) {
        Some(at) => {
            let own = &text[at + HEADING.len()..];
            let name = own.lines().next().unwrap_or_default();
            if event.is_some_and(|event| event != name) { "" } else { own }
        }
        None => &*text,
    };
    let lines: Vec<String> = own.lines().filter_map(said).collect();
    Ok(lines[lines.len().saturating_sub(at_most)..].to_vec())
}

/// What a line says, if a script said it.
fn said(line: &str) -> Option<String> {
    let at = ["[stdout]", "[stderr]"].iter().filter_map(|tag| line.find(tag)).min()?;
    let (tag, text) = line[at..].split_at("[stdout]".len());
    let last_state = text.rsplit('\r').find(|state| !state.trim().is_empty()).unwrap_or_default();
    Some(visible_lines(&format!("{tag}{last_state}")))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_those_of_the_newest_event() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("scripts.log");
        let text = "2026-05-04 10:01:11 LifecycleEvent - BeforeInstall\n2026-05-04 10:01:11 [stdout]of another\n\
                    2026-05-04 10:01:12 LifecycleEvent - AfterInstall\n2026-05-04 10:01:12 Script - a.sh\n\
                    2026-05-04 10:01:12 [stdout]one\n2026-05-04 10:01:12 [stdout]1 %\r50 %\r100 %\n\
                    2026-05-04 10:01:13 [stderr]\u{1b}three\n";
        std::fs::write(&log, text).unwrap();
        let expected = ["[stdout]one", "[stdout]100 %", "[stderr]\\u{1b}three"];
        assert_eq!(last_lines(&log, Some("AfterInstall"), 5).unwrap(), expected);
        assert_eq!(last_lines(&log, None, 2).unwrap(), expected[1..]);
        assert!(last_lines(&log, Some("ApplicationStart"), 5).unwrap().is_empty());
    }
}
