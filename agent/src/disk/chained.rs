//! A file of lines that is appended to durably, and read line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, open};

use super::{Error, Result, fault};

/// A file of lines to which each line that is appended depends on the last one. The caller sees to it that one process at a
/// time has it open to append.
#[derive(Debug)]
pub struct Chained {
    file: File,
    path: PathBuf,
    length: u64,
    longest: u64,
    /// The end of the file, without the last line end.
    tail: Vec<u8>,
    is_cut_off: bool,
}

/// When a line has to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Before the append returns.
    Now,
    /// With the next line that has to be, or when the system writes it. A power cut may take it.
    Later,
}

impl Chained {
    /// Opens the file, which is made with mode 0600 where it is missing, and reads its last lines, of at most `longest` bytes
    /// each. A symlink in its place is refused.
    pub fn open(path: &Path, longest: u64) -> Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fail = |errno: rustix::io::Errno| Error::new("open", path, errno);
        let file = File::from(open(path, flags, Mode::from_raw_mode(0o600)).map_err(fail)?);
        let length = u64::try_from(fstat(&file).map_err(fail)?.st_size).unwrap_or(0);
        // The last line, and the one before it where a crash cut the last one off.
        let from = length.saturating_sub(2 * (longest + 1));
        let mut tail = vec![0; usize::try_from(length - from).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut tail, from).map_err(|source| Error::new("read", path, source))?;
        let is_cut_off = tail.last().is_some_and(|byte| *byte != b'\n');
        if !is_cut_off {
            tail.pop();
        }
        Ok(Self { file, path: path.to_owned(), length, longest, tail, is_cut_off })
    }

    /// Returns the last lines without their ends, the last one first, which may be cut off; nothing of an empty file.
    pub fn last_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.tail.rsplit(|byte| *byte == b'\n').filter(|_| self.length > 0)
    }

    /// Whether the last line has no end, as after a crash.
    pub fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// Returns its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends a line. One that was cut off before it gets an end first. A line that is too long is an error.
    pub fn append(mut self, line: &[u8], durable: Durable) -> Result<()> {
        if line.len() as u64 > self.longest {
            let message = format!("a line has {} bytes, and at most {} are allowed", line.len(), self.longest);
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, message);
            return Err(Error::new("append to", &self.path, source));
        }
        let end: &[u8] = if self.is_cut_off { b"\n" } else { b"" };
        let text = [end, line, b"\n"].concat();
        let fail = |source| Error::new("append to", &self.path, source);
        fault::point("append", &self.path).and_then(|()| self.file.write_all(&text)).map_err(fail)?;
        if durable == Durable::Later {
            return Ok(());
        }
        fault::point("sync", &self.path)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| Error::new("sync", &self.path, source))
    }
}

/// One line of a file, as [`each_line`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct FileLine<'a> {
    /// Its bytes without the line end.
    pub text: &'a [u8],
    /// Whether it has a line end.
    pub is_whole: bool,
}

/// Gives each line of a file to `see`, in order. A file that does not exist has none. A line of more than `longest` bytes is
/// given in pieces, none of which but the last is whole.
pub fn each_line(path: &Path, longest: u64, mut see: impl FnMut(FileLine<'_>)) -> Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|source| Error::new("open", path, source))?,
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(longest + 1).read_until(b'\n', &mut line);
        if read.map_err(|source| Error::new("read", path, source))? == 0 {
            return Ok(());
        }
        let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
        see(FileLine { text: &line, is_whole });
    }
}
