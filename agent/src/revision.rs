//! An unpacked revision: an immutable tree on disk.

use std::path::{Path, PathBuf};

use crate::appspec::location::Meant;
use crate::appspec::{self, AppSpecNotFound};
use crate::deployment::RelativePath;
use crate::disk::{self, Dir, Kind};

/// Longest AppSpec that is read, in bytes: one more than its reader takes, which then says so.
const MAX_APPSPEC: u64 = (1 << 20) + 1;

/// An unpacked revision. Nothing writes to it after it was renamed into place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    root: PathBuf,
}

impl Revision {
    /// The revision whose files are in `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory that holds its files.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The record of the key that signed its bundle: beside the directory.
    pub fn bundle_key(&self) -> PathBuf {
        self.beside(".key")
    }

    /// The list of its files' digests, where it was unpacked from a bundle: beside the directory.
    pub fn digests(&self) -> PathBuf {
        self.beside(".digests")
    }

    /// The list of owners and modes that the archive has and its files here do not: beside the directory.
    pub fn attributes(&self) -> PathBuf {
        self.beside(".attributes")
    }

    /// By what it is known that nothing of it was changed since it was unpacked: beside the directory, where it may
    /// be used again.
    pub fn seal(&self) -> PathBuf {
        self.beside(".seal")
    }

    /// What the author of a `location` meant at which there is no script, if it is a file of this revision.
    pub fn meant_by(&self, location: &str) -> Option<Meant> {
        let root = Dir::open(&self.root).ok()?;
        Meant::guess(location, |path| root.stat(path.as_path()).is_ok_and(|stat| stat.kind == Kind::File))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.root.file_name().unwrap_or_default());
        name.push(ending);
        self.root.with_file_name(name)
    }
}

/// Why there is no AppSpec to read.
#[derive(Debug, thiserror::Error)]
pub enum NoAppSpec {
    /// None has a name that is looked for.
    #[error(transparent)]
    NotFound(#[from] AppSpecNotFound),
    /// The file of that name is a symlink.
    #[error(
        "the AppSpec {} is a symlink to {}, and the agent does not follow it: what it leads to need not be of the bundle. \
         Pack the file itself under that name",
        name.display(), target.display()
    )]
    Link {
        /// Its path in the revision.
        name: PathBuf,
        /// What it leads to, as it was written.
        target: PathBuf,
    },
    /// It could not be read.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// Finds and reads the AppSpec in a revision's root. Answers its path there, and its text.
pub fn read_appspec(root: &Dir, wanted: &RelativePath) -> Result<(PathBuf, Vec<u8>), NoAppSpec> {
    let names: Vec<String> =
        root.entries()?.into_iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
    let is_file = |path: &Path| root.stat(path).is_ok_and(|stat| stat.kind == Kind::File);
    let name = appspec::locate(wanted, &names, is_file).map_err(|error| link(root, wanted).unwrap_or(error.into()))?;
    let text = disk::read_bounded_at(root, &name, MAX_APPSPEC)?;
    Ok((name, text))
}

/// The symlink that is in the place of an AppSpec.
fn link(root: &Dir, wanted: &RelativePath) -> Option<NoAppSpec> {
    let mut names = std::iter::once(wanted.as_path()).chain(["appspec.yaml", "appspec.yml"].map(Path::new));
    let is_link = |name: &&Path| root.stat(name).is_ok_and(|stat| stat.kind == Kind::Symlink);
    let name = names.find(is_link)?.to_owned();
    let target = root.read_link(&name).ok()?;
    Some(NoAppSpec::Link { name, target })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at the file system from outside")]
mod tests {
    use super::*;

    #[test]
    fn an_appspec_that_is_a_link_out_of_the_bundle_is_told_as_one_and_never_read() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("secret"), "version: 0.0").unwrap();
        let at = temp.path().join("revision");
        std::fs::create_dir(&at).unwrap();
        let wanted = RelativePath::parse("appspec.yml").unwrap();
        for target in ["../secret", "/etc/passwd", "nowhere"] {
            let _ = std::fs::remove_file(at.join("appspec.yml"));
            std::os::unix::fs::symlink(target, at.join("appspec.yml")).unwrap();
            let error = read_appspec(&Dir::open(&at).unwrap(), &wanted).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, NoAppSpec::Link { .. }), "{text}");
            for part in ["appspec.yml is a symlink to", target, "Pack the file itself"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }
}
