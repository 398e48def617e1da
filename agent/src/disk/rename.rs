use std::path::Path;

use rustix::fs::{self as sys, RenameFlags};
use rustix::io::Errno;

use super::{Dir, Kind, Result, fault};

impl Dir {
    /// Renames; what is at `to` is replaced.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        self.rename_with(from.as_ref(), to.as_ref(), RenameFlags::empty(), "rename")
    }

    /// Renames; fails if there is anything at `to`. Where the file system cannot do this in one step,
    /// a file gets its second name before it loses its first, which never replaces either; only a
    /// directory is looked for and then renamed, which replaces nothing but an empty directory.
    pub fn rename_noreplace(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let lacking = match self.rename_with(from, to, RenameFlags::NOREPLACE, "rename") {
            Err(error) if error.is_unsupported() => error,
            other => return other,
        };
        if self.stat(from)?.kind != Kind::Directory {
            self.hard_link(from, to)?;
            return self.unlink(from);
        }
        match self.stat_if_exists(to)? {
            Some(_) => Err(self.error("rename", to, Errno::EXIST)),
            // Another mount will not be reached by any rename.
            None if lacking.source.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => Err(lacking),
            None => self.rename(from, to),
        }
    }

    /// Swaps two entries in one step. Where the kernel or the file system cannot, the error
    /// [is_unsupported](super::Error::is_unsupported).
    pub fn exchange(&self, one: impl AsRef<Path>, other: impl AsRef<Path>) -> Result<()> {
        self.rename_with(one.as_ref(), other.as_ref(), RenameFlags::EXCHANGE, "exchange")
    }

    fn rename_with(&self, from: &Path, to: &Path, flags: RenameFlags, action: &'static str) -> Result<()> {
        let (from_parent, from_name) = self.parent_of(from, action)?;
        let (to_parent, to_name) = self.parent_of(to, action)?;
        let missing = (flags == RenameFlags::EXCHANGE && fault::lacks("exchange"))
            || (flags == RenameFlags::NOREPLACE && fault::lacks("noreplace"));
        if missing {
            return Err(self.error(action, to, Errno::INVAL));
        }
        self.before_move(action, from, to)?;
        let result = if flags.is_empty() {
            sys::renameat(from_parent, from_name, to_parent, to_name)
        } else {
            sys::renameat_with(from_parent, from_name, to_parent, to_name, flags)
        };
        result.map_err(|errno| self.error(action, to, errno))
    }
}
