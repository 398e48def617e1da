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
use super::tree::{Tree, read_failed};
use super::warning::Note;
use super::{Parents, UnpackError, UnpackReport, require_space};
use crate::disk::StagedAttributes;
use listed::Listed;
use maker::{DIRECTORY, Maker, Mode, REGULAR, SYMLINK};

/// Most bytes that are read to list an archive. The crate holds the whole list, which takes twice its
/// length in memory; this is room for some 200,000 entries, and keeps the agent below its 64 MB.
const MAX_DIRECTORY: u64 = 24 << 20;
/// The record at the end: 22 bytes and a comment of at most 65,535.
const MAX_END: u64 = 22 + 65_535;
const MAX_TARGET: u64 = 4096;

pub(super) fn unpack(mut file: File, mut tree: Tree<'_>) -> Result<UnpackReport, UnpackError> {
    if !has_end(&mut file).map_err(|error| read_failed(None, &error))? {
        return Err(UnpackError::Truncated(None));
    }
    let allowance = Rc::new(Cell::new(MAX_DIRECTORY));
    let directory = file.try_clone().map_err(|error| read_failed(None, &error))?;
    let file = Stoppable::new(file, tree.stop());
    let reader = Allowed { inner: BufReader::new(file), allowance: Rc::clone(&allowance) };
    let mut archive = ZipArchive::new(reader).map_err(|error| listing_failed(error, allowance.get()))?;
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
