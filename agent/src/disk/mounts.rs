use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Dir, Error, Result, fault, read_bounded};

const MOUNTINFO: &str = "/proc/self/mountinfo";
const MAX_MOUNTINFO: u64 = 16 << 20;
const MAX_FDINFO: u64 = 64 << 10;
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

    /// Something that is mounted on an absolute path without symlinks, or below it.
    pub fn below(&self, path: &Path) -> Option<&Mount> {
        // The last one is on top: it has to be unmounted first.
        self.0.iter().rev().find(|mount| mount.point.starts_with(path))
    }

    /// Where a file system of this type is mounted, if it is anywhere.
    pub fn of_kind(&self, kind: &str) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.kind == kind)
    }

    /// Whether something is mounted exactly there.
    pub fn is_mount_point(&self, path: &Path) -> bool {
        self.on(path).is_some()
    }

    /// What is mounted exactly there.
    pub fn on(&self, path: &Path) -> Option<&Mount> {
        // Paths without symlinks are equal where their bytes are: `Path` would take them apart each time.
        self.0.iter().rev().find(|mount| mount.point.as_os_str() == path.as_os_str())
    }
}

impl Mount {
    /// What it is, for messages: `/dev/sdb1 (ext4)`.
    pub fn shown(&self) -> String {
        format!("{} ({})", self.source.to_string_lossy(), self.kind)
    }

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

impl Dir {
    /// Whether no mount lies between this directory and another one above it. Where the kernel does not tell the
    /// numbers of mounts, those of devices have to do, which a directory that was bound from the same one shares.
    pub(super) fn is_on_mount_of(&self, above: &Dir) -> Result<bool> {
        match (self.mount_id(), above.mount_id()) {
            (Some(own), Some(other)) => Ok(own == other),
            _ => Ok(self.stat_self()?.device == above.stat_self()?.device),
        }
    }

    /// The number of the mount that it is on, as proc(5) has it since Linux 3.15.
    fn mount_id(&self) -> Option<u64> {
        if fault::lacks("mount ids") {
            return None;
        }
        let fd = self.as_fd().as_raw_fd();
        let text = read_bounded(Path::new(&format!("/proc/self/fdinfo/{fd}")), MAX_FDINFO).ok()?;
        let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"mnt_id:"))?;
        std::str::from_utf8(line).ok()?.trim().parse().ok()
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
#[allow(clippy::disallowed_methods, reason = "tests mount for themselves")]
pub(super) mod tests {
    use super::*;

    /// A mount that ends with this value.
    #[derive(Debug)]
    pub struct Mounted(PathBuf);

    impl Mounted {
        /// Binds one path to another; nothing where this process may not mount.
        pub fn bind(from: &Path, to: &Path) -> Option<Self> {
            let status = std::process::Command::new("mount").arg("--bind").args([from, to]).status().unwrap();
            if !status.success() {
                eprintln!("nothing can be mounted here: the test looks at nothing");
                return None;
            }
            Some(Self(to.to_owned()))
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
        }
    }

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
