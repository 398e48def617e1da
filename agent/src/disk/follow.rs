use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Error, Result};

/// Most bytes that are read at once.
const AT_ONCE: u64 = 64 << 10;

/// Reads a log from its oldest file that is kept, and goes on to the new file when it is set aside. The log
/// need not be there yet.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// Files that were set aside before, the oldest last.
    older: Vec<File>,
    current: Option<(File, u64)>,
}

impl Follower {
    /// Begins at the oldest file: `path.<n>` before `path.<n - 1>`, and `path` at the end.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        // The newest is opened first: what is set aside meanwhile is then read twice and never left out.
        let current = open(&path)?;
        let mut older = Vec::new();
        for n in 1.. {
            let mut name = OsString::from(path.as_os_str());
            name.push(format!(".{n}"));
            let Some((file, inode)) = open(Path::new(&name))? else { break };
            if current.as_ref().is_none_or(|(_, current)| *current != inode) {
                older.push(file);
            }
        }
        Ok(Self { path, older, current })
    }

    /// What came since the last look, some of it at a time; empty where there is no more now.
    pub fn read(&mut self) -> Result<Vec<u8>> {
        while let Some(file) = self.older.last_mut() {
            let bytes = some_of(file, &self.path)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            self.older.pop();
        }
        if let Some((file, inode)) = &mut self.current {
            // Looked at before the read: a writer may write to the old file until it has gone on itself.
            let is_set_aside = inode_at(&self.path)? != Some(*inode);
            let bytes = some_of(file, &self.path)?;
            if !bytes.is_empty() || !is_set_aside {
                return Ok(bytes);
            }
        }
        match open(&self.path)? {
            None => Ok(Vec::new()),
            Some((mut file, inode)) => {
                let bytes = some_of(&mut file, &self.path)?;
                self.current = Some((file, inode));
                Ok(bytes)
            }
        }
    }
}

/// The end of a file, at most so many bytes; nothing of one that is not there.
pub fn read_tail(path: &Path, at_most: u64) -> Result<Vec<u8>> {
    let Some((mut file, _)) = open(path)? else { return Ok(Vec::new()) };
    let fail = |source| Error::new("read", path, source);
    let length = file.metadata().map_err(fail)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(at_most))).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(at_most).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

fn open(path: &Path) -> Result<Option<(File, u64)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| Error::new("open", path, source))?,
    };
    let inode = file.metadata().map_err(|source| Error::new("examine", path, source))?.ino();
    Ok(Some((file, inode)))
}

fn inode_at(path: &Path) -> Result<Option<u64>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::new("examine", path, source)),
    }
}

fn some_of(file: &mut File, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(AT_ONCE).read_to_end(&mut bytes).map_err(|source| Error::new("read", path, source))?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use super::*;
    use crate::disk::{AppendFile, Rotation};

    fn rest(follower: &mut Follower) -> String {
        let mut all = Vec::new();
        loop {
            let bytes = follower.read().unwrap();
            if bytes.is_empty() {
                return String::from_utf8(all).unwrap();
            }
            all.extend(bytes);
        }
    }

    #[test]
    fn the_end_of_a_file_is_read_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        assert_eq!(read_tail(&path, 3).unwrap(), b"");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_tail(&path, 3).unwrap(), b"345");
        assert_eq!(read_tail(&path, 9).unwrap(), b"12345");
    }

    #[test]
    fn a_log_is_followed_over_its_rotations() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        let mut early = Follower::open(&path).unwrap();
        assert_eq!(rest(&mut early), "");
        let mut log = AppendFile::open(&path, 0o644, Rotation { bytes: 10, keep: 2 }).unwrap();
        let mut said = String::new();
        for n in 0..3 {
            let line = format!("line {n} 789\n");
            log.append(line.as_bytes()).unwrap();
            said += &line;
            assert_eq!(rest(&mut early), line, "each line is told once");
        }
        let mut late = Follower::open(&path).unwrap();
        assert_eq!(rest(&mut late), said);
        log.append(b"the next\n").unwrap();
        assert_eq!(rest(&mut late), "the next\n");
        assert_eq!(rest(&mut early), "the next\n");
        assert_eq!(rest(&mut Follower::open(&path).unwrap()), format!("{}the next\n", &said[11..]), "one file is gone");
    }
}
