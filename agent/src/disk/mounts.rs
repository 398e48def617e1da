use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Dir, Error, Result, read_bounded};

const MOUNTINFO: &str = "/proc/self/mountinfo";
const MAX_MOUNTINFO: u64 = 16 << 20;
/// Where mounts come and go all the time, the last reading has to do.
const READINGS: usize = 16;

/// Types whose `statfs` id comes from the volume itself, not from the number of the device that it is
/// on today. (tmpfs draws a new one at each mount, which is as it should be: its content is new too.)
const FSID_IS_THE_VOLUME: [&str; 7] = ["ext2", "ext3", "ext4", "btrfs", "f2fs", "tmpfs", "bcachefs"];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its type, `ext4`.
    pub kind: String,
    /// What is mounted; for most types a device.
    pub source: OsString,
}

/// The mount table of this process.
#[derive(Clone, Debug)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads the kernel's table. Kernels before 5.8 leave entries out when others go during the reading:
    /// it is read until it says the same twice.
    pub fn read() -> Result<Self> {
        let mut text = read_bounded(Path::new(MOUNTINFO), MAX_MOUNTINFO)?;
        for _ in 0..READINGS {
            let again = read_bounded(Path::new(MOUNTINFO), MAX_MOUNTINFO)?;
            if text == again {
                break;
            }
            text = again;
        }
        Ok(Self(text.split(|byte| *byte == b'\n').filter_map(parse).collect()))
    }

    /// The file system that an absolute path without symlinks is on. The path need not exist.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        // Of two mounts on one point the later one hides the earlier.
        self.0.iter().filter(|mount| path.starts_with(&mount.point)).max_by_key(|mount| depth(&mount.point))
    }

    /// Where a file system of this type is mounted, if it is anywhere.
    pub fn of_kind(&self, kind: &str) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.kind == kind)
    }

    /// Whether something is mounted exactly there.
    pub fn is_mount_point(&self, path: &Path) -> bool {
        // Paths without symlinks are equal where their bytes are: `Path` would take them apart each time.
        self.0.iter().any(|mount| mount.point.as_os_str() == path.as_os_str())
    }
}

impl Mount {
    /// A name of the volume that stays the same across boots, where one can be had.
    pub fn volume(&self) -> Result<Option<String>> {
        if let Some(uuid) = self.uuid()? {
            return Ok(Some(format!("uuid:{uuid}")));
        }
        if !FSID_IS_THE_VOLUME.contains(&self.kind.as_str()) {
            return Ok(None);
        }
        let dir = Dir::open(&self.point)?;
        let found =
            rustix::fs::fstatvfs(&dir).map_err(|errno| Error::new("examine the file system of", &self.point, errno))?;
        Ok((found.f_fsid != 0).then(|| format!("fsid:{:016x}", found.f_fsid)))
    }

    /// The UUID under which udev lists the device.
    fn uuid(&self) -> Result<Option<String>> {
        let Ok(device) = rustix::fs::stat(Path::new(&self.source)) else { return Ok(None) };
        let list = match Dir::open("/dev/disk/by-uuid") {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        for entry in list.entries()? {
            let Ok(listed) = rustix::fs::statat(&list, &entry.name, rustix::fs::AtFlags::empty()) else { continue };
            if listed.st_rdev == device.st_rdev && device.st_rdev != 0 {
                return Ok(entry.name.to_str().map(str::to_owned));
            }
        }
        Ok(None)
    }
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

/// One line, as proc(5) has it: fields up to a hyphen, then type, source and options.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.nth(4)?;
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = std::str::from_utf8(rest.next()?).ok()?.to_owned();
    let source = unescape(rest.next()?);
    Some(Mount { point: unescape(point).into(), kind, source })
}

/// Spaces, tabs, newlines and backslashes are written as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| tail.get(..3)).flatten().and_then(octal);
        match escaped {
            Some(byte) => {
                text.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                text.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(text)
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(OsStr::from_bytes(digits).to_str()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_optional_fields_and_escapes_are_read() {
        let mount = parse(b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 x:2 - ext3 /dev/root rw").unwrap();
        assert_eq!(mount.point, Path::new("/mnt 2"));
        assert_eq!((mount.kind.as_str(), mount.source.as_os_str()), ("ext3", OsStr::new("/dev/root")));
        assert!(parse(b"36 35").is_none());
    }

    #[test]
    fn the_deepest_and_latest_mount_wins() {
        let mount = |point: &str, kind: &str| Mount { point: point.into(), kind: kind.into(), source: "x".into() };
        let mounts = Mounts(vec![mount("/", "a"), mount("/srv", "b"), mount("/srv", "c"), mount("/srv/data", "d")]);
        assert_eq!(mounts.of(Path::new("/srv/app")).unwrap().kind, "c");
        assert_eq!(mounts.of(Path::new("/srv/data/x")).unwrap().kind, "d");
        assert_eq!(mounts.of(Path::new("/srv-other")).unwrap().kind, "a");
        assert!(mounts.is_mount_point(Path::new("/srv")) && !mounts.is_mount_point(Path::new("/srv/app")));
    }

    #[test]
    fn the_kernels_own_table_has_the_root() {
        let mounts = Mounts::read().unwrap();
        assert!(mounts.of(Path::new("/")).is_some());
    }
}
