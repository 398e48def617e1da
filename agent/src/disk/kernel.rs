//! File systems that the kernel makes up: they show its state, and hold no files of anybody's.

use rustix::fs as sys;

use super::{Dir, Error, Result};

/// Their names and the numbers by which `statfs` tells them, from the kernel's `linux/magic.h`. Not among them is
/// devtmpfs, which is a tmpfs and keeps what is put there.
const KERNEL: [(u32, &str); 21] = [
    (0x0000_9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0000_1cd1, "devpts"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0xcafe_4a11, "bpf"),
    (0x6265_6570, "configfs"),
    (0x6165_676c, "pstore"),
    (0xde5e_81e4, "efivarfs"),
    (0x1980_0202, "mqueue"),
    (0x4249_4e4d, "binfmt_misc"),
    (0x6573_5543, "fusectl"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4341_5d53, "smackfs"),
    (0x9584_58f6, "hugetlbfs"),
    (0x0765_5821, "resctrl"),
    (0x6759_6969, "rpc_pipefs"),
    // Its directories are made by what mounts into them alone.
    (0x0000_0187, "autofs"),
];

/// Where distributions mount such file systems.
pub const KERNEL_DIRECTORIES: [&str; 6] = ["/proc", "/sys", "/dev/pts", "/dev/mqueue", "/dev/hugepages", "/selinux"];

impl Dir {
    /// The type of this directory's file system, if it is one of the kernel's own, on which nothing can be
    /// installed.
    pub fn kernel_filesystem(&self) -> Result<Option<&'static str>> {
        let found = sys::fstatfs(self).map_err(|errno| Error::new("examine the file system of", self.path(), errno))?;
        Ok(named(found.f_type))
    }
}

/// The number has 32 bits; how wide the kernel's field is, and whether it has a sign, depends on the processor.
fn named(number: impl TryInto<i128>) -> Option<&'static str> {
    let number = number.try_into().ok()? & 0xffff_ffff;
    KERNEL.iter().find(|(known, _)| i128::from(*known) == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_are_told_from_others() {
        for (path, name) in [("/proc", "proc"), ("/proc/self", "proc"), ("/sys", "sysfs")] {
            assert_eq!(Dir::open(path).unwrap().kernel_filesystem().unwrap(), Some(name), "{path}");
        }
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(Dir::open(temp.path()).unwrap().kernel_filesystem().unwrap(), None);
        assert_eq!(Dir::open("/dev").unwrap().kernel_filesystem().unwrap(), None);
    }

    #[test]
    fn a_number_is_known_with_and_without_a_sign() {
        assert_eq!(named(0xcafe_4a11_u64), Some("bpf"));
        assert_eq!(named(i64::from(0xcafe_4a11_u32 as i32)), Some("bpf"));
        assert_eq!(named(0xef53_i64), None);
    }
}
