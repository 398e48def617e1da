//! Owners and modes that an archive gives to its entries, where the unpacked revision has others: the revision is this
//! process's alone, and only what is installed from it gets what the archive says.
//!
//! The file is beside the revision: a line with the format, how the revision became this process's (1 byte), and the user
//! and group that its files have (4 bytes each). Then come the entries, in any order; of two with one path the later one
//! counts. An entry is: length of the path (2 bytes, never 0), mode in the revision (2), mode in the archive (2), user
//! (4), group (4), and the path. An entry whose mode in the archive is 0xffff takes an earlier one back. One with 0xfffe
//! is another name of a file: in the place of the user is the length of that file's path, which follows its own, and what
//! counts for that path until then counts for it too. Two bytes of 0 end the list. Length (2 bytes) and path of the directory follow to which all other paths are relative, and the
//! CRC-32C of everything before (4). Numbers begin with their lowest byte.

use std::collections::HashMap;
use std::io::{Error as IoError, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{getegid, geteuid};

use crate::disk::{self, Replacement, Stat};

const HEADER: &[u8] = b"slipway attributes 1\n";
/// The header's text, the origin, and user and group.
const BEGIN: usize = HEADER.len() + 9;
/// What comes before an entry's path.
const FIXED: usize = 14;
/// Longest list that is written or read, in bytes: the tables of an install take more for as many paths.
const MAX_BYTES: u64 = 128 << 20;
/// Bytes that are written at once.
const BUFFER: usize = 64 << 10;
const TAKEN_BACK: u16 = 0xffff;
const LINK: u16 = 0xfffe;
const EXECUTABLE: u32 = 0o111;

/// How a revision became this process's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was unpacked so: nobody else could ever change it.
    Unpacked,
    /// Others could change it, until it was taken from them.
    Mended,
}

/// Owner and mode of an entry, in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Permission bits, set-id and sticky included.
    pub mode: u32,
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

/// The list of a revision, as it was read.
#[derive(Debug)]
pub struct Attributes {
    text: Vec<u8>,
    /// Where the entries begin that count, in the order of their paths; and those that say what they have.
    entries: Vec<(u32, u32)>,
    /// To what the paths of the list are relative.
    prefix: usize,
    origin: Origin,
    owner: (u32, u32),
}

impl Attributes {
    /// The list at `path`. Nothing where there is none: then the revision's files have the archive's owners and modes
    /// themselves, as earlier versions and AWS's agent leave them.
    pub fn read(path: &Path) -> disk::Result<Option<Self>> {
        let Some(text) = disk::read_if_exists(path, MAX_BYTES)? else { return Ok(None) };
        let refused = |what| disk::Error::new("read", path, IoError::new(ErrorKind::InvalidData, what));
        if !text.starts_with(b"slipway attributes ") {
            return Err(refused("it is not a list of owners and modes; deploy the revision again"));
        }
        if !text.starts_with(HEADER) {
            return Err(refused("a newer slipway-agent wrote it: install that again, or deploy the revision again"));
        }
        let damaged =
            || refused("it is damaged, so the owners and modes of the revision are not known; deploy it again");
        Self::parse(text).map(Some).ok_or_else(damaged)
    }

    fn parse(text: Vec<u8>) -> Option<Self> {
        let (content, sum) = text.split_last_chunk::<4>()?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
            return None;
        }
        let origin = match content.get(HEADER.len())? {
            0 => Origin::Unpacked,
            1 => Origin::Mended,
            _ => return None,
        };
        let owner = (long(content, HEADER.len() + 1)?, long(content, HEADER.len() + 5)?);
        let (mut entries, mut at, mut has_links) = (Vec::new(), BEGIN, false);
        loop {
            match usize::from(short(content, at)?) {
                0 => break,
                length => {
                    let start = u32::try_from(at).ok()?;
                    entries.push((start, start));
                    let target = link_length(content, start)?;
                    has_links |= target.is_some();
                    at = at.checked_add(FIXED + length + target.unwrap_or(0))?;
                }
            }
        }
        let prefix = content.get(at + 4..at + 4 + usize::from(short(content, at + 2)?))?.len();
        let prefix_path = content.get(at + 4..at + 4 + prefix)?.to_vec();
        let skipped = if prefix == 0 { 0 } else { prefix + 1 };
        if has_links {
            resolve(&text, &mut entries);
        }
        entries.retain(|(start, _)| {
            let path = raw_path(&text, *start);
            prefix == 0 || path.strip_prefix(&prefix_path[..]).is_some_and(|rest| rest.starts_with(b"/"))
        });
        // A stable sort: those of one path stay in their order.
        entries.sort_by(|one, other| raw_path(&text, one.0).cmp(raw_path(&text, other.0)));
        entries.dedup_by(|later, earlier| {
            let same = raw_path(&text, later.0) == raw_path(&text, earlier.0);
            if same {
                *earlier = *later;
            }
            same
        });
        Some(Self { text, entries, prefix: skipped, origin, owner })
    }

    /// How the revision became this process's alone.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What the archive gives the entry at `path`, which is as `stat` says. Nothing where it gives nothing else, and where
    /// somebody has given the file another owner or mode since. Bits that make it executable are the file's own.
    pub fn of(&self, path: &Path, stat: &Stat) -> Option<Given> {
        let wanted = path.as_os_str().as_bytes();
        let found = |start: u32| raw_path(&self.text, start).get(self.prefix..).unwrap_or_default();
        let at = self.entries.binary_search_by(|(start, _)| found(*start).cmp(wanted)).ok()?;
        let start = usize::try_from(self.entries.get(at)?.1).ok()?;
        let (kept, mode) = (short(&self.text, start + 2)?, short(&self.text, start + 4)?);
        let is_untouched =
            (stat.uid, stat.gid) == self.owner && (stat.mode ^ u32::from(kept)) & !EXECUTABLE & 0o7777 == 0;
        if mode >= LINK || !is_untouched {
            return None;
        }
        let mode = u32::from(mode) & !EXECUTABLE | stat.mode & EXECUTABLE;
        Some(Given { mode, uid: long(&self.text, start + 6)?, gid: long(&self.text, start + 10)? })
    }

    /// Makes what was found of the entry at `path` what it is in the archive.
    pub fn apply(&self, path: &Path, stat: &mut Stat) {
        if let Some(Given { mode, uid, gid }) = self.of(path, stat) {
            (stat.mode, stat.uid, stat.gid) = (mode, uid, gid);
        }
    }
}

/// Gives each other name of a file the entry that counts for that file where the name comes.
fn resolve(text: &[u8], entries: &mut [(u32, u32)]) {
    let mut known: HashMap<&[u8], u32> = HashMap::new();
    for (start, says) in entries {
        if let Some(Some(_)) = link_length(text, *start) {
            // Where nothing is known of the file, nothing is of this name: the entry itself says nothing.
            *says = known.get(link_target(text, *start)).copied().unwrap_or(*start);
        }
        known.insert(raw_path(text, *start), *says);
    }
}

/// The length of the path that an entry is another name of; nothing within, if it is none.
fn link_length(text: &[u8], start: u32) -> Option<Option<usize>> {
    let start = usize::try_from(start).ok()?;
    match short(text, start + 4)? {
        LINK => Some(Some(usize::try_from(long(text, start + 6)?).ok()?)),
        _ => Some(None),
    }
}

fn link_target(text: &[u8], start: u32) -> &[u8] {
    let target = || {
        let length = link_length(text, start)??;
        let from = usize::try_from(start).ok()? + FIXED + raw_path(text, start).len();
        text.get(from..from.checked_add(length)?)
    };
    target().unwrap_or_default()
}

fn raw_path(text: &[u8], start: u32) -> &[u8] {
    let path = || {
        let start = usize::try_from(start).ok()?;
        text.get(start + FIXED..start + FIXED + usize::from(short(text, start)?))
    };
    path().unwrap_or_default()
}

fn short(text: &[u8], at: usize) -> Option<u16> {
    text.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn long(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// A list that is being written. Entries go to the disk as they come; it counts once it is published.
#[derive(Debug)]
pub struct AttributeList {
    file: Replacement,
    buffer: Vec<u8>,
    written: u64,
    sum: u32,
    entries: u64,
}

/// Why an entry was not added.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file could not be written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The list would be longer than any that is read.
    #[error("the list of owners and modes is longer than {MAX_BYTES} bytes")]
    TooLong,
}

impl AttributeList {
    /// Most bytes of a list.
    pub const MAX_BYTES: u64 = MAX_BYTES;

    /// Begins a list that becomes the file at `path`.
    pub fn begin(path: &Path, origin: Origin) -> disk::Result<Self> {
        let file = Replacement::begin(path, 0o600)?;
        let mut list = Self { file, buffer: Vec::with_capacity(BUFFER), written: 0, sum: 0, entries: 0 };
        list.buffer.extend_from_slice(HEADER);
        list.buffer.push(match origin {
            Origin::Unpacked => 0,
            Origin::Mended => 1,
        });
        list.buffer.extend_from_slice(&geteuid().as_raw().to_le_bytes());
        list.buffer.extend_from_slice(&getegid().as_raw().to_le_bytes());
        Ok(list)
    }

    /// Adds an entry that has `kept` for its mode in the revision. An earlier entry of that path no longer counts.
    pub fn add(&mut self, path: &Path, kept: u32, given: Given) -> Result<(), ListError> {
        self.append(path, kept, (given.mode & 0o7777).try_into().unwrap_or(0), (given.uid, given.gid))
    }

    /// Takes back what was said of a path, whose entry gave way to another one.
    pub fn take_back(&mut self, path: &Path) -> Result<(), ListError> {
        if self.entries == 0 { Ok(()) } else { self.append(path, 0, TAKEN_BACK, (0, 0)) }
    }

    /// Says that a path is another name of the file at `target`.
    pub fn add_link(&mut self, path: &Path, target: &Path) -> Result<(), ListError> {
        let target = target.as_os_str().as_bytes();
        if self.entries == 0 || path.as_os_str().is_empty() {
            return Ok(());
        }
        self.append(path, 0, LINK, (u32::try_from(target.len()).unwrap_or(0), 0))?;
        self.buffer.extend_from_slice(target);
        Ok(())
    }

    fn append(&mut self, path: &Path, kept: u32, mode: u16, owner: (u32, u32)) -> Result<(), ListError> {
        let path = path.as_os_str().as_bytes();
        // The directory itself has none but this process's.
        let Some(length) = u16::try_from(path.len()).ok().filter(|length| *length > 0) else { return Ok(()) };
        if self.written + (self.buffer.len() + FIXED + path.len()) as u64 > MAX_BYTES - u64::from(u16::MAX) {
            return Err(ListError::TooLong);
        }
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        self.entries += 1;
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&u16::try_from(kept & 0o7777).unwrap_or(0).to_le_bytes());
        self.buffer.extend_from_slice(&mode.to_le_bytes());
        self.buffer.extend_from_slice(&owner.0.to_le_bytes());
        self.buffer.extend_from_slice(&owner.1.to_le_bytes());
        self.buffer.extend_from_slice(path);
        Ok(())
    }

    fn flush(&mut self) -> disk::Result<()> {
        self.sum = crc32c::crc32c_append(self.sum, &self.buffer);
        self.written += self.buffer.len() as u64;
        self.file.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the list, whose paths are relative to `prefix`, and makes it durable. From then on it counts.
    pub fn publish(mut self, prefix: &Path) -> disk::Result<()> {
        let prefix = prefix.as_os_str().as_bytes();
        self.buffer.extend_from_slice(&[0; 2]);
        self.buffer.extend_from_slice(&u16::try_from(prefix.len()).unwrap_or(0).to_le_bytes());
        self.buffer.extend_from_slice(prefix);
        self.flush()?;
        let sum = self.sum;
        self.file.append(&sum.to_le_bytes())?;
        self.file.publish()
    }
}

/// What a mode may be in a revision: neither set-id bits nor a right to write for others than its owner.
pub fn own_mode(mode: u32) -> u32 {
    mode & 0o755
}

/// Whether somebody else than this process, and root, could change the entry or what is in it.
pub fn is_editable_by_others(stat: &Stat) -> bool {
    let is_trusted = stat.uid == 0 || stat.uid == geteuid().as_raw();
    // A symlink has no mode, and whoever owns it cannot replace it in a directory that is not theirs.
    !is_trusted || stat.kind != disk::Kind::Symlink && stat.mode & 0o022 != 0
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use super::*;
    use crate::disk::Kind;

    fn stat(mode: u32) -> Stat {
        Stat {
            kind: Kind::File,
            mode,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            size: 0,
            links: 1,
            inode: 1,
            device: 1,
            modified: (0, 0),
            changed: (0, 0),
        }
    }

    fn list(prefix: &str, fill: impl FnOnce(&mut AttributeList)) -> Attributes {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".revision.attributes");
        let mut list = AttributeList::begin(&path, Origin::Unpacked).unwrap();
        fill(&mut list);
        list.publish(Path::new(prefix)).unwrap();
        Attributes::read(&path).unwrap().unwrap()
    }

    const GIVEN: Given = Given { mode: 0o2664, uid: 1000, gid: 1001 };

    #[test]
    fn an_entry_gets_what_the_archive_gives_and_the_last_one_counts() {
        let read = list("", |list| {
            list.add(Path::new("b"), 0o644, Given { uid: 7, ..GIVEN }).unwrap();
            list.add(Path::new("a/c"), 0o644, GIVEN).unwrap();
            list.add(Path::new("b"), 0o644, GIVEN).unwrap();
            list.add(Path::new("gone"), 0o644, GIVEN).unwrap();
            list.take_back(Path::new("gone")).unwrap();
        });
        for path in ["a/c", "b"] {
            assert_eq!(read.of(Path::new(path), &stat(0o644)), Some(GIVEN), "{path}");
        }
        for path in ["", "a", "gone", "zzz"] {
            assert_eq!(read.of(Path::new(path), &stat(0o644)), None, "{path}");
        }
    }

    #[test]
    fn another_name_of_a_file_has_what_the_file_has_where_it_comes() {
        let read = list("", |list| {
            list.add(Path::new("b"), 0o644, GIVEN).unwrap();
            list.add_link(Path::new("a"), Path::new("b")).unwrap();
            list.add_link(Path::new("z"), Path::new("a")).unwrap();
            list.add_link(Path::new("x"), Path::new("nothing-known")).unwrap();
            list.take_back(Path::new("b")).unwrap();
        });
        for path in ["a", "z"] {
            assert_eq!(read.of(Path::new(path), &stat(0o644)), Some(GIVEN), "{path}");
        }
        for path in ["b", "x", "nothing-known"] {
            assert_eq!(read.of(Path::new(path), &stat(0o644)), None, "{path}");
        }
    }

    #[test]
    fn what_a_script_changed_counts_and_the_executable_bits_are_the_files_own() {
        let read = list("", |list| list.add(Path::new("b"), 0o644, GIVEN).unwrap());
        assert_eq!(read.of(Path::new("b"), &stat(0o755)), Some(Given { mode: 0o2775, ..GIVEN }));
        assert_eq!(read.of(Path::new("b"), &stat(0o600)), None);
        assert_eq!(read.of(Path::new("b"), &Stat { uid: 4711, ..stat(0o644) }), None);
        assert_eq!(read.of(Path::new("b"), &Stat { gid: 4711, ..stat(0o644) }), None);
    }

    #[test]
    fn paths_are_relative_to_the_directory_that_held_everything() {
        let read = list("app-1", |list| {
            list.add(Path::new("app-1/b"), 0o644, GIVEN).unwrap();
            list.add(Path::new("app-1"), 0o755, GIVEN).unwrap();
            list.add(Path::new("app-10/b2"), 0o644, GIVEN).unwrap();
        });
        assert_eq!(read.of(Path::new("b"), &stat(0o644)), Some(GIVEN));
        for path in ["", "2", "/b2", "b2", "0/b2"] {
            assert_eq!(read.of(Path::new(path), &stat(0o644)), None, "{path}");
        }
    }

    #[test]
    fn a_list_that_is_damaged_newer_or_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        assert!(Attributes::read(&path).unwrap().is_none());
        let mut list = AttributeList::begin(&path, Origin::Mended).unwrap();
        list.add(Path::new("b"), 0o644, GIVEN).unwrap();
        list.publish(Path::new("")).unwrap();
        assert_eq!(Attributes::read(&path).unwrap().unwrap().origin(), Origin::Mended);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(Attributes::read(&path).is_err(), "{cut} bytes");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(&path, &flipped).unwrap();
            assert!(Attributes::read(&path).is_err(), "bit of byte {at}");
        }
        std::fs::write(&path, "slipway attributes 2\n").unwrap();
        assert!(Attributes::read(&path).unwrap_err().to_string().contains("newer slipway-agent"));
    }

    #[test]
    fn a_list_that_was_not_published_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        AttributeList::begin(&path, Origin::Unpacked).unwrap().publish(Path::new("")).unwrap();
        drop(AttributeList::begin(&path, Origin::Mended).unwrap());
        assert_eq!(Attributes::read(&path).unwrap().unwrap().origin(), Origin::Unpacked);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
