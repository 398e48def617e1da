use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use ::tar::Header;

use super::UnpackError;
use crate::deployment::BundleType;

/// How a bundle is packed, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A plain tar archive.
    Tar,
    /// gzip; a tar archive is expected inside.
    Gzip,
    /// zstd; a tar archive is expected inside.
    Zstd,
    /// A zip archive.
    Zip,
}

/// What the first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    Known(Format),
    /// An archive, but none that a bundle can be.
    Foreign(&'static str),
    Other(&'static str),
}

const HEADER: usize = 512;
const ANOTHER_TYPE: &str = "deploy it with the type that it has";
const ANOTHER_BUNDLE: &str = "pack it as tar, tgz or zip";

impl Format {
    pub(super) fn detect(file: &mut File) -> io::Result<Detected> {
        let mut start = Vec::with_capacity(HEADER);
        file.rewind()?;
        file.by_ref().take(HEADER as u64).read_to_end(&mut start)?;
        file.rewind()?;
        Ok(detect(&start))
    }
}

fn detect(start: &[u8]) -> Detected {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    const SEVEN_ZIP: &[u8] = &[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c];
    const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
    let text = start.trim_ascii_start();
    if start.is_empty() {
        Detected::Other("empty")
    } else if start.starts_with(GZIP) {
        Detected::Known(Format::Gzip)
    } else if start.starts_with(ZSTD) {
        Detected::Known(Format::Zstd)
    } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        Detected::Known(Format::Zip)
    } else if is_tar(start) {
        Detected::Known(Format::Tar)
    } else if start.starts_with(XZ) {
        Detected::Foreign("an xz archive")
    } else if start.starts_with(b"BZh") {
        Detected::Foreign("a bzip2 archive")
    } else if start.starts_with(SEVEN_ZIP) {
        Detected::Foreign("a 7z archive")
    } else if text.starts_with(b"<") {
        Detected::Other("an XML or HTML document, perhaps a service's error message")
    } else if text.starts_with(b"{") {
        Detected::Other("a JSON document, perhaps a service's error message")
    } else {
        Detected::Other("neither tar, gzip, zstd nor zip")
    }
}

/// The magic is missing in old archives, so the header's checksum counts; and an archive without
/// entries begins with zeros.
fn is_tar(start: &[u8]) -> bool {
    let Ok(block) = <&[u8; HEADER]>::try_from(start) else { return false };
    let header = Header::from_byte_slice(block);
    let sum: u32 =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    block.iter().all(|byte| *byte == 0) || header.cksum().is_ok_and(|expected| expected == sum)
}

impl Detected {
    /// The format, if a bundle of the given type may have it: `tar` finds out compression by itself,
    /// the others mean what they say.
    pub(super) fn accept(self, expected: BundleType) -> Result<Format, UnpackError> {
        match (self, expected) {
            (Self::Known(format @ (Format::Tar | Format::Gzip | Format::Zstd)), BundleType::Tar)
            | (Self::Known(format @ Format::Gzip), BundleType::Tgz)
            | (Self::Known(format @ Format::Zip), BundleType::Zip) => Ok(format),
            (Self::Known(format), _) => {
                Err(UnpackError::WrongType { expected, found: format.shown(), remedy: ANOTHER_TYPE })
            }
            (Self::Foreign(found) | Self::Other(found), _) => {
                Err(UnpackError::WrongType { expected, found, remedy: ANOTHER_BUNDLE })
            }
        }
    }
}

impl Detected {
    /// The type under which it could be deployed; `tar` stands for its compressed forms too.
    pub(super) fn bundle_type(self) -> Result<Option<BundleType>, UnpackError> {
        match self {
            Self::Known(Format::Zip) => Ok(Some(BundleType::Zip)),
            Self::Known(Format::Tar | Format::Gzip | Format::Zstd) => Ok(Some(BundleType::Tar)),
            Self::Foreign(found) => Err(UnpackError::NoBundle { found }),
            Self::Other(_) => Ok(None),
        }
    }
}

impl Format {
    fn shown(self) -> &'static str {
        match self {
            Self::Tar => "a tar archive without compression",
            Self::Gzip => "a gzip file (type tgz or tar)",
            Self::Zstd => "a zstd file (type tar)",
            Self::Zip => "a zip archive",
        }
    }
}

/// Most that deflate can expand, by its format.
const DEFLATE_RATIO: u64 = 1032;

/// A lower bound of what the unpacked bundle takes, in bytes: from gzip's trailer the length modulo
/// 4 GiB, where the bundle can hold that; else the bundle's own length. A zip's sizes are checked when
/// its directory was read.
pub(super) fn expected_size(file: &mut File, format: Format, size: u64) -> io::Result<u64> {
    match format {
        Format::Gzip if size >= 18 => {
            file.seek(SeekFrom::End(-4))?;
            let mut trailer = [0; 4];
            file.read_exact(&mut trailer)?;
            let length = u64::from(u32::from_le_bytes(trailer));
            Ok(if length > size.saturating_mul(DEFLATE_RATIO) { 0 } else { length })
        }
        Format::Tar => Ok(size),
        Format::Gzip | Format::Zstd | Format::Zip => Ok(0),
    }
}
