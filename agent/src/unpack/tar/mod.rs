//! tar archives: [`Members`] reads them, [`Tree`] places what it finds.

mod gzip;
mod members;
mod owners;
mod records;
mod sparse;

use std::fs::File;
use std::io::{self, BufReader, Read};

use super::ahead::read_ahead;
use super::entry::{EntryPath, Header, shown};
use super::stop::Stoppable;
use super::tree::{Tree, read_failed};
use super::warning::Note;
use super::{UnpackError, UnpackReport};
use crate::disk::StagedAttributes;
use gzip::Gunzip;
pub(super) use members::is_header;
use members::{Member, Members};
use owners::Owners;
use sparse::Sparse;

const COMPRESSED_BUFFER: usize = 64 * 1024;
/// Most that an entry's names and extended attributes take, in bytes: they are kept in memory.
const MAX_EXTENSIONS: u64 = 1 << 20;
/// zstd's largest window that is accepted, as a power of two: 32 MiB. Its level 19 takes 8 MiB.
const MAX_ZSTD_WINDOW: u32 = 25;

pub(super) fn gunzip(file: File) -> impl Read + Send {
    Gunzip::new(BufReader::with_capacity(COMPRESSED_BUFFER, file))
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
    let limits = tree.policy().limits;
    let mut members = Members::new(Stoppable::new(content, tree.stop()), limits);
    let mut owners = if tree.keeps_owners() { Owners::of_this_host() } else { Owners::by_number() };
    while let Some(member) = members.next()? {
        tree.count_headers(members.describing());
        place(member, &mut members, &mut owners, &mut tree)?;
    }
    let (rest, last) = members.into_rest();
    drain(rest, limits.bytes, last.as_deref())?;
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

fn place<R: Read>(
    member: Member,
    content: &mut Members<R>,
    owners: &mut Owners,
    tree: &mut Tree<'_>,
) -> Result<(), UnpackError> {
    // The archive's own name, which GNU tar writes in front.
    if member.kind == b'V' {
        return Ok(());
    }
    let header = header(&member, owners)?;
    if member.records.privileges {
        tree.note(Note::Privileges, &header.name);
    }
    match member.kind {
        b'5' | b'D' => tree.directory(&header),
        // From before there were directories in tar.
        b'0' | 0 if member.name.ends_with(b"/") => tree.directory(&header),
        b'1' => tree.hard_link(&header, &member.target),
        b'2' => tree.symlink(&header, &member.target),
        b'3' => Err(special(header, "character device")),
        b'4' => Err(special(header, "block device")),
        b'6' => Err(special(header, "pipe")),
        b'M' => Err(unsupported(header, "begins in another volume of the archive; pack the bundle into one file")),
        b'N' => Err(unsupported(header, "has its name in a form of 1990; pack the bundle with a newer tar")),
        kind => {
            if !matches!(kind, b'0' | 0 | b'7' | b'S') {
                tree.note(Note::UnknownKind, &header.name);
            }
            file(member.sparse, &header, content, tree)
        }
    }
}

fn file<R: Read>(
    sparse: Option<Sparse>,
    header: &Header,
    content: &mut Members<R>,
    tree: &mut Tree<'_>,
) -> Result<(), UnpackError> {
    match sparse {
        None => tree.file(header, content.left(), content),
        Some(sparse) => {
            let real = sparse.real;
            let mut whole = sparse.whole(content).map_err(|error| read_failed(Some(&header.name), &error))?;
            tree.file(header, real, &mut whole)
        }
    }
}

fn special(header: Header, kind: &'static str) -> UnpackError {
    UnpackError::Special { entry: header.name, kind }
}

fn unsupported(header: Header, what: &'static str) -> UnpackError {
    UnpackError::Unsupported { entry: header.name, what }
}

fn header(member: &Member, owners: &mut Owners) -> Result<Header, UnpackError> {
    let Member { header, records, name, .. } = member;
    let text = shown(name);
    let path = EntryPath::parse(name).map_err(|problem| UnpackError::Path { entry: text.clone(), problem })?;
    let damaged = |error: io::Error| UnpackError::Damaged { entry: Some(text.clone()), reason: error.to_string() };
    // Some tools leave the fields blank; the largest number means "no change" to the system.
    let number = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX);
    let user = owners.id(owners::Kind::User, records.uname.as_deref().or(header.username_bytes()));
    let user = user.or(records.uid).or_else(|| number(header.uid()));
    let group = owners.id(owners::Kind::Group, records.gname.as_deref().or(header.groupname_bytes()));
    let group = group.or(records.gid).or_else(|| number(header.gid()));
    let time = header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).map(|seconds| (seconds, 0));
    let attributes = StagedAttributes {
        mode: header.mode().map_err(damaged)? & 0o7777,
        owner: user.zip(group),
        modified: records.mtime.or(time),
    };
    Ok(Header { name: text, path, attributes })
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
