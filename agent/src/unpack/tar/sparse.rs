//! Files with holes: the archive has their pieces, and where each of them belongs.

use std::io::{self, Read};

use ::tar::{GnuExtSparseHeader, Header};

use super::members::{BLOCK, Members};
use super::records::SparseRecords;
use super::{MAX_EXTENSIONS, UnpackError};

/// Where the pieces of a file belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Offset and length of each, the first one first.
    pieces: Vec<(u64, u64)>,
    /// The file's length with its holes.
    pub real: u64,
}

impl Sparse {
    /// Reads what GNU tar's own format has in the header and in blocks after it.
    pub fn of_header<R: Read>(header: &Header, members: &mut Members<R>) -> Result<Self, UnpackError> {
        let damaged = |error: io::Error| UnpackError::Damaged { entry: None, reason: error.to_string() };
        let Some(gnu) = header.as_gnu() else {
            return Err(damaged(io::Error::other("a sparse file has no header of GNU tar")));
        };
        let mut pieces = Vec::new();
        let mut add = |blocks: &[::tar::GnuSparseHeader]| {
            for block in blocks.iter().filter(|block| !block.is_empty()) {
                pieces.push((block.offset()?, block.length()?));
            }
            Ok(())
        };
        add(&gnu.sparse).map_err(damaged)?;
        let mut is_extended = gnu.is_extended();
        let mut read = 0;
        while is_extended {
            let mut extension = GnuExtSparseHeader::new();
            members.block(extension.as_mut_bytes())?;
            add(&extension.sparse).map_err(damaged)?;
            is_extended = extension.is_extended();
            read += BLOCK;
            if read > MAX_EXTENSIONS {
                return Err(damaged(io::Error::other("the list of a sparse file's pieces is longer than 1 MiB")));
            }
        }
        Ok(Self { pieces, real: gnu.real_size().map_err(damaged)? })
    }

    /// Reads what the pax formats have in records, and the latest of them before the content.
    pub fn of_records<R: Read>(records: SparseRecords, members: &mut Members<R>) -> io::Result<Self> {
        let numbers = match records.major {
            Some(1) => map_before_content(members)?,
            None | Some(0) => records.map,
            Some(_) => return Err(io::Error::other("a sparse file has a form that only newer tools know")),
        };
        let Some(real) = records.real else { return Err(io::Error::other("a sparse file has no length")) };
        let pieces = numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))).collect();
        if numbers.len() % 2 != 0 {
            return Err(io::Error::other("a sparse file's last piece has no length"));
        }
        Ok(Self { pieces, real })
    }

    /// The file's content with its holes, of the content that the archive has.
    pub fn whole<R: Read>(self, stored: &mut Members<R>) -> io::Result<Whole<'_, R>> {
        let mut end = 0;
        let mut sum: u64 = 0;
        for (offset, length) in self.pieces.iter().filter(|(_, length)| *length > 0) {
            // Each piece begins with a block of its own.
            if *offset < end || !sum.is_multiple_of(BLOCK) {
                return Err(io::Error::other("the pieces of a sparse file are out of order"));
            }
            end = offset.checked_add(*length).ok_or_else(|| io::Error::other("a sparse file is too long"))?;
            sum = sum.saturating_add(*length);
        }
        if end > self.real || sum != stored.left() {
            return Err(io::Error::other("the pieces of a sparse file are not as long as it is"));
        }
        Ok(Whole { stored, pieces: self.pieces.into_iter(), piece: (0, 0), at: 0, real: self.real })
    }
}

/// The list of pieces as decimal lines, how many there are first, filled up to a whole block.
fn map_before_content<R: Read>(members: &mut Members<R>) -> io::Result<Vec<u64>> {
    let unreadable = || io::Error::other("the list of a sparse file's pieces is not readable");
    let mut numbers = Vec::new();
    let mut wanted = None;
    let mut line = String::new();
    let mut read = 0;
    loop {
        let mut block = [0; BLOCK as usize];
        members.read_exact(&mut block)?;
        read += BLOCK;
        if read > MAX_EXTENSIONS {
            return Err(unreadable());
        }
        for byte in block {
            if byte.is_ascii_digit() && line.len() < 20 {
                line.push(char::from(byte));
                continue;
            }
            let number: u64 = line.parse().ok().filter(|_| byte == b'\n').ok_or_else(unreadable)?;
            line.clear();
            match wanted {
                None => wanted = Some(number.checked_mul(2).ok_or_else(unreadable)?),
                Some(_) => numbers.push(number),
            }
            if wanted == Some(numbers.len() as u64) {
                return Ok(numbers);
            }
        }
    }
}

/// Reads a file's content with zeros for its holes.
pub(super) struct Whole<'a, R> {
    stored: &'a mut Members<R>,
    pieces: std::vec::IntoIter<(u64, u64)>,
    /// The piece at or after `at`.
    piece: (u64, u64),
    at: u64,
    real: u64,
}

impl<R: Read> Read for Whole<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (offset, length) = self.piece;
            let end = offset + length;
            if self.at < offset {
                return Ok(self.hole(offset, buffer));
            }
            if self.at < end {
                let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(buffer.len());
                let got = self.stored.read(buffer.get_mut(..most).unwrap_or_default())?;
                self.at += got as u64;
                return Ok(got);
            }
            match self.pieces.next() {
                // One without a length only marks the file's end.
                Some((_, 0)) => {}
                Some(piece) => self.piece = piece,
                None => return Ok(self.hole(self.real, buffer)),
            }
        }
    }
}

impl<R> Whole<'_, R> {
    fn hole(&mut self, end: u64, buffer: &mut [u8]) -> usize {
        let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        buffer.get_mut(..most).unwrap_or_default().fill(0);
        self.at += most as u64;
        most
    }
}
