//! zip archives: the `zip` crate reads them, [`Tree`] places what it finds.

mod listed;
mod maker;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use ::zip::extra_fields::ExtraField;
use ::zip::result::ZipError;
use ::zip::{CompressionMethod, ZipArchive};

use super::entry::{EntryPath, Header, shown};
use super::stop::Stoppable;
use super::tree::{ENTRIES, Tree, read_failed};
use super::warning::Note;
use super::{Parents, UnpackError, UnpackReport, require_space};
use crate::disk::StagedAttributes;
use listed::Listed;
use maker::{DIRECTORY, Maker, Mode, REGULAR, SYMLINK};

/// Most bytes that are read to list an archive. The crate holds the whole list, which takes twice its
/// length in memory; this is room for more entries than the default allows, and keeps the agent below its 64 MB.
const MAX_DIRECTORY: u64 = 24 << 20;
/// The record at the end: 22 bytes and a comment of at most 65,535.
const MAX_END: u64 = 22 + 65_535;
const MAX_TARGET: u64 = 4096;

pub(super) fn unpack(mut file: File, mut tree: Tree<'_>) -> Result<UnpackReport, UnpackError> {
    let limit = tree.policy().limits.entries;
    match told_entries(&mut file).map_err(|error| read_failed(None, &error))? {
        None => return Err(UnpackError::Truncated(None)),
        Some(entries) if entries > limit => return Err(too_many(limit)),
        Some(_) => {}
    }
    let allowance = Rc::new(Cell::new(MAX_DIRECTORY));
    let directory = file.try_clone().map_err(|error| read_failed(None, &error))?;
    let file = Stoppable::new(file, tree.stop());
    let reader =
        Allowed { inner: BufReader::new(file), allowance: Rc::clone(&allowance), listed: Listing::new(limit), limit };
    let mut archive = ZipArchive::new(reader).map_err(|error| listing_failed(error, allowance.get(), limit))?;
    allowance.set(u64::MAX);
    let listed = Listed::of(&mut archive, &directory).map_err(|error| read_failed(None, &error))?;
    for name in listed.covered {
        tree.note(Note::Repeated, &name);
    }
    let total = archive.decompressed_size().and_then(|size| u64::try_from(size).ok());
    require_space(tree.root(), total.unwrap_or(0))?;
    for index in listed.order {
        place(&mut archive, index, &mut tree)?;
    }
    tree.finish()
}

fn too_many(limit: u64) -> UnpackError {
    UnpackError::Limit { entry: "central directory".to_owned(), limit, what: ENTRIES }
}

/// How many entries there are, by the record that every zip ends with. Nothing without one: then the crate would search
/// the whole file.
fn told_entries(file: &mut File) -> io::Result<Option<u64>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_END)))?;
    let mut tail = Vec::new();
    file.by_ref().take(MAX_END).read_to_end(&mut tail)?;
    let Some(at) = tail.windows(4).rposition(|window| window == b"PK\x05\x06") else { return Ok(None) };
    let mut told = number::<2>(&tail, at + 10).unwrap_or(0);
    // More than that many are told in another record, whose place is in a third one.
    let locator = at.checked_sub(20).filter(|at| tail.get(*at..).is_some_and(|rest| rest.starts_with(b"PK\x06\x07")));
    if let Some(place) = locator.and_then(|at| number::<8>(&tail, at + 8)) {
        let mut record = Vec::new();
        file.seek(SeekFrom::Start(place))?;
        file.by_ref().take(56).read_to_end(&mut record)?;
        told = number::<8>(&record, 32).filter(|_| record.starts_with(b"PK\x06\x06")).unwrap_or(told);
    }
    file.rewind()?;
    Ok(Some(told))
}

/// The number of N bytes, the lowest first, that begins at a place.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let found = bytes.get(at..)?.first_chunk::<N>()?;
    Some(found.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn listing_failed(error: ZipError, allowance_left: u64, limit: u64) -> UnpackError {
    if let ZipError::Io(error) = &error
        && error.kind() == io::ErrorKind::QuotaExceeded
    {
        return too_many(limit);
    }
    if allowance_left == 0 {
        let what = "bytes of names; pack it as tgz";
        return UnpackError::Limit { entry: "central directory".to_owned(), limit: MAX_DIRECTORY, what };
    }
    zip_failed(None, error)
}

fn zip_failed(entry: Option<&str>, error: ZipError) -> UnpackError {
    match error {
        ZipError::Io(error) => read_failed(entry, &error),
        other => UnpackError::Damaged { entry: entry.map(str::to_owned), reason: other.to_string() },
    }
}

fn place(archive: &mut ZipArchive<impl Read + Seek>, index: usize, tree: &mut Tree<'_>) -> Result<(), UnpackError> {
    let described = archive.by_index_data(index).map_err(|error| zip_failed(None, error))?;
    let name = described.name_raw().to_vec();
    let text = described.name().map_or_else(|_| shown(&name), |name| shown(name.as_bytes()));
    let unsupported = |what| UnpackError::Unsupported { entry: text.clone(), what };
    if described.encrypted() {
        return Err(unsupported("is encrypted; pack it without a password"));
    }
    if !matches!(described.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err(unsupported("is compressed by another method than deflate; pack it with a plain zip"));
    }
    drop(described);
    let mut entry = archive.by_index(index).map_err(|error| zip_failed(Some(&text), error))?;
    let maker = Maker::of(entry.system());
    let path = maker.path(&entry.name().map_err(|error| zip_failed(Some(&text), error))?);
    let refused = |problem| UnpackError::Path { entry: text.clone(), problem };
    let (entry_path, dropped) = match tree.policy().parents {
        Parents::Dropped => EntryPath::without_parents(path.as_bytes()),
        Parents::Refused => EntryPath::parse(path.as_bytes()).map(|path| (path, false)),
    }
    .map_err(refused)?;
    if dropped {
        tree.note(Note::Parents, &text);
    }
    let Mode { kind, permissions } = maker.mode(entry.external_attributes(), &path);
    let is_directory = kind == Some(DIRECTORY);
    let modified = modified(&entry);
    let header = Header {
        path: entry_path,
        attributes: StagedAttributes { mode: permissions, owner: None, modified },
        name: text.clone(),
    };
    let size = entry.size();
    tree.room_for(&header, size)?;
    match kind {
        _ if is_directory => return tree.directory(&header),
        Some(SYMLINK) if size <= MAX_TARGET => {
            let mut target = Vec::new();
            entry.by_ref().take(MAX_TARGET + 1).read_to_end(&mut target).map_err(|e| read_failed(Some(&text), &e))?;
            tree.symlink(&header, &target)?;
        }
        Some(REGULAR) | None => tree.file(&header, size, &mut entry)?,
        _ => return Err(UnpackError::Special { entry: text, kind: "device, pipe or broken link" }),
    }
    // One read past the end compares the checksum.
    match entry.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(UnpackError::Damaged { entry: Some(text), reason: "an entry is longer than it says".to_owned() }),
        Err(error) => Err(read_failed(Some(&text), &error)),
    }
}

/// The extra field is in UTC. The old one has no time zone; most tools that write only that, on
/// servers, mean UTC.
fn modified<R: Read>(entry: &::zip::read::ZipFile<'_, R>) -> Option<(i64, u32)> {
    let extended = entry.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(time) => time.mod_time(),
        _ => None,
    });
    if let Some(seconds) = extended {
        return Some((i64::from(seconds.cast_signed()), 0));
    }
    let time = entry.last_modified()?;
    let part = |value: u8| i8::try_from(value).ok();
    let civil = jiff::civil::DateTime::new(
        i16::try_from(time.year()).ok()?,
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second().min(59))?,
        0,
    );
    let zoned = civil.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some((zoned.timestamp().as_second(), 0))
}

/// A reader that fails once its allowance is used up.
struct Allowed<R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
    listed: Listing,
    limit: u64,
}

/// Counts the entries that are read of a list. The crate keeps some 300 bytes of each, before anybody else sees one.
struct Listing {
    /// How many may still come. What stands at the end of a file is read once more than the rest.
    left: u64,
    /// How much of an entry's first bytes was read last.
    matched: usize,
}

impl Listing {
    fn new(limit: u64) -> Self {
        Self { left: limit.saturating_add(2 * MAX_END / 46), matched: 0 }
    }

    /// Whether no more may come.
    fn is_over(&mut self, read: &[u8]) -> bool {
        const BEGIN: [u8; 4] = *b"PK\x01\x02";
        for byte in read {
            self.matched = match BEGIN.get(self.matched) {
                Some(expected) if expected == byte => self.matched + 1,
                _ => usize::from(*byte == b'P'),
            };
            if self.matched == BEGIN.len() {
                self.matched = 0;
                match self.left.checked_sub(1) {
                    Some(left) => self.left = left,
                    None => return true,
                }
            }
        }
        false
    }
}

impl<R: Read> Read for Allowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowance = self.allowance.get();
        if allowance == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the list of entries is too long"));
        }
        let most = buffer.len().min(usize::try_from(allowance).unwrap_or(usize::MAX));
        let got = self.inner.read(&mut buffer[..most])?;
        self.allowance.set(allowance - got as u64);
        // Of the list alone: contents come without an allowance.
        if allowance <= MAX_DIRECTORY && self.listed.is_over(buffer.get(..got).unwrap_or_default()) {
            let message = format!("there are more than {} entries", self.limit);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        }
        Ok(got)
    }
}

impl<R: Seek> Seek for Allowed<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
