//! tar archives: the `tar` crate reads them, [`Tree`] places what it finds.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use ::tar::{Archive, Entry, EntryType};

use super::ahead::read_ahead;
use super::entry::{EntryPath, Header, shown};
use super::tree::{Tree, read_failed};
use super::{UnpackError, UnpackReport};
use crate::disk::StagedAttributes;

const COMPRESSED_BUFFER: usize = 64 * 1024;
/// Most that an entry's names and extended attributes take, in bytes: the crate keeps them in memory.
const MAX_EXTENSIONS: u64 = 1 << 20;
/// zstd's largest window that is accepted, as a power of two: 32 MiB. Its level 19 takes 8 MiB.
const MAX_ZSTD_WINDOW: u32 = 25;

pub(super) fn gunzip(file: File) -> impl Read + Send {
    flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_BUFFER, file))
}

pub(super) fn unzstd(file: File) -> Result<impl Read + Send, UnpackError> {
    let failed = |error: io::Error| read_failed(None, &error);
    let mut decoder = zstd::stream::read::Decoder::new(file).map_err(failed)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW).map_err(failed)?;
    Ok(decoder)
}

/// As [`unpack`], of what it takes time to read.
pub(super) fn unpack_compressed(content: impl Read + Send, tree: Tree<'_>) -> Result<UnpackReport, UnpackError> {
    read_ahead(content, |content| unpack(content, tree)).unwrap_or_else(|error| Err(UnpackError::NoThread(error)))
}

pub(super) fn unpack(content: impl Read, mut tree: Tree<'_>) -> Result<UnpackReport, UnpackError> {
    let gauge = Rc::new(Gauge::default());
    let mut archive = Archive::new(Gauged { inner: content, gauge: Rc::clone(&gauge) });
    let mut last = None;
    let mut entries = archive.entries().map_err(|error| read_failed(None, &error))?;
    loop {
        gauge.allowance.set(MAX_EXTENSIONS);
        let Some(entry) = entries.next() else { break };
        gauge.allowance.set(u64::MAX);
        let mut entry = entry.map_err(|error| gauge.explain(last.as_deref(), &error))?;
        last = Some(shown(&entry.path_bytes()));
        place(&mut entry, &mut tree)?;
    }
    gauge.allowance.set(u64::MAX);
    // The crate takes the end of the file for the end of the archive; but an archive ends with blocks
    // of zeros, and one without has lost something.
    if gauge.ended.get() {
        return Err(UnpackError::Truncated(last));
    }
    drain(archive.into_inner(), tree.policy().limits.bytes, last.as_deref())?;
    tree.finish()
}

/// Reads to the end, so that the compression's own checksums are compared.
fn drain(mut rest: impl Read, limit: u64, last: Option<&str>) -> Result<(), UnpackError> {
    let mut buffer = vec![0; COMPRESSED_BUFFER];
    let mut seen = 0;
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => seen += got as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_failed(last, &error)),
        }
        if seen > limit {
            let what = "bytes (archive_max_extraction_size)";
            return Err(UnpackError::Limit { entry: last.unwrap_or_default().to_owned(), limit, what });
        }
    }
}

fn place<R: Read>(entry: &mut Entry<'_, R>, tree: &mut Tree<'_>) -> Result<(), UnpackError> {
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        // Written by git archive: a comment with the commit.
        return drain(entry, MAX_EXTENSIONS, Some("pax_global_header"));
    }
    let name = entry.path_bytes().into_owned();
    let header = header(entry, &name)?;
    tree.room_for(&header, entry.size())?;
    match kind {
        EntryType::Directory => tree.directory(&header)?,
        // From before there were directories in tar.
        EntryType::Regular if name.ends_with(b"/") => tree.directory(&header)?,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let size = entry.size();
            return tree.file(&header, size, entry);
        }
        EntryType::Symlink => tree.symlink(&header, &target(entry))?,
        EntryType::Link => tree.hard_link(&header, &target(entry))?,
        EntryType::Char => return Err(special(header, "character device")),
        EntryType::Block => return Err(special(header, "block device")),
        EntryType::Fifo => return Err(special(header, "pipe")),
        _ => {
            let what = "is of a kind that only the tool that wrote it knows; pack the bundle with a plain tar";
            return Err(UnpackError::Unsupported { entry: header.name, what });
        }
    }
    let limit = tree.policy().limits.bytes;
    drain(entry, limit, Some(&header.name))
}

fn special(header: Header, kind: &'static str) -> UnpackError {
    UnpackError::Special { entry: header.name, kind }
}

fn target<R: Read>(entry: &Entry<'_, R>) -> Vec<u8> {
    entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default()
}

fn header<R: Read>(entry: &mut Entry<'_, R>, name: &[u8]) -> Result<Header, UnpackError> {
    let text = shown(name);
    let path = EntryPath::parse(name).map_err(|problem| UnpackError::Path { entry: text.clone(), problem })?;
    let damaged = |error: io::Error| UnpackError::Damaged { entry: Some(text.clone()), reason: error.to_string() };
    let extended_time = extensions(entry, &text)?;
    let header = entry.header();
    // Some tools leave the fields blank; the largest number means "no change" to the system.
    let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX);
    let owner = id(header.uid()).zip(id(header.gid()));
    let time = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).map(|seconds| (seconds, 0));
    let attributes =
        StagedAttributes { mode: header.mode().map_err(damaged)? & 0o7777, owner, modified: extended_time.or(time) };
    Ok(Header { name: text, path, attributes })
}

/// Looks through the extended header, of which the crate itself applies names, ids and size: the exact
/// time is taken from it, and what cannot be honoured is refused.
fn extensions<R: Read>(entry: &mut Entry<'_, R>, name: &str) -> Result<Option<(i64, u32)>, UnpackError> {
    let unreadable = |_| UnpackError::Unsupported {
        entry: name.to_owned(),
        what: "has an extended header that is not readable; pack it without extended attributes (tar --no-xattrs)",
    };
    let mut modified = None;
    for extension in entry.pax_extensions().map_err(unreadable)?.into_iter().flatten() {
        let extension = extension.map_err(unreadable)?;
        if extension.key_bytes().starts_with(b"GNU.sparse.") {
            let what = "is a sparse file in a form that is not supported; pack it without --sparse";
            return Err(UnpackError::Unsupported { entry: name.to_owned(), what });
        }
        if extension.key_bytes() == b"mtime" {
            modified = extension.value().ok().and_then(time);
        }
    }
    Ok(modified)
}

/// Seconds since the epoch with a fraction, such as `1700000000.25`; before it with a sign.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits = fraction.get(..fraction.len().min(9))?;
    let nanoseconds = if digits.is_empty() { 0 } else { format!("{digits:0<9}").parse::<u32>().ok()? };
    match (whole.starts_with('-'), nanoseconds) {
        (_, 0) | (false, _) => Some((seconds, nanoseconds)),
        (true, _) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
    }
}

/// What is known about the reading of an archive, beside the crate's own view.
#[derive(Default)]
struct Gauge {
    /// Bytes that may be read until it is set anew.
    allowance: Cell<u64>,
    /// Whether the end of the file was met.
    ended: Cell<bool>,
}

impl Gauge {
    fn explain(&self, last: Option<&str>, error: &io::Error) -> UnpackError {
        if self.ended.get() { UnpackError::Truncated(last.map(str::to_owned)) } else { read_failed(last, error) }
    }
}

struct Gauged<R> {
    inner: R,
    gauge: Rc<Gauge>,
}

impl<R: Read> Read for Gauged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowance = self.gauge.allowance.get();
        if allowance == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the names and attributes of an entry are longer than 1 MiB"));
        }
        let most = buffer.len().min(usize::try_from(allowance).unwrap_or(usize::MAX));
        let got = self.inner.read(&mut buffer[..most])?;
        self.gauge.allowance.set(allowance - got as u64);
        if got == 0 && most > 0 {
            self.gauge.ended.set(true);
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_of_extended_headers_are_read_to_the_nanosecond() {
        assert_eq!(time("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(time("1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(time("1700000000.1234567891"), Some((1_700_000_000, 123_456_789)));
        assert_eq!(time("-1.75"), Some((-2, 250_000_000)));
        assert_eq!(time("soon"), None);
        assert_eq!(time("1.x"), None);
    }
}
