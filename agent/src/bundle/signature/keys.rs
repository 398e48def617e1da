use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::PublicKey;

use crate::disk;

/// Longest file of a public key, in bytes: a comment and a line.
const MAX_KEY: u64 = 4 << 10;

/// The public keys of which one must have signed a bundle; without any, bundles need no signature.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(Vec<TrustedKey>);

/// A key and the file that it is from.
#[derive(Clone, Debug)]
pub(super) struct TrustedKey {
    path: PathBuf,
    id: KeyId,
    pub(super) key: PublicKey,
}

/// Names a key of minisign: eight bytes, written as minisign does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(u64);

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("a key of trusted_bundle_keys cannot be used: {0}")]
    Read(#[from] disk::Error),
    /// It holds something else.
    #[error(
        "{} of trusted_bundle_keys is not a public key of minisign: {reason}; put the file there that `minisign -G` \
         wrote as minisign.pub",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl TrustedKeys {
    /// Reads one public key from each file: minisign's `minisign.pub`, or its second line alone.
    pub fn read(paths: &[PathBuf]) -> Result<Self, KeyError> {
        paths.iter().map(|path| TrustedKey::read(path)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether bundles need no signature.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys' ids, as often as there are keys.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|trusted| trusted.id)
    }

    pub(super) fn of(&self, id: KeyId) -> impl Iterator<Item = &TrustedKey> {
        self.0.iter().filter(move |trusted| trusted.id == id)
    }

    /// Ids and files, for messages.
    pub(crate) fn shown(&self) -> String {
        let one = |trusted: &TrustedKey| format!("{} ({})", trusted.id, trusted.path.display());
        self.0.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl TrustedKey {
    fn read(path: &Path) -> Result<Self, KeyError> {
        let malformed = |reason| KeyError::Malformed { path: path.to_owned(), reason };
        let text = disk::read_bounded(path, MAX_KEY)?;
        let text = std::str::from_utf8(&text).map_err(|_| malformed("it is no text"))?;
        let is_key = |line: &&str| !line.is_empty() && !line.starts_with("untrusted comment:");
        let mut lines = text.lines().map(str::trim).filter(is_key);
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(malformed("one line with a key is expected, below a comment"));
        };
        let key = PublicKey::from_base64(line).map_err(|_| malformed("its line is no Ed25519 key"))?;
        let id = KeyId::in_line(line).ok_or_else(|| malformed("its line is no Ed25519 key"))?;
        Ok(Self { path: path.to_owned(), id, key })
    }
}

impl KeyId {
    /// The id in a line of base64, as keys and signatures have it: two bytes of an algorithm come before it.
    pub(super) fn in_line(line: &str) -> Option<Self> {
        let bytes = STANDARD.decode(line.trim_end()).ok()?;
        Some(Self(u64::from_le_bytes(bytes.get(2..10)?.try_into().ok()?)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016X}", self.0)
    }
}
