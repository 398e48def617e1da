use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Dir, Error, Result, fault};

/// When a write is to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// From its return on.
    Now,
    /// Once the system gets round to it.
    Sometime,
}

/// A new content of a file, written beside it and put in its place when it is whole. Without that it goes when this
/// value does.
#[derive(Debug)]
pub struct Replacement {
    parent: Dir,
    /// Nothing once it has the name of the file.
    temporary: Option<OsString>,
    name: OsString,
    file: File,
    path: PathBuf,
    durability: Durability,
}

impl Replacement {
    /// Begins an empty content that is durable once it is published.
    pub fn begin(path: &Path, mode: u32) -> Result<Self> {
        Self::begin_with(path, mode, Durability::Now)
    }

    pub(super) fn begin_with(path: &Path, mode: u32, durability: Durability) -> Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new("write", path, std::io::ErrorKind::InvalidInput));
        };
        let parent = Dir::open(parent)?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.tmp", std::process::id()));
        parent.remove_tree(&temporary)?;
        let file = parent.create_file(&temporary, mode)?;
        let path = parent.path().join(&temporary);
        let begun = Self { parent, temporary: Some(temporary), name: name.to_owned(), file, path, durability };
        rustix::fs::fchmod(&begun.file, rustix::fs::Mode::from_raw_mode(mode))
            .map_err(|errno| Error::new("set the mode of", &begun.path, errno))?;
        Ok(begun)
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        fault::point("write", &self.path)
            .and_then(|()| self.file.write_all(bytes))
            .map_err(|error| Error::new("write", &self.path, error))
    }

    /// Writes over the first bytes.
    pub fn write_at_start(&mut self, bytes: &[u8]) -> Result<()> {
        fault::point("write", &self.path)
            .and_then(|()| self.file.write_all_at(bytes, 0))
            .map_err(|error| Error::new("write", &self.path, error))
    }

    /// Puts it in the file's place.
    pub fn publish(mut self) -> Result<()> {
        if self.durability == Durability::Now {
            fault::point("sync", &self.path)
                .and_then(|()| self.file.sync_all())
                .map_err(|error| Error::new("sync", &self.path, error))?;
        }
        if let Some(temporary) = &self.temporary {
            self.parent.rename(temporary, &self.name)?;
            self.temporary = None;
        }
        if self.durability == Durability::Now { self.parent.sync() } else { Ok(()) }
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // The error that led here is the one that tells; a leftover is removed by the next write.
            let _ = self.parent.unlink(temporary);
        }
    }
}
