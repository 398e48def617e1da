#![allow(clippy::disallowed_methods, reason = "disk owns the file system")]

use std::io;
use std::path::{Path, PathBuf};

use super::{Error, Result};

/// The real file behind a path below `root`, symlinks followed as long as they stay inside. For trees
/// that nobody else writes to: between the answer and its use nothing holds the links still.
pub fn resolve_beneath(root: &Path, relative: &Path) -> Result<PathBuf> {
    let path = root.join(relative);
    let fail = |source| Error::new("find", &path, source);
    let root = std::fs::canonicalize(root).map_err(fail)?;
    let real = std::fs::canonicalize(&path).map_err(fail)?;
    if real.starts_with(&root) {
        return Ok(real);
    }
    let message = format!("it is a link to {}, outside of {}", real.display(), root.display());
    Err(fail(io::Error::new(io::ErrorKind::InvalidInput, message)))
}

/// Whether programs on the file system that holds `path` may not be executed.
pub fn is_mounted_noexec(path: &Path) -> Result<bool> {
    let stat = rustix::fs::statvfs(path).map_err(|errno| Error::new("examine the file system of", path, errno))?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}
