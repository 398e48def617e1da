//! Length and digests of what streams by.

use std::io::{self, Write};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Digest;

/// A digest that content can be verified by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Sha1,
    Md5,
    Crc32,
    Crc32c,
    Crc64Nvme,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
            Self::Crc32 => "CRC-32",
            Self::Crc32c => "CRC-32C",
            Self::Crc64Nvme => "CRC-64/NVME",
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha1 => 20,
            Self::Md5 => 16,
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
        }
    }
}

/// What the content must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expectation {
    pub algorithm: Algorithm,
    /// Who says so.
    pub origin: &'static str,
    pub expected: Vec<u8>,
    /// As the origin writes it.
    pub notation: Notation,
}

/// How a digest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    Hex,
    Base64,
}

impl Notation {
    fn write(self, digest: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(digest),
            Self::Base64 => STANDARD.encode(digest),
        }
    }
}

impl Expectation {
    /// Reads a digest in either notation; `None` if it is neither, or of another length.
    pub fn parse(algorithm: Algorithm, origin: &'static str, text: &str) -> Option<Self> {
        let hexadecimal = hex::decode(text).ok().map(|bytes| (bytes, Notation::Hex));
        let base64 = || STANDARD.decode(text).ok().map(|bytes| (bytes, Notation::Base64));
        let fits = |(bytes, _): &(Vec<u8>, Notation)| bytes.len() == algorithm.length();
        let (expected, notation) = hexadecimal.filter(fits).or_else(|| base64().filter(fits))?;
        Some(Self { algorithm, origin, expected, notation })
    }
}

/// A difference between what must be and what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub algorithm: &'static str,
    pub origin: &'static str,
    pub expected: String,
    pub computed: String,
}

/// Writes on, and computes on the way: SHA-256 always, and what the expectations need.
pub(super) struct Digesting<W> {
    inner: W,
    written: u64,
    running: Vec<(Algorithm, Running)>,
}

enum Running {
    Lc(digest::Context),
    Md5(md5::Md5),
    Crc(crc_fast::Digest),
    Crc32c(u32),
}

/// What was computed.
pub(super) struct Computed(Vec<(Algorithm, Vec<u8>)>);

impl<W: Write> Digesting<W> {
    pub fn new(inner: W, expectations: &[Expectation]) -> Self {
        let mut running = vec![(Algorithm::Sha256, Running::new(Algorithm::Sha256))];
        for Expectation { algorithm, .. } in expectations {
            if running.iter().all(|(other, _)| other != algorithm) {
                running.push((*algorithm, Running::new(*algorithm)));
            }
        }
        Self { inner, written: 0, running }
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn finish(self) -> Computed {
        Computed(self.running.into_iter().map(|(algorithm, running)| (algorithm, running.finish())).collect())
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(buffer)?;
        self.written += taken as u64;
        for (_, running) in &mut self.running {
            running.update(&buffer[..taken]);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Running {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Lc(digest::Context::new(&digest::SHA256)),
            Algorithm::Sha1 => Self::Lc(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Crc32 => Self::Crc(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc)),
            Algorithm::Crc32c => Self::Crc32c(0),
            Algorithm::Crc64Nvme => Self::Crc(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme)),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Lc(context) => context.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
            Self::Crc(digest) => digest.update(bytes),
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
        }
    }

    /// Big-endian, as S3 writes them; a CRC is padded to eight bytes, which the caller cuts.
    fn finish(self) -> Vec<u8> {
        match self {
            Self::Lc(context) => context.finish().as_ref().to_vec(),
            Self::Md5(digest) => digest.finalize().to_vec(),
            Self::Crc(digest) => digest.finalize().to_be_bytes().to_vec(),
            Self::Crc32c(crc) => crc.to_be_bytes().to_vec(),
        }
    }
}

impl Computed {
    fn of(&self, algorithm: Algorithm) -> &[u8] {
        let found = self.0.iter().find(|(other, _)| *other == algorithm).map_or(&[][..], |(_, digest)| digest);
        &found[found.len().saturating_sub(algorithm.length())..]
    }

    pub fn sha256(&self) -> String {
        hex::encode(self.of(Algorithm::Sha256))
    }

    /// The first expectation that is not met.
    pub fn compare(&self, expectations: &[Expectation]) -> Result<(), Difference> {
        for Expectation { algorithm, origin, expected, notation } in expectations {
            let computed = self.of(*algorithm);
            if computed != expected {
                return Err(Difference {
                    algorithm: algorithm.name(),
                    origin,
                    expected: notation.write(expected),
                    computed: notation.write(computed),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of the catalogue of CRCs, and `sha256sum` and the like, for "123456789".
    #[test]
    fn digests_are_those_that_others_compute() {
        let all = [
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
        ];
        let expectations: Vec<_> =
            all.into_iter().map(|(algorithm, text)| Expectation::parse(algorithm, "test", text).unwrap()).collect();
        let mut whole = Digesting::new(Vec::new(), &expectations);
        whole.write_all(b"123456789").unwrap();
        assert_eq!(whole.written(), 9);
        whole.finish().compare(&expectations).unwrap();
        let mut parts = Digesting::new(Vec::new(), &expectations);
        for byte in b"123456789" {
            parts.write_all(&[*byte]).unwrap();
        }
        parts.finish().compare(&expectations).unwrap();
        for one in &expectations {
            let mut other = Digesting::new(Vec::new(), &expectations);
            other.write_all(b"123456780").unwrap();
            let difference = other.finish().compare(std::slice::from_ref(one)).unwrap_err();
            assert_eq!(difference.expected, hex::encode(&one.expected));
            assert_ne!(difference.computed, difference.expected);
        }
    }

    #[test]
    fn digests_are_read_in_both_notations() {
        let hex = Expectation::parse(Algorithm::Crc32, "x", "cbf43926").unwrap();
        let base64 = Expectation::parse(Algorithm::Crc32, "x", "y/Q5Jg==").unwrap();
        assert_eq!(hex.expected, base64.expected);
        assert_eq!((hex.notation, base64.notation), (Notation::Hex, Notation::Base64));
        for bad in ["", "cbf439", "y/Q5Jg==-2", "not a digest"] {
            assert_eq!(Expectation::parse(Algorithm::Crc32, "x", bad), None, "{bad}");
        }
    }
}
