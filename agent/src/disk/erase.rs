use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::remove::mounted;
use super::{Error, Mounts, Result, fault, remove_if_exists};

/// How much is written over at a time.
const ZEROS: [u8; 4096] = [0; 4096];

/// Writes over a file that holds a secret, and removes it: an image of the disk takes blocks along that belong to no
/// file any more. Links to it are followed, and the one that is named is removed too. A file system that writes
/// changes elsewhere, as btrfs does, keeps the old blocks for a while all the same. A file that does not exist is fine;
/// one that is mounted from elsewhere is refused.
pub fn erase(path: &Path) -> Result<()> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        // A link to nothing goes too.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return remove_if_exists(path),
        Err(source) => return Err(Error::new("find", path, source)),
    };
    if let Some(mount) = Mounts::read().ok().as_ref().and_then(|mounts| mounts.on(&target)) {
        return Err(Error::new("erase", path, mounted(&mount.shown(), &target)));
    }
    write_over(&target)?;
    remove_if_exists(&target)?;
    if target == path { Ok(()) } else { remove_if_exists(path) }
}

fn write_over(path: &Path) -> Result<()> {
    let fail = |source| Error::new("write over", path, source);
    // A pipe is not waited for.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let mut file = OpenOptions::new().write(true).custom_flags(flags).open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Ok(());
    }
    fault::point("write over", path).map_err(fail)?;
    let mut left = metadata.len();
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_all(ZEROS.get(..some).unwrap_or_default()).map_err(fail)?;
        left -= some as u64;
    }
    file.sync_all().map_err(fail)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_was_in_it_is_gone_by_every_name() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("secret"), "s".repeat(5000)).unwrap();
        fs::hard_link(at("secret"), at("another name")).unwrap();
        symlink("secret", at("link")).unwrap();
        erase(&at("link")).unwrap();
        assert!(!at("link").is_symlink() && !at("secret").exists());
        assert_eq!(fs::read(at("another name")).unwrap(), vec![0; 5000]);
    }

    #[test]
    fn what_is_not_there_is_fine() {
        let temp = tempfile::tempdir().unwrap();
        erase(&temp.path().join("nothing")).unwrap();
        erase(&temp.path().join("no/directory")).unwrap();
        let link = temp.path().join("link");
        symlink("nothing", &link).unwrap();
        erase(&link).unwrap();
        assert!(!link.is_symlink());
    }
}
