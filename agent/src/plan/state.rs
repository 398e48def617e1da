//! What a path is, or should be.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::path_text;

/// Everything about a path that an install sets and compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum PathState {
    /// Nothing is there.
    Absent,
    /// A regular file.
    File {
        /// Owner and mode.
        attrs: Attrs,
        /// Modification time.
        modified: Time,
        /// Length in bytes.
        size: u64,
        /// Digest of the content, where it was computed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<Sha256>,
    },
    /// A directory.
    Directory {
        /// Owner and mode.
        attrs: Attrs,
    },
    /// A symbolic link. Links have no mode.
    Symlink {
        /// Owning user.
        uid: u32,
        /// Owning group.
        gid: u32,
        /// Where it points, as it was written.
        #[serde(with = "path_text")]
        target: PathBuf,
    },
    /// A device, socket or pipe; never made, only found.
    Other,
}

/// Owner and permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
}

/// A moment as file systems keep it: seconds and nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time(pub i64, pub u32);

/// SHA-256 of a content; 64 hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(pub [u8; 32]);

/// Tells one inode of a file system from another, over renames and over boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Inode number.
    pub inode: u64,
    /// When the inode was made, where the file system keeps it: numbers are given out again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth: Option<Time>,
}

impl Attrs {
    /// Attributes of which each one is chosen among the same one of several.
    pub(super) fn each<const N: usize>(of: [Self; N], choose: impl Fn([u32; N]) -> u32) -> Self {
        Self {
            uid: choose(of.map(|attrs| attrs.uid)),
            gid: choose(of.map(|attrs| attrs.gid)),
            mode: choose(of.map(|attrs| attrs.mode)),
        }
    }
}

impl PathState {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }

    /// Whether nothing is there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The kind in one word, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::File { .. } => "file",
            Self::Directory { .. } => "directory",
            Self::Symlink { .. } => "symlink",
            Self::Other => "device, socket or pipe",
        }
    }

    /// Whether `found` needs no change to be as this one, modification times aside: builds touch
    /// every file.
    pub fn is_met_by(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::Absent, Self::Absent) => true,
            (
                Self::File { attrs, size, sha256, .. },
                Self::File { attrs: found_attrs, size: found_size, sha256: found_sha256, .. },
            ) => attrs == found_attrs && size == found_size && sha256.is_some() && sha256 == found_sha256,
            (Self::Directory { attrs }, Self::Directory { attrs: found }) => attrs == found,
            (Self::Symlink { .. }, Self::Symlink { .. }) => self == found,
            _ => false,
        }
    }
}

impl Identity {
    /// Whether both are the same inode as far as can be told.
    pub fn is_same(&self, other: &Self) -> bool {
        let births_differ = matches!((self.birth, other.birth), (Some(one), Some(two)) if one != two);
        self.inode == other.inode && !births_differ
    }
}

impl fmt::Display for Attrs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04o} {}:{}", self.mode, self.uid, self.gid)
    }
}

impl fmt::Display for PathState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent | Self::Other => out.write_str(self.kind()),
            Self::File { attrs, size, .. } => write!(out, "file {attrs}, {size} bytes"),
            Self::Directory { attrs } => write!(out, "directory {attrs}"),
            Self::Symlink { uid, gid, target } => write!(out, "symlink {uid}:{gid} to {}", target.display()),
        }
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        hex::encode(digest.0)
    }
}

impl TryFrom<String> for Sha256 {
    type Error = hex::FromHexError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)?;
        Ok(Self(digest))
    }
}
