//! Digests that grow with what they are fed.

use aws_lc_rs::digest;
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

    /// Of the digest, in bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha1 => 20,
            Self::Md5 => 16,
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
        }
    }
}

/// What a digest is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The content.
    Whole,
    /// The digests of its parts, one after the other: their lengths in bytes, in order.
    Parts(Vec<u64>),
}

/// A digest that is to be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub algorithm: Algorithm,
    pub over: Over,
}

impl Wanted {
    pub fn whole(algorithm: Algorithm) -> Self {
        Self { algorithm, over: Over::Whole }
    }
}

/// A digest on its way.
pub(super) enum Running {
    Whole(State),
    Parts(Box<OverParts>),
}

impl Running {
    pub fn new(wanted: &Wanted) -> Self {
        let algorithm = wanted.algorithm;
        match &wanted.over {
            Over::Whole => Self::Whole(State::new(algorithm)),
            Over::Parts(lengths) => Self::Parts(Box::new(OverParts::new(algorithm, lengths.clone()))),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Whole(state) => state.update(bytes),
            Self::Parts(parts) => parts.update(bytes),
        }
    }

    /// Big-endian, as S3 writes them.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Whole(state) => state.finish(),
            Self::Parts(parts) => parts.finish(),
        }
    }
}

/// The digest of the digests of parts.
pub(super) struct OverParts {
    algorithm: Algorithm,
    /// Of the parts after the current one.
    lengths: std::vec::IntoIter<u64>,
    current: State,
    left: u64,
    joined: State,
}

impl OverParts {
    fn new(algorithm: Algorithm, lengths: Vec<u64>) -> Self {
        let mut lengths = lengths.into_iter();
        let left = lengths.next().unwrap_or(0);
        Self { algorithm, lengths, current: State::new(algorithm), left, joined: State::new(algorithm) }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.close();
                // More than all parts together belongs to the last one: the digest will tell.
                self.left = self.lengths.next().unwrap_or(u64::MAX);
                continue;
            }
            let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (now, later) = bytes.split_at(count);
            self.current.update(now);
            self.left -= count as u64;
            bytes = later;
        }
    }

    fn close(&mut self) {
        let part = std::mem::replace(&mut self.current, State::new(self.algorithm));
        self.joined.update(&part.finish());
    }

    fn finish(mut self) -> Vec<u8> {
        self.close();
        // Parts without a byte, as some end their uploads with.
        for _ in std::mem::take(&mut self.lengths) {
            self.close();
        }
        self.joined.finish()
    }
}

/// The state of one algorithm.
pub(super) enum State {
    Lc(digest::Context),
    Md5(md5::Md5),
    Crc(Algorithm, Box<crc_fast::Digest>),
    Crc32c(u32),
}

impl State {
    fn new(algorithm: Algorithm) -> Self {
        let crc = |kind| Self::Crc(algorithm, Box::new(crc_fast::Digest::new(kind)));
        match algorithm {
            Algorithm::Sha256 => Self::Lc(digest::Context::new(&digest::SHA256)),
            Algorithm::Sha1 => Self::Lc(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Crc32 => crc(crc_fast::CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc64Nvme => crc(crc_fast::CrcAlgorithm::Crc64Nvme),
            Algorithm::Crc32c => Self::Crc32c(0),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Lc(context) => context.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
            Self::Crc(_, digest) => digest.update(bytes),
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Lc(context) => context.finish().as_ref().to_vec(),
            Self::Md5(digest) => digest.finalize().to_vec(),
            Self::Crc(algorithm, digest) => {
                // Eight bytes, whatever the algorithm.
                let padded = digest.finalize().to_be_bytes();
                padded.get(padded.len() - algorithm.length()..).unwrap_or_default().to_vec()
            }
            Self::Crc32c(crc) => crc.to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 6] =
        [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5, Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme];

    fn of(algorithm: Algorithm, over: Over, pieces: &[&[u8]]) -> String {
        let mut running = Running::new(&Wanted { algorithm, over });
        pieces.iter().for_each(|piece| running.update(piece));
        hex::encode(running.finish())
    }

    /// Check values of the catalogue of CRCs, and `sha256sum` and the like, for "123456789".
    #[test]
    fn digests_are_those_that_others_compute() {
        let expected = [
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
            "25f9e794323b453885f5181f1b624d0b",
            "cbf43926",
            "e3069283",
            "ae8b14860a799888",
        ];
        for (algorithm, expected) in ALL.into_iter().zip(expected) {
            assert_eq!(of(algorithm, Over::Whole, &[b"123456789"]), expected);
            assert_eq!(of(algorithm, Over::Whole, &[b"1", b"2345", b"", b"6789"]), expected);
            assert_eq!(expected.len(), 2 * algorithm.length());
        }
    }

    #[test]
    fn digests_over_parts_are_of_the_digests_of_the_parts() {
        for algorithm in ALL {
            let part = |bytes: &[u8]| hex::decode(of(algorithm, Over::Whole, &[bytes])).unwrap();
            let joined = [part(b"1234"), part(b"5678"), part(b"9")].concat();
            let expected = of(algorithm, Over::Whole, &[&joined]);
            for pieces in [&[&b"123456789"[..]][..], &[b"1", b"2345", b"6789"], &[b"1234", b"5678", b"9"]] {
                assert_eq!(of(algorithm, Over::Parts(vec![4, 4, 1]), pieces), expected, "{algorithm:?}");
            }
            assert_ne!(of(algorithm, Over::Parts(vec![4, 5]), &[b"123456789"]), expected);
            assert_ne!(of(algorithm, Over::Parts(vec![4, 4, 1]), &[b"1234567890"]), expected);
        }
    }
}
