//! zip archives: the `zip` crate reads them, [`Tree`] places what it finds.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use ::zip::extra_fields::ExtraField;
use ::zip::result::ZipError;
use ::zip::{CompressionMethod, ZipArchive};

use super::entry::{EntryPath, Header, shown};
use super::tree::{Tree, read_failed};
use super::{PathProblem, UnpackError, UnpackReport, require_space};
use crate::disk::StagedAttributes;

/// Most bytes that are read to list an archive. The crate holds the whole list, which takes twice its
/// length in memory; this is room for some 200,000 entries, and keeps the agent below its 64 MB.
const MAX_DIRECTORY: u64 = 24 << 20;
/// The record at the end: 22 bytes and a comment of at most 65,535.
const MAX_END: u64 = 22 + 65_535;
const MAX_TARGET: u64 = 4096;
const FILE_KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;

pub(super) fn unpack(mut file: File, mut tree: Tree<'_>) -> Result<UnpackReport, UnpackError> {
    if !has_end(&mut file).map_err(|error| read_failed(None, &error))? {
        return Err(UnpackError::Truncated(None));
    }
    let allowance = Rc::new(Cell::new(MAX_DIRECTORY));
    let reader = Allowed { inner: BufReader::new(file), allowance: Rc::clone(&allowance) };
    let mut archive = ZipArchive::new(reader).map_err(|error| listing_failed(error, allowance.get()))?;
    allowance.set(u64::MAX);
    if archive.has_duplicate_names() {
        return Err(UnpackError::Damaged { entry: None, reason: "two of its entries have the same name".to_owned() });
    }
    let total = archive.decompressed_size().and_then(|size| u64::try_from(size).ok());
    require_space(tree.root(), total.unwrap_or(0))?;
    for index in 0..archive.len() {
        place(&mut archive, index, &mut tree)?;
    }
    tree.finish()
}

/// Whether the last bytes hold the record that every zip ends with. Without it the crate would search
/// the whole file.
fn has_end(file: &mut File) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_END)))?;
    let mut tail = Vec::new();
    file.by_ref().take(MAX_END).read_to_end(&mut tail)?;
    file.rewind()?;
    Ok(tail.windows(4).any(|window| window == b"PK\x05\x06"))
}

fn listing_failed(error: ZipError, allowance_left: u64) -> UnpackError {
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
    let path = entry.name().map_err(|error| zip_failed(Some(&text), error))?.into_owned();
    let refused = |problem| UnpackError::Path { entry: text.clone(), problem };
    if path.contains('\\') {
        return Err(refused(PathProblem::Backslash));
    }
    let mode = entry.unix_mode().unwrap_or(0);
    let is_directory = path.ends_with('/') || mode & FILE_KIND == DIRECTORY;
    let modified = modified(&entry);
    let header = Header {
        path: EntryPath::parse(path.as_bytes()).map_err(refused)?,
        attributes: StagedAttributes { mode: permissions(mode, is_directory), owner: None, modified },
        name: text.clone(),
    };
    let size = entry.size();
    tree.room_for(&header, size)?;
    match mode & FILE_KIND {
        _ if is_directory => return tree.directory(&header),
        SYMLINK if size <= MAX_TARGET => {
            let mut target = Vec::new();
            entry.by_ref().take(MAX_TARGET + 1).read_to_end(&mut target).map_err(|e| read_failed(Some(&text), &e))?;
            tree.symlink(&header, &target)?;
        }
        REGULAR | 0 => tree.file(&header, size, &mut entry)?,
        _ => return Err(UnpackError::Special { entry: text, kind: "device, pipe or broken link" }),
    }
    // One read past the end compares the checksum.
    match entry.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(UnpackError::Damaged { entry: Some(text), reason: "an entry is longer than it says".to_owned() }),
        Err(error) => Err(read_failed(Some(&text), &error)),
    }
}

/// Archives from systems without modes get ordinary ones. There is no owner in a zip that set-id bits
/// could be for.
fn permissions(mode: u32, is_directory: bool) -> u32 {
    match mode & 0o7777 {
        0 if is_directory => 0o755,
        0 => 0o644,
        bits => bits,
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
        Ok(got)
    }
}

impl<R: Seek> Seek for Allowed<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
