use std::path::Path;

use super::{Acquired, BundleError, Requirement};
use crate::deployment::BundleType;
use crate::disk::{self, Dir, Kind};

pub(super) fn file(path: &Path, bundle_type: BundleType, requirement: Requirement) -> Result<Acquired, BundleError> {
    check(path, Kind::File, requirement)?;
    Ok(Acquired::InPlace { path: path.to_owned(), bundle_type })
}

pub(super) fn directory(path: &Path, requirement: Requirement) -> Result<Acquired, BundleError> {
    check(path, Kind::Directory, requirement)?;
    Ok(Acquired::Directory(path.to_owned()))
}

/// A person names these paths, so links in them are followed.
fn check(path: &Path, expected: Kind, requirement: Requirement) -> Result<(), BundleError> {
    if requirement == Requirement::Sha256 {
        return Err(BundleError::NoSha256 { what: path.display().to_string() });
    }
    let found = match Dir::open(path) {
        Ok(_) => Kind::Directory,
        Err(error) if error.source.kind() == std::io::ErrorKind::NotADirectory => Kind::File,
        Err(error) => return Err(BundleError::Local(error)),
    };
    match (expected, found) {
        (Kind::Directory, Kind::Directory) | (Kind::File, Kind::File) => Ok(()),
        (Kind::Directory, _) => Err(not("use as a directory", path, std::io::ErrorKind::NotADirectory)),
        (_, _) => Err(not("use as a bundle", path, std::io::ErrorKind::IsADirectory)),
    }
}

fn not(action: &'static str, path: &Path, why: std::io::ErrorKind) -> BundleError {
    BundleError::Local(disk::Error::new(action, path, why))
}
