//! Room on the file systems that deployments need.

use std::path::Path;

use super::Host;
use super::finding::{Finding, Verdict};
use crate::disk::{self, Dir, Space};

/// Bytes below which hardly any bundle can be fetched and unpacked.
const LEAST_BYTES: u64 = 256 << 20;
/// Inodes below which hardly any bundle can be unpacked.
const LEAST_INODES: u64 = 5_000;

pub(super) fn space(host: &Host<'_>) -> Vec<Finding> {
    let settings = match host.context() {
        Ok(context) => &context.settings,
        Err(verdict) => return vec![Finding::new("space", "nothing", verdict)],
    };
    let mut places = vec![("root_dir", settings.root_dir.as_path())];
    if settings.log_dir.is_explicit() {
        places.push(("log_dir", settings.log_dir.as_path()));
    }
    places.into_iter().map(|(setting, path)| of(setting, path)).collect()
}

fn of(setting: &str, path: &Path) -> Finding {
    let check = format!("space in {setting}");
    let tried = format!("examined the file system of {}", path.display());
    let verdict = match nearest(path).and_then(|directory| directory.space()) {
        Ok(space) => judge(space, setting, path),
        Err(error) => Verdict::failed(error.to_string(), format!("mend the path, or set another {setting}")),
    };
    Finding::new(check, tried, verdict)
}

/// The directory, or the deepest one above it that is there already.
fn nearest(path: &Path) -> disk::Result<Dir> {
    match (Dir::open(path), path.parent()) {
        (Err(error), Some(parent)) if error.is_not_found() => nearest(parent),
        (opened, _) => opened,
    }
}

fn judge(space: Space, setting: &str, path: &Path) -> Verdict {
    let Space { bytes, inodes, read_only, .. } = space;
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    let found = match (bytes, inodes) {
        (Some(bytes), Some(inodes)) => format!("{} and {inodes} inodes are free", mebibytes(bytes)),
        (Some(bytes), None) => format!("{} are free; inodes are made as needed", mebibytes(bytes)),
        (None, _) => "the file system has no limit of its own".to_owned(),
    };
    let who =
        format!("`du -x --max-depth=2 {}` shows what takes it; lower max_revisions, or make room", path.display());
    if read_only {
        let remedy =
            format!("mount it read-write, or set another {setting}; after an error of the disk, check it first");
        return Verdict::failed("the file system is mounted read-only", remedy);
    }
    if bytes.is_some_and(|bytes| bytes < LEAST_BYTES) {
        return Verdict::failed(format!("{found}: less than {}", mebibytes(LEAST_BYTES)), who);
    }
    if inodes.is_some_and(|inodes| inodes < LEAST_INODES) {
        let remedy = format!("`du -x --inodes --max-depth=2 {}` shows what takes them; remove files", path.display());
        return Verdict::failed(format!("{found}: fewer than {LEAST_INODES} inodes"), remedy);
    }
    Verdict::Passed(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_of_anything_fails() {
        let plenty = Space { block: 4096, bytes: Some(1 << 40), inodes: Some(1 << 20), read_only: false };
        let failed = |space| matches!(judge(space, "root_dir", Path::new("/r")), Verdict::Failed { .. });
        assert!(!failed(plenty));
        assert!(!failed(Space { bytes: None, inodes: None, ..plenty }));
        assert!(failed(Space { bytes: Some(LEAST_BYTES - 1), ..plenty }));
        assert!(failed(Space { inodes: Some(LEAST_INODES - 1), ..plenty }));
        assert!(failed(Space { read_only: true, ..plenty }));
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_on_the_file_system_of_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&dir.path().join("a/b/c")).unwrap().path(), dir.path());
    }
}
