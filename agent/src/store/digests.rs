//! Digests of files that were read before, so that they need not be read again while nothing has touched
//! them. Never a source of truth: a list that is missing, torn or of another version is an empty one.
//!
//! The file: a line with the format, then for each file `digest inode size mtime ctime path` and a NUL, times
//! in seconds and nanoseconds; at its end the CRC-32C of all before it, as eight hexadecimal digits.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::disk::{self, Stat};
use crate::plan::Sha256;

const HEADER: &[u8] = b"slipway digests 1\n";
/// A million files with long names.
const MAX_BYTES: u64 = 512 << 20;
/// A file that was changed so shortly before could be changed again without a new time: file systems
/// take theirs from a clock that ticks every 10 ms at the slowest.
const TICK: jiff::SignedDuration = jiff::SignedDuration::from_millis(20);

/// What tells whether a file was touched: every write, and every change of its metadata, gives it a new time
/// of change, which nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Stamp {
    /// The stamp of a file as it was examined just now.
    pub fn of(stat: &Stat) -> Self {
        Self { inode: stat.inode, size: stat.size, modified: stat.modified, changed: stat.changed }
    }

    fn is_settled(&self, now: Timestamp) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default());
        changed.is_ok_and(|changed| now.duration_since(changed) > TICK)
    }
}

/// Files, by their paths, with their stamps and digests.
#[derive(Debug, Default)]
pub struct Digests(HashMap<PathBuf, (Stamp, Sha256)>);

impl Digests {
    /// The list at `path`.
    pub fn read(path: &Path) -> Self {
        let text = disk::read_if_exists(path, MAX_BYTES);
        Self(text.ok().flatten().and_then(|text| parse(&text)).unwrap_or_default())
    }

    /// The digest of a file that has not been touched since it was put down.
    pub fn of(&self, path: &Path, stamp: &Stamp) -> Option<Sha256> {
        self.0.get(path).filter(|(known, _)| known == stamp).map(|(_, digest)| *digest)
    }

    /// Puts a digest down, unless the file was changed only just now.
    pub fn insert(&mut self, path: PathBuf, stamp: Stamp, digest: Sha256) {
        if stamp.is_settled(Timestamp::now()) {
            self.0.insert(path, (stamp, digest));
        }
    }

    /// Forgets a file.
    pub fn remove(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// Writes the list to `path`. Not synced: a list that is lost costs time alone.
    pub fn write(&self, path: &Path) -> disk::Result<()> {
        let mut text = HEADER.to_vec();
        for (path, (stamp, digest)) in &self.0 {
            let Stamp { inode, size, modified, changed } = stamp;
            let fields = format!(
                "{} {inode} {size} {}.{} {}.{} ",
                hex::encode(digest.0),
                modified.0,
                modified.1,
                changed.0,
                changed.1
            );
            text.extend_from_slice(fields.as_bytes());
            text.extend_from_slice(path.as_os_str().as_bytes());
            text.push(0);
        }
        let sum = crc32c::crc32c(&text);
        text.extend_from_slice(format!("{sum:08x}").as_bytes());
        disk::write_unsynced(path, &text, 0o600)
    }
}

fn parse(text: &[u8]) -> Option<HashMap<PathBuf, (Stamp, Sha256)>> {
    let (text, sum) = text.split_last_chunk::<8>()?;
    if u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()? != crc32c::crc32c(text) {
        return None;
    }
    let records = text.strip_prefix(HEADER)?;
    records.split_inclusive(|byte| *byte == 0).map(record).collect()
}

fn record(line: &[u8]) -> Option<(PathBuf, (Stamp, Sha256))> {
    let mut fields = line.strip_suffix(&[0])?.splitn(6, |byte| *byte == b' ');
    let mut next = || fields.next();
    let mut digest = Sha256([0; 32]);
    hex::decode_to_slice(next()?, &mut digest.0).ok()?;
    let stamp =
        Stamp { inode: number(next()?)?, size: number(next()?)?, modified: time(next()?)?, changed: time(next()?)? };
    Some((PathBuf::from(std::ffi::OsStr::from_bytes(next()?)), (stamp, digest)))
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn time(field: &[u8]) -> Option<(i64, u32)> {
    let (seconds, nanoseconds) = std::str::from_utf8(field).ok()?.split_once('.')?;
    Some((seconds.parse().ok()?, nanoseconds.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files by themselves")]
mod tests {
    use super::*;
    use crate::disk::Dir;

    fn stamp(dir: &Path, name: &str) -> Stamp {
        Stamp::of(&Dir::open(dir).unwrap().stat(name).unwrap())
    }

    /// As if the file had been there for long.
    fn settled(mut stamp: Stamp) -> Stamp {
        stamp.changed.0 -= 10;
        stamp
    }

    #[test]
    fn a_digest_is_known_again_until_the_file_is_touched() {
        let temp = tempfile::tempdir().unwrap();
        let (list, digest) = (temp.path().join("list"), Sha256([7; 32]));
        std::fs::write(temp.path().join("file"), "a").unwrap();
        let known = settled(stamp(temp.path(), "file"));
        let name = PathBuf::from("odd name\nwith \u{e4} line");
        let mut digests = Digests::default();
        digests.insert(name.clone(), known, digest);
        digests.write(&list).unwrap();

        let digests = Digests::read(&list);
        assert_eq!(digests.of(&name, &known), Some(digest));
        assert_eq!(digests.of(Path::new("other"), &known), None);
        for touched in [
            Stamp { inode: known.inode + 1, ..known },
            Stamp { size: known.size + 1, ..known },
            Stamp { modified: (known.modified.0, known.modified.1 ^ 1), ..known },
            Stamp { changed: (known.changed.0, known.changed.1 ^ 1), ..known },
        ] {
            assert_eq!(digests.of(&name, &touched), None);
        }
    }

    #[test]
    fn a_file_that_was_changed_just_now_is_not_trusted() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("file"), "a").unwrap();
        let mut fresh = stamp(temp.path(), "file");
        let now = Timestamp::now();
        fresh.changed = (now.as_second(), u32::try_from(now.subsec_nanosecond()).unwrap());
        let mut ahead = fresh;
        ahead.changed.0 += 3600;
        for untrusted in [fresh, ahead] {
            let mut digests = Digests::default();
            digests.insert("file".into(), untrusted, Sha256([0; 32]));
            assert_eq!(digests.of(Path::new("file"), &untrusted), None);
        }
    }

    #[test]
    fn a_list_that_is_torn_or_changed_says_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let list = temp.path().join("list");
        std::fs::write(temp.path().join("file"), "a").unwrap();
        let known = settled(stamp(temp.path(), "file"));
        let mut digests = Digests::default();
        for name in ["one", "two"] {
            digests.insert(name.into(), known, Sha256([1; 32]));
        }
        digests.write(&list).unwrap();
        let whole = std::fs::read(&list).unwrap();
        let is_empty = |content: &[u8]| {
            std::fs::write(&list, content).unwrap();
            Digests::read(&list).0.is_empty()
        };
        assert!(!is_empty(&whole));
        for length in 0..whole.len() {
            assert!(is_empty(&whole[..length]), "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(is_empty(&changed), "byte {at}");
        }
    }
}
