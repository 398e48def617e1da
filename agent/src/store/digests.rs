//! Digests of files that were read before, so that they need not be read again while nothing has touched
//! them. Never a source of truth: a list that is missing, torn or of another version is an empty one.
//!
//! The file: a line with the format, then one part or more. The first has all files, each further one what an
//! install has changed: of two records of a path the later one counts. A part is: length of its records (8 bytes),
//! a record for each file, in the order of the paths' bytes, and the CRC-32C of all that (4). A record is: length
//! of the path (4 bytes), path, digest (32), inode (8), size (8), and the times of modification and change, each in
//! seconds (8) and nanoseconds (4). Numbers begin with their lowest byte.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::disk::{self, Stat};
use crate::plan::Sha256;

/// Bytes of a part's length.
const LENGTH: usize = 8;
const HEADER: &[u8] = b"slipway digests 2\n";
/// A million files with long names.
const MAX_BYTES: u64 = 512 << 20;
/// What was appended is at most this part of the first part: then all is written anew.
const APPENDED: usize = 4;
/// A file that was changed so shortly before could be changed again without a new time: file systems
/// take theirs from a clock that ticks every 10 ms at the slowest.
const TICK: jiff::SignedDuration = jiff::SignedDuration::from_millis(20);

/// What tells whether a file was touched: every write, and every change of its metadata, gives it a new time
/// of change, which nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Stamp {
    /// The stamp of a file as it was examined just now.
    pub fn of(stat: &Stat) -> Self {
        Self { inode: stat.inode, size: stat.size, modified: stat.modified, changed: stat.changed }
    }

    fn is_settled(&self, now: Timestamp) -> bool {
        #[cfg(test)]
        if all_just_changed::is_played() {
            return false;
        }
        let (seconds, nanoseconds) = self.changed;
        let changed = Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default());
        changed.is_ok_and(|changed| now.duration_since(changed) > TICK)
    }
}

/// Files, by their paths, with their stamps and digests.
#[derive(Debug, Default)]
pub struct Digests {
    /// As in the file: a list can be of hundreds of thousands.
    text: Vec<u8>,
    /// Where the records begin that count, in the order of their paths.
    starts: Vec<usize>,
    /// Where more could be appended; nothing where the file ends with what is none of its parts.
    end: Option<End>,
    /// What was added since.
    fresh: BTreeMap<PathBuf, Known>,
}

/// The end of a list that is whole.
#[derive(Clone, Copy, Debug)]
struct End {
    length: usize,
    /// Where the first part ends.
    first: usize,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it has to have for the digest to be right.
    pub stamp: Stamp,
    /// Of its content.
    pub digest: Sha256,
}

impl Digests {
    /// The list at `path`.
    pub fn read(path: &Path) -> Self {
        let text = disk::read_if_exists(path, MAX_BYTES).ok().flatten().unwrap_or_default();
        let (starts, end) = records(&text);
        Self { text, starts, end, fresh: BTreeMap::new() }
    }

    /// All files of the list as it was read, in the order of their paths.
    pub fn all(&self) -> impl Iterator<Item = (&Path, Known)> {
        let records = self.starts.iter().filter_map(|start| record(&self.text, *start));
        records.map(|(path, known)| (Path::new(OsStr::from_bytes(path)), known))
    }

    /// For looking up what was put down.
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup { digests: self, next: 0 }
    }

    /// Puts a digest down, unless the file was changed only just now.
    pub fn insert(&mut self, path: PathBuf, stamp: Stamp, digest: Sha256) {
        if stamp.is_settled(Timestamp::now()) {
            self.fresh.insert(path, Known { stamp, digest });
        }
    }

    /// Writes the list to `path`, where it was read from, with `changes` made to it: what is known of a file from
    /// now on, or that nothing is. Few are appended; of what nothing is known any more the old record stays then,
    /// which the file's own stamp gainsays. Not synced: a list that is lost costs time alone.
    pub fn write<'a>(
        &self,
        path: &Path,
        changes: impl IntoIterator<Item = (&'a Path, Option<Known>)>,
    ) -> disk::Result<()> {
        let now = Timestamp::now();
        let mut fresh: Vec<(&[u8], Option<Known>)> = changes
            .into_iter()
            .map(|(path, known)| (path, known.filter(|known| known.stamp.is_settled(now))))
            .chain(self.fresh.iter().map(|(path, known)| (path.as_path(), Some(*known))))
            .map(|(path, known)| (path.as_os_str().as_bytes(), known))
            .collect();
        // Of two that are said of one file the first counts: a change is newer than what was seen before it.
        fresh.sort_by_key(|(path, _)| *path);
        fresh.dedup_by_key(|(path, _)| *path);
        if let Some(end) = self.end {
            if fresh.is_empty() {
                return Ok(());
            }
            let mut part = Vec::new();
            append_part(&mut part, |text| fresh.iter().for_each(|(path, known)| append(text, path, *known)));
            if end.length - end.first + part.len() <= end.first / APPENDED {
                return disk::append_unsynced(path, end.length as u64, &part);
            }
        }
        let mut text = HEADER.to_vec();
        append_part(&mut text, |text| self.merge(text, fresh));
        disk::write_unsynced(path, &text, 0o600)
    }

    /// All records, with those of `fresh`, which is in order, in the places of older ones.
    fn merge(&self, text: &mut Vec<u8>, fresh: Vec<(&[u8], Option<Known>)>) {
        let mut fresh = fresh.into_iter().peekable();
        for start in &self.starts {
            let Some((path, known)) = record(&self.text, *start) else { continue };
            while let Some((path, known)) = fresh.next_if(|(other, _)| *other < path) {
                append(text, path, known);
            }
            match fresh.next_if(|(other, _)| *other == path) {
                Some((path, known)) => append(text, path, known),
                None => append(text, path, Some(known)),
            }
        }
        fresh.for_each(|(path, known)| append(text, path, known));
    }
}

/// Looks digests up. Fastest where the paths come in their order, as they do where a tree is gone through.
#[derive(Clone, Debug)]
pub struct Lookup<'a> {
    digests: &'a Digests,
    /// The record after the last one that was looked for.
    next: usize,
}

impl Lookup<'_> {
    /// The digest of a file that has not been touched since it was put down.
    pub fn of(&mut self, path: &Path, stamp: &Stamp) -> Option<Sha256> {
        let known = self.digests.fresh.get(path).copied().or_else(|| self.recorded(path.as_os_str().as_bytes()));
        known.filter(|known| known.stamp == *stamp).map(|known| known.digest)
    }

    fn recorded(&mut self, path: &[u8]) -> Option<Known> {
        let Digests { text, starts, .. } = self.digests;
        let is_next = starts.get(self.next).is_some_and(|start| path_at(text, *start) == path);
        if !is_next {
            self.next = starts.partition_point(|start| path_at(text, *start) < path);
        }
        let (found, known) = record(text, *starts.get(self.next)?)?;
        if found != path {
            return None;
        }
        self.next += 1;
        Some(known)
    }
}

fn append(text: &mut Vec<u8>, path: &[u8], known: Option<Known>) {
    let (Some(Known { stamp, digest }), Ok(length)) = (known, u32::try_from(path.len())) else { return };
    text.extend_from_slice(&length.to_le_bytes());
    text.extend_from_slice(path);
    text.extend_from_slice(&digest.0);
    text.extend_from_slice(&stamp.inode.to_le_bytes());
    text.extend_from_slice(&stamp.size.to_le_bytes());
    for (seconds, nanoseconds) in [stamp.modified, stamp.changed] {
        text.extend_from_slice(&seconds.to_le_bytes());
        text.extend_from_slice(&nanoseconds.to_le_bytes());
    }
}

/// Appends a part whose records `write` appends.
fn append_part(text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = text.len();
    text.extend_from_slice(&[0; LENGTH]);
    write(text);
    let length = (text.len() - begin - LENGTH) as u64;
    if let Some(place) = text.get_mut(begin..begin + LENGTH) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let sum = crc32c::crc32c(text.get(begin..).unwrap_or_default());
    text.extend_from_slice(&sum.to_le_bytes());
}

/// Where the records begin that count, in the order of their paths, up to the first part that is torn or changed;
/// and the end, if there is none.
fn records(text: &[u8]) -> (Vec<usize>, Option<End>) {
    let (mut starts, mut first) = (Vec::new(), None);
    if !text.starts_with(HEADER) {
        return (starts, None);
    }
    let mut at = HEADER.len();
    while let Some(end) = part(text, at, &mut starts) {
        first = first.or(Some(end));
        at = end;
    }
    if first.is_some_and(|first| first < at) {
        starts.sort_by(|one, other| path_at(text, *one).cmp(path_at(text, *other)));
        starts.dedup_by(|later, earlier| {
            let same = path_at(text, *later) == path_at(text, *earlier);
            if same {
                *earlier = *later;
            }
            same
        });
    }
    (starts, first.filter(|_| at == text.len()).map(|first| End { length: at, first }))
}

/// Adds where the records of the part begin that begins `at`, and gives its end; nothing of one that is torn or
/// changed.
fn part(text: &[u8], at: usize, starts: &mut Vec<usize>) -> Option<usize> {
    let mut rest = text.get(at..)?;
    let length = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?;
    let end = (at + LENGTH).checked_add(length)?;
    let sum = u32::from_le_bytes(take(&mut text.get(end..)?)?);
    if sum != crc32c::crc32c(text.get(at..end)?) {
        return None;
    }
    let (known, mut next) = (starts.len(), at + LENGTH);
    while next < end {
        starts.push(next);
        match parse(text, next) {
            Some((_, _, after)) if after <= end => next = after,
            _ => {
                starts.truncate(known);
                return None;
            }
        }
    }
    Some(end + size_of_val(&sum))
}

fn record(text: &[u8], start: usize) -> Option<(&[u8], Known)> {
    parse(text, start).map(|(path, known, _)| (path, known))
}

/// The path of the record that begins at a place, without a look at the rest of it.
fn path_at(text: &[u8], start: usize) -> &[u8] {
    let path = || {
        let mut rest = text.get(start..)?;
        let length = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
        rest.get(..length)
    };
    path().unwrap_or_default()
}

/// The record that begins at a place, and where the next one does.
fn parse(text: &[u8], start: usize) -> Option<(&[u8], Known, usize)> {
    let mut rest = text.get(start..)?;
    let length = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    let path = rest.split_off(..length)?;
    let digest = Sha256(take(&mut rest)?);
    let (inode, size) = (u64::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?));
    let mut time = || Some((i64::from_le_bytes(take(&mut rest)?), u32::from_le_bytes(take(&mut rest)?)));
    let stamp = Stamp { inode, size, modified: time()?, changed: time()? };
    Some((path, Known { stamp, digest }, text.len() - rest.len()))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.try_into().ok()
}

/// Tests that compare the calls of two installs cannot have them depend on the time since a file was written.
#[cfg(test)]
pub(crate) mod all_just_changed {
    use std::cell::Cell;

    thread_local! {
        static PLAYED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn is_played() -> bool {
        PLAYED.get()
    }

    /// Runs `work` on this thread as if every file had been changed just now, on however slow a machine.
    pub(crate) fn play<T>(work: impl FnOnce() -> T) -> T {
        let before = PLAYED.replace(true);
        let result = work();
        PLAYED.set(before);
        result
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files by themselves")]
mod tests;
