use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Error, Result};

/// Something through which others than root and the agent's user can change a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The file, or a directory above it.
    pub path: PathBuf,
    /// How.
    pub by: ExposedBy,
}

/// How others can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExposedBy {
    /// It belongs to another user.
    Owner(u32),
    /// Its mode lets others write.
    Mode(u32),
}

impl Exposure {
    /// The command that mends it.
    pub fn remedy(&self) -> String {
        match self.by {
            ExposedBy::Owner(_) => format!("chown root {}", self.path.display()),
            ExposedBy::Mode(_) => format!("chmod go-w {}", self.path.display()),
        }
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.by {
            ExposedBy::Owner(uid) => write!(out, "{path} belongs to user {uid}"),
            ExposedBy::Mode(mode) => write!(out, "{path} has mode {mode:04o}, so that others can write it"),
        }
    }
}

/// The first thing through which others can change a file: the file itself, or a directory on the way to it. Nothing where
/// there is none, or no file.
pub fn exposure(path: &Path) -> Result<Option<Exposure>> {
    let fail = |source| Error::new("examine", path, source);
    let real = match std::fs::canonicalize(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        real => real.map_err(fail)?,
    };
    // Where a symlink is on the way, its own directory counts as much as what it leads to.
    for path in real.ancestors().chain(path.ancestors().skip(1)) {
        let Ok(metadata) = std::fs::symlink_metadata(path) else { continue };
        if let Some(by) = exposed(&metadata) {
            return Ok(Some(Exposure { path: path.to_owned(), by }));
        }
    }
    Ok(None)
}

fn exposed(metadata: &std::fs::Metadata) -> Option<ExposedBy> {
    let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Some(ExposedBy::Owner(uid));
    }
    // In a directory with the sticky bit others cannot replace what is not theirs; root's group is root.
    let is_kept = metadata.is_symlink() || (metadata.is_dir() && mode & 0o1000 != 0);
    let by_group = mode & 0o020 != 0 && metadata.gid() != 0;
    (!is_kept && (by_group || mode & 0o002 != 0)).then_some(ExposedBy::Mode(mode))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_file_is_exposed_by_itself_and_by_each_directory_above_it() {
        let temp = tempfile::tempdir().unwrap();
        let (directory, file) = (temp.path().join("conf"), temp.path().join("conf/key"));
        std::fs::create_dir(&directory).unwrap();
        assert_eq!(exposure(&file).unwrap(), None, "there is no file");
        std::fs::write(&file, "x").unwrap();
        let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        for (directory_mode, file_mode, found) in [
            (0o755, 0o600, None),
            (0o755, 0o644, None),
            (0o755, 0o666, Some((&file, 0o666))),
            (0o777, 0o600, Some((&directory, 0o777))),
            (0o1777, 0o600, None),
            (0o755, 0o602, Some((&file, 0o602))),
        ] {
            set(&directory, directory_mode);
            set(&file, file_mode);
            let expected = found.map(|(path, mode)| Exposure { path: path.clone(), by: ExposedBy::Mode(mode) });
            assert_eq!(exposure(&file).unwrap(), expected, "{directory_mode:o} {file_mode:o}");
        }
        set(&file, 0o600);
        // A link to it in a directory that others can write to.
        let open = temp.path().join("open");
        std::fs::create_dir(&open).unwrap();
        set(&open, 0o777);
        std::os::unix::fs::symlink(&file, open.join("link")).unwrap();
        let found = exposure(&open.join("link")).unwrap().unwrap();
        assert_eq!((found.path.clone(), found.remedy()), (open.clone(), format!("chmod go-w {}", open.display())));
        if rustix::process::geteuid().is_root() {
            set(&file, 0o660);
            assert_eq!(exposure(&file).unwrap(), None, "root's group");
            chown(&file, None, Some(1234)).unwrap();
            assert!(exposure(&file).unwrap().is_some());
            set(&file, 0o600);
            chown(&file, Some(1234), None).unwrap();
            let found = exposure(&file).unwrap().unwrap();
            assert_eq!(found.to_string(), format!("{} belongs to user 1234", file.display()));
        }
    }
}
