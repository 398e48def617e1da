use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::UnpackError;
use super::tar::is_header;
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
    /// An archive, but none that a bundle can be: what it is, and what to do.
    Foreign(&'static str, &'static str),
    Other(&'static str),
}

const HEADER: usize = 512;
const ANOTHER_TYPE: &str = "deploy it with the type that it has";
const ANOTHER_BUNDLE: &str = "pack it as tar, tgz or zip";
const RECOMPRESS: &str =
    "this compression is not supported: decompress it, and pack it with gzip (tar -czf, type tgz) or zstd (type tar)";

/// Archives and compressions by their first bytes that no bundle can have.
const FOREIGN: [(&[u8], &str, &str); 10] = [
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "compressed by xz", RECOMPRESS),
    (b"BZh", "compressed by bzip2", RECOMPRESS),
    (&[0x1f, 0x9d], "compressed by compress", RECOMPRESS),
    (b"LZIP", "compressed by lzip", RECOMPRESS),
    (&[0x04, 0x22, 0x4d, 0x18], "compressed by lz4", RECOMPRESS),
    (&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], "a 7z archive", ANOTHER_BUNDLE),
    (b"Rar!", "a RAR archive", ANOTHER_BUNDLE),
    (&[0xed, 0xab, 0xee, 0xdb], "an RPM package", ANOTHER_BUNDLE),
    (b"!<arch>\n", "a Debian package or static library", ANOTHER_BUNDLE),
    (b"07070", "a cpio archive", ANOTHER_BUNDLE),
];

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
    } else if let Some((_, found, remedy)) = FOREIGN.iter().find(|(magic, ..)| start.starts_with(magic)) {
        Detected::Foreign(found, remedy)
    } else if is_html(text) {
        Detected::Other("an HTML page, as a captive portal or a login page answers in place of a file")
    } else if text.starts_with(b"<") {
        Detected::Other("an XML document, perhaps a service's error message")
    } else if text.starts_with(b"{") {
        Detected::Other("a JSON document, perhaps a service's error message")
    } else {
        Detected::Other("neither tar, gzip, zstd nor zip")
    }
}

fn is_html(text: &[u8]) -> bool {
    ["<!doctype html", "<html"]
        .iter()
        .any(|begin| text.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin.as_bytes())))
}

/// An archive without entries begins with zeros.
fn is_tar(start: &[u8]) -> bool {
    let Ok(block) = <&[u8; HEADER]>::try_from(start) else { return false };
    block.iter().all(|byte| *byte == 0) || is_header(block)
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
            (Self::Foreign(found, remedy), _) => Err(UnpackError::WrongType { expected, found, remedy }),
            (Self::Other(found), _) => Err(UnpackError::WrongType { expected, found, remedy: ANOTHER_BUNDLE }),
        }
    }
}

impl Detected {
    /// The type under which it could be deployed; `tar` stands for its compressed forms too.
    pub(super) fn bundle_type(self) -> Result<Option<BundleType>, UnpackError> {
        match self {
            Self::Known(Format::Zip) => Ok(Some(BundleType::Zip)),
            Self::Known(Format::Tar | Format::Gzip | Format::Zstd) => Ok(Some(BundleType::Tar)),
            Self::Foreign(found, remedy) => Err(UnpackError::NoBundle { found, remedy }),
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
