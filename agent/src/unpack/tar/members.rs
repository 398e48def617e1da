//! The members of a tar archive, one after another, each with all that its headers say.

use std::io::{self, Read};

use ::tar::Header;

use super::records::Records;
use super::sparse::Sparse;
use super::{MAX_EXTENSIONS, UnpackError, read_failed, shown};
use crate::unpack::Limits;
use crate::unpack::tree::ENTRIES;

/// Length of a block, in bytes: an archive is made of these.
pub(super) const BLOCK: u64 = 512;

/// Reads an archive. As a reader it gives the content of the member that was read last.
pub(super) struct Members<R> {
    inner: R,
    /// Bytes of the content that are left, and of what fills its last block.
    left: u64,
    filling: u64,
    /// Said of all members that follow.
    global: Records,
    /// The last member, for messages.
    last: Option<String>,
    /// What is left of the caps on entries and bytes. Headers that describe others count too: they cost as much to read.
    left_of: Left,
    /// Headers that described the last member, and their bytes.
    describing: (u64, u64),
}

/// What may still come, and the caps that this is left of.
struct Left {
    entries: u64,
    bytes: u64,
    limits: Limits,
}

/// What the headers say of a member.
pub(super) struct Member {
    pub header: Header,
    pub kind: u8,
    pub name: Vec<u8>,
    pub target: Vec<u8>,
    pub records: Records,
    /// How a file is put together that has holes.
    pub sparse: Option<Sparse>,
}

/// Headers that describe the next member.
#[derive(Default)]
struct Described {
    records: Records,
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    /// Whether there were any that a member must follow.
    any: bool,
}

impl<R: Read> Members<R> {
    pub fn new(inner: R, limits: Limits) -> Self {
        let left_of = Left { entries: limits.entries, bytes: limits.bytes, limits };
        Self { inner, left: 0, filling: 0, global: Records::default(), last: None, left_of, describing: (0, 0) }
    }

    /// The next member; nothing where the archive ends. A file that ends without the blocks of zeros that every archive
    /// ends with has lost something.
    pub fn next(&mut self) -> Result<Option<Member>, UnpackError> {
        self.skip_content()?;
        let mut described = Described::default();
        let mut allowance = MAX_EXTENSIONS;
        loop {
            let mut header = Header::new_old();
            self.block(header.as_mut_bytes())?;
            if header.as_bytes().iter().all(|byte| *byte == 0) {
                return if described.any { Err(self.damaged("it ends after an extended header")) } else { Ok(None) };
            }
            if !is_header(header.as_bytes()) {
                return Err(self.damaged("the checksum of an entry's header is wrong"));
            }
            let kind = header.entry_type().as_byte();
            if !matches!(kind, b'x' | b'X' | b'g' | b'L' | b'K') {
                return self.member(header, described).map(Some);
            }
            let size = header.entry_size().map_err(|error| self.damaged(&error.to_string()))?;
            allowance = allowance
                .checked_sub(size)
                .ok_or_else(|| self.damaged("the names and attributes of an entry are longer than 1 MiB"))?;
            self.count_header(size)?;
            let content = self.extension(size)?;
            described.any |= kind != b'g';
            let unreadable = |_| self.damaged("an extended header is not readable");
            match kind {
                b'L' => described.name = Some(before_zero(content)),
                b'K' => described.target = Some(before_zero(content)),
                b'g' => {
                    let mut global = std::mem::take(&mut self.global);
                    global.add(&content).map_err(|_| self.damaged("an extended header is not readable"))?;
                    if global.names_one_entry() {
                        return Err(self.damaged("an extended header gives all entries the same path or length"));
                    }
                    self.global = global;
                }
                _ => described.records.add(&content).map_err(unreadable)?,
            }
        }
    }

    fn member(&mut self, header: Header, described: Described) -> Result<Member, UnpackError> {
        let kind = header.entry_type().as_byte();
        let mut records = described.records.or(&self.global);
        let sparse = std::mem::take(&mut records.sparse);
        let name = sparse.name.clone().or_else(|| records.path.take()).or(described.name);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = records.linkpath.take().or(described.target);
        let target = target.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
        self.last = Some(shown(&name));
        // Links, devices, directories and labels have no content, whatever length they give.
        self.left = match (kind, records.size) {
            (b'1'..=b'6' | b'V', _) => 0,
            (_, Some(size)) => size,
            (_, None) => header.entry_size().map_err(|error| self.damaged(&error.to_string()))?,
        };
        self.filling = self.left.wrapping_neg() % BLOCK;
        let sparse = match kind {
            b'S' => Some(Sparse::of_header(&header, self)?),
            _ if sparse.is_any() => {
                let sparse = Sparse::of_records(sparse, self);
                Some(sparse.map_err(|error| read_failed(self.last.as_deref(), &error))?)
            }
            _ => None,
        };
        Ok(Member { header, kind, name, target, records, sparse })
    }

    /// Bytes of the content that are left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// What follows the archive's end, and the last member's name.
    pub fn into_rest(self) -> (R, Option<String>) {
        (self.inner, self.last)
    }

    /// Reads a whole block, past every content.
    pub(super) fn block(&mut self, block: &mut [u8; BLOCK as usize]) -> Result<(), UnpackError> {
        self.inner.read_exact(block).map_err(|error| self.failed(&error))
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        let mut content = Vec::new();
        let whole = size.saturating_add(size.wrapping_neg() % BLOCK);
        let read = self.inner.by_ref().take(whole).read_to_end(&mut content);
        match read {
            Ok(got) if got as u64 == whole => {}
            Ok(_) => return Err(UnpackError::Truncated(self.last.clone())),
            Err(error) => return Err(self.failed(&error)),
        }
        content.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(content)
    }

    fn count_header(&mut self, size: u64) -> Result<(), UnpackError> {
        let limit = self.left_of.limits.entries;
        self.left_of.entries = self.left_of.entries.checked_sub(1).ok_or_else(|| UnpackError::Limit {
            entry: self.last.clone().unwrap_or_default(),
            limit,
            what: ENTRIES,
        })?;
        self.count_bytes(size)?;
        self.describing.0 += 1;
        self.describing.1 += size;
        Ok(())
    }

    /// How many headers, and bytes of them, described the last member, or all from then on.
    pub fn describing(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.describing)
    }

    fn count_bytes(&mut self, bytes: u64) -> Result<(), UnpackError> {
        let limit = self.left_of.limits.bytes;
        self.left_of.bytes = self.left_of.bytes.checked_sub(bytes).ok_or_else(|| UnpackError::Limit {
            entry: self.last.clone().unwrap_or_default(),
            limit,
            what: "bytes (archive_max_extraction_size)",
        })?;
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), UnpackError> {
        // Of a content that was read nothing is left.
        self.count_bytes(self.left)?;
        let rest = self.left.saturating_add(self.filling);
        let skipped = io::copy(&mut self.inner.by_ref().take(rest), &mut io::sink());
        let skipped = skipped.map_err(|error| self.failed(&error))?;
        if skipped < rest {
            return Err(UnpackError::Truncated(self.last.clone()));
        }
        (self.left, self.filling) = (0, 0);
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> UnpackError {
        read_failed(self.last.as_deref(), error)
    }

    fn damaged(&self, reason: &str) -> UnpackError {
        UnpackError::Damaged { entry: self.last.clone(), reason: reason.to_owned() }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= got as u64;
        if got == 0 && most > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(got) }
    }
}

/// Whether a block is a header, by its checksum: the magic is missing in old archives. Some old tools took bytes for
/// signed.
pub(in crate::unpack) fn is_header(block: &[u8; BLOCK as usize]) -> bool {
    let header = Header::from_byte_slice(block);
    let Ok(expected) = header.cksum() else { return false };
    let bytes = || block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let unsigned: u32 = bytes().map(u32::from).sum();
    let signed: i32 = bytes().map(|byte| i32::from(byte.cast_signed())).sum();
    expected == unsigned || i64::from(expected) == i64::from(signed)
}

fn before_zero(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    text
}
