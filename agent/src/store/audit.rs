//! The record of each script that was run: lines of JSON, each of which holds the SHA-256 of the line before it. Whoever
//! changes, removes or swaps lines breaks that chain, and so does whoever cuts off its end after its head was told elsewhere,
//! as it is in the journal.
//!
//! ```text
//! {"format":1,"number":7,"before":"9f2c…","at":"2026-12-01T10:00:00Z","what":"begun","deployment":"d-…",…}
//! ```
//!
//! The file is set aside by size, and the chain goes on in the next one. A line that a crash cut off stays where it is, and
//! the next one says so.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::disk::{self, Chained, FileLine, Lock};
use crate::layout::Layout;

/// What the first line of all has before it.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Longest line, in bytes: paths of scripts have up to 4,096, which JSON may write sixfold.
const LONGEST: u64 = 64 << 10;
const FORMAT: u32 = 1;

/// How large the record grows, and how many old files of it stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// A file of this many bytes is set aside.
    pub bytes: u64,
    /// Files that are kept beside the newest one.
    pub files: u32,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<T> {
    format: u32,
    /// Counts from 1.
    pub number: u64,
    /// SHA-256 of the line before, in hexadecimal, without its end.
    pub before: String,
    /// Whether the line before was cut off by a crash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_a_crash: bool,
    /// When it was written.
    pub at: Timestamp,
    /// What is recorded.
    #[serde(flatten)]
    pub entry: T,
}

/// Where the chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line.
    pub number: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// What a look at the whole chain found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The number of the oldest line that is kept; those before were set aside long ago.
    pub from: u64,
    /// The number of the last one; 0 where there is none.
    pub to: u64,
    /// SHA-256 of the last one.
    pub head: String,
    /// Lines that a crash cut off.
    pub cut_off: Vec<Place>,
    /// Where the chain is broken.
    pub broken: Vec<Broken>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Counts from 1.
    pub line: usize,
}

/// A place at which the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong there.
    pub why: String,
}

/// Appends an entry, durably, and gives the chain's new head. One process at a time does.
pub fn append<T: Serialize>(layout: &Layout, kept: Kept, entry: T) -> Result<Head, StoreError> {
    let path = layout.audit();
    if let Some(parent) = path.parent() {
        disk::Dir::open_or_create(parent, 0o700)?;
    }
    let _lock = Lock::wait(&layout.audit_lock())?;
    let mut file = Chained::open(&path, LONGEST)?;
    let last = match file.last_line() {
        Some(last) => Some(last.to_vec()),
        None => last_of(&numbered(&path, 1))?,
    };
    let before = last.as_deref().map_or_else(|| BEGINNING.to_owned(), digest);
    let number = last.as_deref().and_then(number_of).unwrap_or(0) + 1;
    let after_a_crash = file.is_cut_off();
    let line = Line { format: FORMAT, number, before, after_a_crash, at: Timestamp::now(), entry };
    let unwritable = |source| StoreError::Unwritable { what: "the record of scripts", path: path.clone(), source };
    let text = serde_json::to_vec(&line).map_err(unwritable)?;
    if file.length() >= kept.bytes && !after_a_crash {
        disk::set_aside(&path, kept.files)?;
        file = Chained::open(&path, LONGEST)?;
    }
    file.append(&text)?;
    Ok(Head { number, sha256: digest(&text) })
}

/// Looks at all lines that are kept, from the oldest file to the newest. `each` is given every line that can be read.
pub fn verify(layout: &Layout, mut each: impl FnMut(&[u8])) -> Result<Verified, StoreError> {
    let path = layout.audit();
    let mut files: Vec<PathBuf> = (1..).map(|n| numbered(&path, n)).take_while(|file| file.exists()).collect();
    files.reverse();
    files.push(path);
    let mut chain = Chain::default();
    for file in files {
        let mut number = 0;
        disk::each_line(&file, LONGEST, |line| {
            number += 1;
            chain.add(Place { file: file.clone(), line: number }, line);
            each(line.text);
        })?;
    }
    Ok(chain.verified)
}

/// What has to follow on what.
struct Chain {
    verified: Verified,
    /// SHA-256 of the last line.
    last: Option<String>,
    /// The last line could not be read: the next one has to say so.
    is_cut_off: bool,
}

impl Default for Chain {
    fn default() -> Self {
        let verified = Verified { from: 0, to: 0, head: BEGINNING.to_owned(), cut_off: Vec::new(), broken: Vec::new() };
        Self { verified, last: None, is_cut_off: false }
    }
}

impl Chain {
    fn add(&mut self, place: Place, line: FileLine<'_>) {
        let found = serde_json::from_slice::<Line<serde_json::Value>>(line.text);
        let before = self.last.replace(digest(line.text));
        let was_cut_off = std::mem::replace(&mut self.is_cut_off, false);
        let mut wrong = |why: String| self.verified.broken.push(Broken { place: place.clone(), why });
        match found {
            Ok(found) => {
                match &before {
                    Some(before) if found.before != *before => wrong(
                        "it does not follow on the line before: that one, or this \
                        one, was changed or put here, or a line between them was removed"
                            .to_owned(),
                    ),
                    None if found.number == 1 && found.before != BEGINNING => {
                        wrong("it is the first of all, and says that there was one before".to_owned());
                    }
                    _ if self.verified.to != 0 && !was_cut_off && found.number != self.verified.to + 1 => {
                        wrong(format!("it has number {} after {}", found.number, self.verified.to));
                    }
                    _ => {}
                }
                if self.verified.from == 0 {
                    self.verified.from = found.number;
                }
                self.verified.to = found.number;
                if was_cut_off && !found.after_a_crash {
                    wrong(
                        "the line before cannot be read, and this one does not say that a crash cut it off".to_owned(),
                    );
                }
            }
            // A crash leaves one at the end, or in front of a line that says so.
            Err(_) => {
                self.is_cut_off = true;
                self.verified.cut_off.push(place);
            }
        }
        if !line.is_whole && !self.is_cut_off {
            self.is_cut_off = true;
        }
        self.verified.head = self.last.clone().unwrap_or_default();
    }
}

fn digest(line: &[u8]) -> String {
    hex::encode(Sha256::digest(line))
}

fn number_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Number {
        number: u64,
    }
    serde_json::from_slice::<Number>(line).ok().map(|found| found.number)
}

fn last_of(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    if !disk::exists(path)? {
        return Ok(None);
    }
    Ok(Chained::open(path, LONGEST)?.last_line().map(<[u8]>::to_vec))
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests change the file as an attacker would")]
mod tests {
    use serde_json::json;

    use super::*;

    const LARGE: Kept = Kept { bytes: 1 << 20, files: 2 };

    fn place() -> (tempfile::TempDir, Layout) {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(temp.path());
        super::super::prepare(&layout).unwrap();
        (temp, layout)
    }

    fn written(layout: &Layout, kept: Kept, count: usize) -> Head {
        let mut head = None;
        for n in 0..count {
            head = Some(append(layout, kept, json!({"script": format!("scripts/{n}.sh")})).unwrap());
        }
        head.unwrap()
    }

    fn look(layout: &Layout) -> Verified {
        verify(layout, |_| {}).unwrap()
    }

    #[test]
    fn a_chain_holds_over_all_of_its_files_and_ends_where_the_last_append_said() {
        let (_temp, layout) = place();
        assert_eq!(look(&layout).to, 0);
        let head = written(&layout, LARGE, 5);
        let found = look(&layout);
        assert_eq!((found.from, found.to, &found.head, found.broken.len()), (1, 5, &head.sha256, 0));
        let head = written(&layout, Kept { bytes: 500, files: 2 }, 20);
        let found = look(&layout);
        assert!(found.broken.is_empty() && found.cut_off.is_empty(), "{found:?}");
        assert!(found.from > 5 && found.to == 25 && found.head == head.sha256, "{found:?}");
        assert_eq!(std::fs::read_dir(layout.audit().parent().unwrap()).unwrap().count(), 3);
    }

    #[test]
    fn whatever_is_changed_removed_or_swapped_is_found_at_its_line() {
        for (change, line) in [("byte", 4), ("removed", 3), ("swapped", 3), ("put in", 4), ("number", 4)] {
            let (_temp, layout) = place();
            written(&layout, LARGE, 6);
            let text = std::fs::read_to_string(layout.audit()).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            match change {
                "byte" => lines[2] = lines[2].replace("scripts/2.sh", "scripts/9.sh"),
                "removed" => drop(lines.remove(2)),
                "swapped" => lines.swap(2, 3),
                "put in" => lines.insert(3, lines[2].clone()),
                _ => lines[2] = lines[2].replace("\"number\":3", "\"number\":2"),
            }
            std::fs::write(layout.audit(), lines.join("\n") + "\n").unwrap();
            let found = look(&layout);
            let first = found.broken.first().unwrap_or_else(|| panic!("{change} is not found"));
            let expected = if change == "number" { 3 } else { line };
            assert_eq!(first.place.line, expected, "{change}: {found:?}");
        }
    }

    #[test]
    fn a_line_that_a_crash_cut_off_stays_and_breaks_nothing() {
        let (_temp, layout) = place();
        written(&layout, LARGE, 3);
        let text = std::fs::read(layout.audit()).unwrap();
        std::fs::write(layout.audit(), &text[..text.len() - 20]).unwrap();
        let head = written(&layout, LARGE, 2);
        let found = look(&layout);
        assert!(found.broken.is_empty(), "{found:?}");
        assert_eq!((found.cut_off.len(), found.cut_off[0].line, found.head), (1, 3, head.sha256));
        // What somebody else made unreadable is no crash.
        let text = std::fs::read_to_string(layout.audit()).unwrap();
        std::fs::write(layout.audit(), text.replacen("\"format\"", "format", 1)).unwrap();
        assert!(!look(&layout).broken.is_empty());
    }

    #[test]
    fn two_processes_append_to_one_chain() {
        let (_temp, layout) = place();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| written(&layout, Kept { bytes: 4_000, files: 50 }, 50));
            }
        });
        let found = look(&layout);
        assert!(found.broken.is_empty() && (found.from, found.to) == (1, 200), "{found:?}");
    }
}
