use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self as sys, XattrFlags};
use rustix::io::Errno;

use super::xattr::{absent_is_nothing, read};
use super::{Dir, Error, Result, fault};

/// Where the kernel keeps the SELinux label of a file (`xattr(7)`). File systems keep it also where SELinux
/// is not enabled.
const ATTRIBUTE: &str = "security.selinux";

/// The label of an open file or directory, named `path` in errors, as the kernel has it; nothing where it has
/// none, or where its file system keeps none.
pub fn read_label(open: impl AsFd, path: &Path) -> Result<Option<Vec<u8>>> {
    absent_is_nothing(read(|buffer| sys::fgetxattr(&open, ATTRIBUTE, buffer)))
        .map_err(|errno| Error::new("read the SELinux label of", path, errno))
}

/// Gives an open file or directory a label, or takes it away; does nothing where it is so already.
pub fn set_label(open: impl AsFd, path: &Path, label: Option<&[u8]>) -> Result<()> {
    const ACTION: &str = "set the SELinux label of";
    if read_label(&open, path)?.as_deref() == label {
        return Ok(());
    }
    fault::point("set label", path).map_err(|source| Error::new(ACTION, path, source))?;
    match label {
        Some(label) => sys::fsetxattr(&open, ATTRIBUTE, label, XattrFlags::empty()),
        None => sys::fremovexattr(&open, ATTRIBUTE),
    }
    .map_err(|errno| Error::new(ACTION, path, errno))
}

/// Whether the policy that the kernel enforces has a label. `selinuxfs` is where that file system is mounted.
/// Where the kernel does not say, it is taken to have it.
pub fn has_label(selinuxfs: &Path, label: &[u8]) -> bool {
    let asked = OpenOptions::new().read(true).write(true).open(selinuxfs.join("context"));
    let answer = asked.and_then(|mut context| context.write_all(label));
    answer.err().and_then(|error| error.raw_os_error()) != Some(Errno::INVAL.raw_os_error())
}

impl Dir {
    /// The label of an entry, as [`read_label`]. It must not be a symlink.
    pub fn label_at(&self, relative: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
        self.attribute_at(relative.as_ref(), ATTRIBUTE, "read the SELinux label of")
    }

    /// Whether the file system of this directory keeps labels.
    pub fn keeps_labels(&self) -> Result<bool> {
        match read(|buffer| sys::fgetxattr(self, ATTRIBUTE, buffer)) {
            Err(Errno::OPNOTSUPP) => Ok(false),
            Ok(_) | Err(Errno::NODATA) => Ok(true),
            Err(errno) => Err(Error::new("read the SELinux label of", self.path(), errno)),
        }
    }
}
