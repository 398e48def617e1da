//! The digests of a bundle's files, as they come.

use std::path::{Path, PathBuf};

use crate::plan::Sha256;

/// Most bytes of memory for them. Files of a bundle with more are read again when they are installed.
const MAX_MEMORY: usize = 14 << 20;
/// What an entry takes beside its path: the pair, and what the allocator adds.
const EACH: usize = 96;

/// Digests of files; none where something took a file's place.
#[derive(Debug, Default)]
pub(super) struct FileDigests {
    found: Vec<(PathBuf, Option<Sha256>)>,
    memory: usize,
    is_full: bool,
}

impl FileDigests {
    /// Notes the digest of the file that is at `path` from now on; nothing, if there is no file any more.
    pub fn note(&mut self, path: &Path, digest: Option<Sha256>) {
        if self.is_full {
            return;
        }
        self.memory += EACH + path.as_os_str().len();
        if self.memory > MAX_MEMORY {
            // All of them: of a path that is known, the last digest is the one that counts.
            *self = Self { is_full: true, ..Self::default() };
            return;
        }
        self.found.push((path.to_owned(), digest));
    }

    /// Of each path, the last digest alone.
    pub fn into_known(mut self) -> Vec<(PathBuf, Sha256)> {
        if self.found.iter().any(|(_, digest)| digest.is_none()) {
            keep_last(&mut self.found);
        }
        self.found.into_iter().filter_map(|(path, digest)| Some((path, digest?))).collect()
    }
}

fn keep_last(digests: &mut Vec<(PathBuf, Option<Sha256>)>) {
    // A stable sort: those of one path stay in their order.
    digests.sort_by(|(left, _), (right, _)| left.cmp(right));
    digests.reverse();
    digests.dedup_by(|(later, _), (kept, _)| later == kept);
    digests.reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_leave_none_rather_than_wrong_ones() {
        let mut digests = FileDigests::default();
        digests.note(Path::new("a"), Some(Sha256([1; 32])));
        digests.note(Path::new("a"), None);
        digests.note(Path::new("a"), Some(Sha256([2; 32])));
        for number in 0..MAX_MEMORY / EACH {
            digests.note(Path::new(&number.to_string()), Some(Sha256([0; 32])));
        }
        assert!(digests.found.capacity() == 0 && digests.into_known().is_empty());
    }
}
