//! The key that signed the bundle of a revision on this host.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, write};
use crate::disk;

#[derive(Serialize, Deserialize)]
struct BundleKey {
    /// As minisign writes it.
    key: String,
}

impl Stored for BundleKey {
    const WHAT: &'static str = "the record of the key that signed a bundle";
    const FORMAT: u32 = 1;
}

/// Reads which key signed the bundle of a revision, at the path that the revision names; none where the host trusted no keys.
pub fn read_bundle_key(path: &Path) -> Result<Option<String>, StoreError> {
    Ok(read::<BundleKey>(path)?.map(|stored| stored.key))
}

/// Notes the key that signed the bundle of a revision, or that the host trusted no keys.
pub fn write_bundle_key(path: &Path, key: Option<String>) -> Result<(), StoreError> {
    match key {
        Some(key) => write(path, &BundleKey { key }),
        None => Ok(disk::remove_if_exists(path)?),
    }
}
