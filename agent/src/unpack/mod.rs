//! Unpacking: a bundle, or a directory of this host, becomes a staged tree and then, by one rename,
//! a revision.
//!
//! Nothing is ever written outside the staged tree: entries are placed by descriptor, one name at a
//! time, and no link is followed. Memory is bounded whatever the bundle says.

mod ahead;
mod attributes;
mod digests;
mod directory;
mod entry;
mod error;
mod format;
mod place;
mod stop;
mod tar;
mod tree;
mod warning;
mod zip;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::deployment::BundleType;
use crate::disk::{self, Dir};
use crate::plan::Sha256;
use crate::process::StopSignal;
use crate::store::{AttributeList, Attributes};

pub use entry::{EntryPath, PathProblem};
pub use error::UnpackError;
pub use format::Format;
pub use place::{Content, Place, Staged, into_revision, into_scratch, revision_root};
pub use warning::{Named, UnpackWarning};

use tree::Tree;

/// How much a bundle may hold, and what of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Caps against bombs.
    pub limits: Limits,
    /// What happens to symlinks.
    pub symlinks: Symlinks,
    /// What happens to `..` in the path of a zip's entry.
    pub parents: Parents,
    /// What happens to modes that give more than ordinary rights.
    pub modes: Modes,
    /// Whose the files become.
    pub ownership: Ownership,
}

/// Caps against archive bombs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries, directories and headers that describe others included. An install keeps some 250 bytes of each in
    /// memory.
    pub entries: u64,
    /// Deepest nesting of directories.
    pub depth: usize,
    /// Most bytes of all files together.
    pub bytes: u64,
}

impl Default for Limits {
    /// 125,000 entries, 100 levels, 64 GiB.
    fn default() -> Self {
        Self { entries: 125_000, depth: 100, bytes: 64 << 30 }
    }
}

/// What happens to symlinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// They are kept as they are, wherever they point; nothing follows them.
    Kept,
    /// A bundle with one is refused: `reject_symlinks_in_bundle`.
    Refused,
}

/// What happens to `..` in the path of a zip's entry. A tar with one is refused always, as GNU tar does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    /// It is dropped, with a warning, as unzip does: nothing leaves the revision.
    Dropped,
    /// A bundle with one is refused: `reject_path_traversal_in_bundle`.
    Refused,
}

/// What happens to set-id bits and modes that let everyone write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// They are kept; set-id bits only together with the owner that they are for.
    Kept,
    /// A bundle with one is refused: `reject_unsafe_permissions_in_bundle`.
    UnsafeRefused,
}

/// Whose the unpacked files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The archive's, where it has them and this process may give files away: by the names that this host knows, else
    /// by number. A zip has none.
    Preserved,
    /// This process's.
    Own,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            symlinks: Symlinks::Kept,
            parents: Parents::Dropped,
            modes: Modes::Kept,
            ownership: Ownership::Preserved,
        }
    }
}

/// How a tree is filled.
struct Task<'a> {
    policy: &'a Policy,
    /// Ends it.
    stop: StopSignal,
    /// What the archive says of owners and modes; nobody wants to know it of a tree that is not installed.
    list: Option<&'a mut AttributeList>,
}

/// What was unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnpackReport {
    /// Files, directories and symlinks.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Digests of the files of a bundle, by their paths in it. A directory is copied without being read.
    pub digests: Vec<(PathBuf, Sha256)>,
    /// What people should know of it.
    pub warnings: Vec<UnpackWarning>,
}

/// Unpacks a bundle into an existing empty directory. What was unpacked before an error is left for
/// the caller to remove.
pub fn unpack(
    bundle: &Path,
    bundle_type: BundleType,
    staging: Dir,
    policy: &Policy,
) -> Result<UnpackReport, UnpackError> {
    unpack_as(bundle, bundle_type, staging, Task { policy, stop: StopSignal::default(), list: None })
}

fn unpack_as(
    bundle: &Path,
    bundle_type: BundleType,
    staging: Dir,
    task: Task<'_>,
) -> Result<UnpackReport, UnpackError> {
    let mut file = disk_open(bundle)?;
    let read_failed = |source| UnpackError::Bundle(disk::Error::new("read", bundle, source));
    let found = Format::detect(&mut file).map_err(read_failed)?;
    let format = found.accept(bundle_type)?;
    let size = file.seek(SeekFrom::End(0)).map_err(read_failed)?;
    let expected = format::expected_size(&mut file, format, size).map_err(read_failed)?;
    file.rewind().map_err(read_failed)?;
    require_space(&staging, expected)?;
    let tree = Tree::new(staging, task);
    match format {
        Format::Tar => tar::unpack(file, tree),
        Format::Gzip => tar::unpack_compressed(tar::gunzip(file), tree),
        Format::Zstd => tar::unpack_compressed(tar::unzstd(file)?, tree),
        Format::Zip => zip::unpack(file, tree),
    }
}

/// Copies a directory of this host into an existing empty directory. Its files have the owners and modes that
/// `attributes` gives them, or else their own.
fn copy_directory(
    source: &Path,
    attributes: Option<&Attributes>,
    staging: Dir,
    task: Task<'_>,
) -> Result<UnpackReport, UnpackError> {
    directory::copy(source, attributes, Tree::new(staging, task))
}

/// The type that a file has by its first bytes, if it is a bundle at all. An archive of another kind is
/// an error.
pub fn recognize(file: &Path) -> Result<Option<BundleType>, UnpackError> {
    let mut opened = disk_open(file)?;
    let found =
        Format::detect(&mut opened).map_err(|source| UnpackError::Bundle(disk::Error::new("read", file, source)))?;
    found.bundle_type()
}

fn disk_open(bundle: &Path) -> Result<File, UnpackError> {
    let parent = bundle.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = bundle.file_name().unwrap_or_default();
    Dir::open(parent).and_then(|parent| parent.open_file(name)).map_err(UnpackError::Bundle)
}

fn require_space(staging: &Dir, needed: u64) -> Result<(), UnpackError> {
    let available = disk::available(staging).map_err(UnpackError::Staging)?;
    if needed > available {
        return Err(UnpackError::NoSpace { needed, available, place: staging.path().to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
