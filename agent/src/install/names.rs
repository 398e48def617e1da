//! The names under which a transaction keeps things beside their targets.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::root::name;
use crate::ids::TransactionId;

/// The longest name that file systems take.
const NAME_MAX: usize = 255;

/// `.<name>.<transaction>.new` and `.old`: siblings of the target, since a rename across mounts fails,
/// and the same in every life of the agent. A name that would get too long is replaced by its digest.
#[derive(Clone, Debug)]
pub(super) struct Names(pub(super) TransactionId);

impl Names {
    /// Where the new state of a target is staged, and where an exchange leaves the old one.
    pub(super) fn staged(&self, target: &Path) -> PathBuf {
        self.sibling(target, "new")
    }

    /// Where the old state of a target is kept that is removed, or that could not be exchanged.
    pub(super) fn old(&self, target: &Path) -> PathBuf {
        self.sibling(target, "old")
    }

    fn sibling(&self, target: &Path, ending: &str) -> PathBuf {
        let suffix = format!(".{}.{ending}", self.0);
        let own = name(target);
        let mut sibling = OsString::from(".");
        if own.len() + suffix.len() < NAME_MAX {
            sibling.push(own);
        } else {
            sibling.push(hex::encode(Sha256::digest(own.as_bytes())));
        }
        sibling.push(suffix);
        target.with_file_name(sibling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage_names_are_siblings_that_fit() {
        let names = Names(TransactionId::parse("0123456789abcdef").unwrap());
        let path = names.staged(Path::new("/srv/app/run.sh"));
        assert_eq!(path, Path::new("/srv/app/.run.sh.0123456789abcdef.new"));
        for length in [200, 233, 234, 255] {
            let long = PathBuf::from("/srv").join("x".repeat(length));
            let old = names.old(&long);
            assert_eq!(old.parent(), long.parent());
            assert!(name(&old).len() <= NAME_MAX, "{length}");
            assert_ne!(names.staged(&long), old);
        }
    }
}
