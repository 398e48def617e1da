//! The record of each script that was run: lines of JSON, each of which holds the SHA-256 of the line before it. A line that
//! is changed, removed or swapped breaks that chain. Lines that are cut off its end are missed where its head was told: in
//! the journal.
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
use crate::disk::{self, Chained, Durable, FileLine, Lock};
use crate::layout::Layout;

/// Stands in the very first line for the SHA-256 of a line before.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Longest line, in bytes: paths of scripts have up to 4,096, which JSON may write sixfold.
const LONGEST: u64 = 64 << 10;
const FORMAT: u32 = 1;

/// Limits of the record: its size, and the number of old files.
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
    /// The time of writing.
    pub at: Timestamp,
    /// The entry itself.
    #[serde(flatten)]
    pub entry: T,
}

/// The end of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line.
    pub number: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// The result of a check of the whole chain.
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
    /// Places at which the chain is broken.
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
    /// The line.
    #[serde(flatten)]
    pub place: Place,
    /// The reason, as a sentence without a capital.
    pub why: String,
}

/// Appends an entry, and gives the chain's new head. Processes that append at once do so one after the other.
pub fn append<T: Serialize>(layout: &Layout, kept: Kept, durable: Durable, entry: T) -> Result<Head, StoreError> {
    let path = layout.audit();
    if let Some(parent) = path.parent() {
        disk::Dir::open_or_create(parent, 0o700)?;
    }
    let _lock = Lock::wait(&layout.audit_lock())?;
    let mut file = Chained::open(&path, LONGEST)?;
    let aside = numbered(&path, 1);
    // A file that was set aside goes on in a new one.
    let older = if disk::exists(&aside)? { Some(Chained::open(&aside, LONGEST)?) } else { None };
    let last_lines = || file.last_lines().chain(older.iter().flat_map(Chained::last_lines));
    let before = last_lines().next().map_or_else(|| BEGINNING.to_owned(), digest);
    // A line that a crash cut off has no number.
    let number = last_lines().find_map(number_of).unwrap_or(0) + 1;
    let after_a_crash = file.is_cut_off();
    let line = Line { format: FORMAT, number, before, after_a_crash, at: Timestamp::now(), entry };
    let unwritable = |source| StoreError::Unwritable { what: "the record of scripts", path: path.clone(), source };
    let text = serde_json::to_vec(&line).map_err(unwritable)?;
    if file.length() >= kept.bytes && !after_a_crash {
        disk::set_aside(&path, kept.files)?;
        file = Chained::open(&path, LONGEST)?;
    }
    file.append(&text, durable)?;
    Ok(Head { number, sha256: digest(&text) })
}

/// Checks all lines that are kept, from the oldest file to the newest. `each` is given every line.
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
    Ok(chain.end())
}

/// The check of a chain, as far as it has come.
struct Chain {
    verified: Verified,
    /// SHA-256 of the last line.
    last: Option<String>,
    /// The last line could not be read: the next one has to say so.
    is_cut_off: bool,
    /// The last line, if it cannot be read although it has an end: no crash leaves that, unless the next one says so.
    unreadable: Option<Place>,
}

impl Default for Chain {
    fn default() -> Self {
        let verified = Verified { from: 0, to: 0, head: BEGINNING.to_owned(), cut_off: Vec::new(), broken: Vec::new() };
        Self { verified, last: None, is_cut_off: false, unreadable: None }
    }
}

impl Chain {
    fn add(&mut self, place: Place, line: FileLine<'_>) {
        let found = serde_json::from_slice::<Line<serde_json::Value>>(line.text);
        let before = self.last.replace(digest(line.text));
        let was_cut_off = std::mem::replace(&mut self.is_cut_off, false);
        self.unreadable = None;
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
                    _ if self.verified.to != 0 && found.number != self.verified.to + 1 => {
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
                self.unreadable = line.is_whole.then(|| place.clone());
                self.verified.cut_off.push(place);
            }
        }
        if !line.is_whole && !self.is_cut_off {
            self.is_cut_off = true;
        }
        self.verified.head = self.last.clone().unwrap_or_default();
    }
}

impl Chain {
    fn end(mut self) -> Verified {
        if let Some(place) = self.unreadable {
            let why = "it cannot be read, and has an end, which no crash leaves".to_owned();
            self.verified.broken.push(Broken { place, why });
        }
        self.verified
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
            head = Some(append(layout, kept, Durable::Now, json!({"script": format!("scripts/{n}.sh")})).unwrap());
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
        assert_eq!((found.cut_off.len(), found.cut_off[0].line, &found.head), (1, 3, &head.sha256));
        assert_eq!((found.to, head.number), (4, 4), "the number of the line that was cut off is given again");
        // A last line that cannot be read and has an end is no crash either.
        let whole = std::fs::read(layout.audit()).unwrap();
        std::fs::write(layout.audit(), [&whole[..], b"{}\n"].concat()).unwrap();
        assert_eq!(look(&layout).broken.len(), 1);
        std::fs::write(layout.audit(), &whole).unwrap();
        // What an attacker made unreadable is no crash.
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
