//! The order of a zip's entries, and which of them are covered by a later one of the same name.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;

use ::zip::ZipArchive;

use super::shown;

/// The length of what stands before an entry's name in the central directory.
const FIXED: usize = 46;
const MAGIC: [u8; 4] = *b"PK\x01\x02";

/// What is unpacked, in the order of the central directory, and what is not.
pub(super) struct Listed {
    /// Indices of the archive.
    pub order: Vec<usize>,
    /// Names of entries that a later one covers.
    pub covered: Vec<String>,
}

impl Listed {
    /// The archive has the last entry of each name, at the place of the first one. `file` is the same file.
    pub fn of<R: Read + Seek>(archive: &mut ZipArchive<R>, file: &File) -> io::Result<Self> {
        if !archive.has_duplicate_names() {
            return Ok(Self { order: (0..archive.len()).collect(), covered: Vec::new() });
        }
        let mut starts = Vec::with_capacity(archive.len());
        for index in 0..archive.len() {
            let entry = archive.by_index_data(index).map_err(io::Error::other)?;
            starts.push((entry.central_header_start(), index));
        }
        starts.sort_unstable();
        let kept: HashSet<u64> = starts.iter().map(|(start, _)| *start).collect();
        let last = starts.last().map_or(0, |(start, _)| *start);
        let covered = covered(file, archive.central_directory_start(), last, &kept)?;
        Ok(Self { order: starts.into_iter().map(|(_, index)| index).collect(), covered })
    }
}

/// Walks the central directory up to its last entry, which nothing can cover.
fn covered(file: &File, start: u64, last: u64, kept: &HashSet<u64>) -> io::Result<Vec<String>> {
    let mut reader = BufReader::new(From { file, at: start });
    let mut covered = Vec::new();
    let mut at = start;
    while at < last {
        let mut fixed = [0; FIXED];
        reader.read_exact(&mut fixed)?;
        if !fixed.starts_with(&MAGIC) {
            return Err(io::Error::other("the list of entries is not where it should be"));
        }
        let length = |at: usize| match fixed.get(at..) {
            Some([low, high, ..]) => u16::from_le_bytes([*low, *high]),
            _ => 0,
        };
        let (name, rest) = (u64::from(length(28)), u64::from(length(30)) + u64::from(length(32)));
        let mut text = Vec::new();
        reader.by_ref().take(name).read_to_end(&mut text)?;
        io::copy(&mut reader.by_ref().take(rest), &mut io::sink())?;
        if !kept.contains(&at) {
            covered.push(shown(&text));
        }
        at += FIXED as u64 + name + rest;
    }
    Ok(covered)
}

/// Reads a file from some place on, whatever others read of it meanwhile.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(buffer, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}
