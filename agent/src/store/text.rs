//! The text of a state file, in memory or, as far as it is too long for that, on the disk.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::{StoreError, Stored};
use crate::disk::{self, Replacement};

/// Bytes from which on they are not kept in memory: a state can be as long as a list of all that is installed.
const PIECE: usize = 256 << 10;

/// How a file begins; everything after it is what the checksum is of.
pub(super) fn head(format: u32, sum: u32) -> String {
    format!("{{\"format\":{format},\"crc32c\":\"{sum:08x}\"")
}

/// Replaces a state file, whose directory is there.
pub(super) fn write<T: Stored>(path: &Path, state: &impl Serialize) -> Result<(), StoreError> {
    let mut text = Text::begin::<T>(Some(path));
    serialize::<T>(path, state, &mut text)?;
    text.finish(path)?;
    Ok(())
}

/// All of it.
pub(super) fn of<T: Stored>(path: &Path, state: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut text = Text::begin::<T>(None);
    serialize::<T>(path, state, &mut text)?;
    Ok(text.whole())
}

fn serialize<T: Stored>(path: &Path, state: &impl Serialize, text: &mut Text<'_>) -> Result<(), StoreError> {
    serde_json::to_writer(text, state).map_err(|source| {
        if !source.is_io() {
            return StoreError::Unwritable { what: T::WHAT, path: path.to_owned(), source };
        }
        match io::Error::from(source).downcast::<disk::Error>() {
            Ok(error) => error.into(),
            Err(error) => disk::Error::new("write", path, error).into(),
        }
    })
}

struct Text<'a> {
    /// The file, where there is to be one.
    path: Option<&'a Path>,
    /// What does not fit into memory any more.
    replacement: Option<Replacement>,
    gathered: Vec<u8>,
    format: u32,
    /// Of what was put away of the text after its head.
    sum: u32,
}

impl<'a> Text<'a> {
    fn begin<T: Stored>(path: Option<&'a Path>) -> Self {
        Self { path, replacement: None, gathered: head(T::FORMAT, 0).into_bytes(), format: T::FORMAT, sum: 0 }
    }

    /// Makes what was gathered what the file is to have, and adds it to the sum. In the first piece the object's own
    /// bracket goes: its members follow those of the head.
    fn seal(&mut self) {
        let at = if self.replacement.is_none() { head(self.format, 0).len() } else { 0 };
        if at > 0 {
            match self.gathered.get(at..at + 2) {
                Some(b"{}") => _ = self.gathered.remove(at),
                _ => self.gathered.iter_mut().skip(at).take(1).for_each(|bracket| *bracket = b','),
            }
        }
        self.sum = crc32c::crc32c_append(self.sum, self.gathered.get(at..).unwrap_or_default());
    }

    fn put_away(&mut self, path: &Path) -> Result<(), disk::Error> {
        self.seal();
        let replacement = match &mut self.replacement {
            Some(replacement) => replacement,
            none => none.insert(Replacement::begin(path, 0o600)?),
        };
        replacement.append(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }

    fn whole(mut self) -> Vec<u8> {
        self.gathered.push(b'\n');
        self.seal();
        let head = head(self.format, self.sum);
        self.gathered.splice(..head.len(), head.bytes());
        self.gathered
    }

    fn finish(mut self, path: &Path) -> Result<(), disk::Error> {
        if self.replacement.is_none() {
            return disk::write_atomic(path, &self.whole(), 0o600);
        }
        self.gathered.push(b'\n');
        self.put_away(path)?;
        let Some(mut replacement) = self.replacement else { return Ok(()) };
        replacement.write_at_start(head(self.format, self.sum).as_bytes())?;
        replacement.publish()
    }
}

impl Write for Text<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE
            && let Some(path) = self.path
        {
            self.put_away(path).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
