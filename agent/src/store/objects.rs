//! The object that was asked for last, so that somebody who looks for what is wrong can ask for it again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, read, write};
use crate::deployment::BundleType;
use crate::deployment::revision::S3Source;
use crate::layout::Layout;

/// An object in S3 that this host was to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastObject {
    /// Bucket name.
    pub bucket: String,
    /// Object key.
    pub key: String,
    /// The version, where one was named.
    pub version: Option<String>,
    /// When it was asked for.
    pub at: Timestamp,
}

impl Stored for LastObject {
    const WHAT: &'static str = "the name of the object that was fetched last";
    const FORMAT: u32 = 1;
}

impl LastObject {
    /// The object as it is now: what its ETag was then does not matter to whether it can be read.
    pub fn source(self) -> S3Source {
        let Self { bucket, key, version, .. } = self;
        S3Source { bucket, key, version, bundle_type: BundleType::Tar, etag: None, sha256: None }
    }
}

/// Notes that an object is about to be fetched.
pub fn note_object(layout: &Layout, source: &S3Source, at: Timestamp) -> Result<(), StoreError> {
    let S3Source { bucket, key, version, .. } = source.clone();
    write(&layout.last_object(), &LastObject { bucket, key, version, at })
}

/// The object that was asked for last; nothing where none was.
pub fn last_object(layout: &Layout) -> Result<Option<LastObject>, StoreError> {
    read(&layout.last_object())
}
