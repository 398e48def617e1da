//! The checksums of S3: which a client named, and their computation beside MD5 and SHA-256,
//! which every content gets.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme};
use s3s::dto::ChecksumAlgorithm;
use s3s::{S3Result, TrailingHeaders, s3_error};

/// An algorithm of `x-amz-checksum-…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// A checksum with its algorithm, base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    pub algorithm: Algorithm,
    pub value: String,
}

/// What a client says its content must come out as.
#[derive(Default)]
pub struct Claims {
    /// `Content-MD5`, base64.
    pub md5: Option<String>,
    pub checksum: Option<ChecksumClaim>,
}

/// A checksum that a client named, or will name behind the content.
pub enum ChecksumClaim {
    /// Only the algorithm: the client wants it computed and kept.
    Compute(Algorithm),
    /// In a header.
    Given(Checksum),
    /// In a trailer, known once the content was read.
    Trailer(Algorithm, TrailingHeaders),
}

/// All that was computed over one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    pub md5: [u8; 16],
    /// Hexadecimal.
    pub sha256: String,
    /// The one that was asked for.
    pub checksum: Option<Checksum>,
}

/// Computes [`Digests`] as the content passes.
pub struct Hashing {
    md5: Md5,
    sha256: digest::Context,
    extra: Option<(Algorithm, Extra)>,
}

enum Extra {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(digest::Context),
    /// Computed anyhow.
    Sha256,
}

impl Hashing {
    pub fn new(algorithm: Option<Algorithm>) -> Self {
        let extra = algorithm.map(|algorithm| {
            let extra = match algorithm {
                Algorithm::Crc32 => Extra::Crc32(Crc32::new()),
                Algorithm::Crc32c => Extra::Crc32c(Crc32c::new()),
                Algorithm::Crc64Nvme => Extra::Crc64Nvme(Crc64Nvme::new()),
                Algorithm::Sha1 => Extra::Sha1(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY)),
                Algorithm::Sha256 => Extra::Sha256,
            };
            (algorithm, extra)
        });
        Self { md5: Md5::new(), sha256: digest::Context::new(&digest::SHA256), extra }
    }

    pub fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        self.sha256.update(data);
        match &mut self.extra {
            Some((_, Extra::Crc32(crc))) => crc.update(data),
            Some((_, Extra::Crc32c(crc))) => crc.update(data),
            Some((_, Extra::Crc64Nvme(crc))) => crc.update(data),
            Some((_, Extra::Sha1(sha1))) => sha1.update(data),
            Some((_, Extra::Sha256)) | None => {}
        }
    }

    pub fn finish(self) -> Digests {
        let sha256 = self.sha256.finish();
        let checksum = self.extra.map(|(algorithm, extra)| {
            let value = match extra {
                Extra::Crc32(crc) => STANDARD.encode(crc.finalize()),
                Extra::Crc32c(crc) => STANDARD.encode(crc.finalize()),
                Extra::Crc64Nvme(crc) => STANDARD.encode(crc.finalize()),
                Extra::Sha1(sha1) => STANDARD.encode(sha1.finish()),
                Extra::Sha256 => STANDARD.encode(sha256),
            };
            Checksum { algorithm, value }
        });
        Digests { md5: self.md5.finalize().into(), sha256: hex::encode(sha256), checksum }
    }
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The name in `x-amz-sdk-checksum-algorithm` and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => ChecksumAlgorithm::CRC32,
            Self::Crc32c => ChecksumAlgorithm::CRC32C,
            Self::Crc64Nvme => ChecksumAlgorithm::CRC64NVME,
            Self::Sha1 => ChecksumAlgorithm::SHA1,
            Self::Sha256 => ChecksumAlgorithm::SHA256,
        }
    }

    /// By its name, or an error that says which there are.
    pub fn parse(name: &str) -> S3Result<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            s3_error!(
                InvalidRequest,
                "the checksum algorithm {name:?} is not known here; use CRC32, CRC32C, CRC64NVME, SHA1 or SHA256"
            )
        })
    }

    /// The header, and the trailer, that carries it.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The checksum of an upload in parts: that of the parts' checksums, and their number.
    pub fn composite(self, parts: &[Checksum]) -> Option<String> {
        let mut hashing = Hashing::new(Some(self));
        for part in parts {
            hashing.update(&STANDARD.decode(&part.value).ok()?);
        }
        Some(format!("{}-{}", hashing.finish().checksum?.value, parts.len()))
    }
}

impl Checksum {
    /// The one that the members of a request give, or `None`; more than one is an error.
    pub fn among(members: [(Algorithm, Option<&String>); 5]) -> S3Result<Option<Self>> {
        let mut given = members.into_iter().filter_map(|(algorithm, value)| Some((algorithm, value?)));
        let first = given.next().map(|(algorithm, value)| Self { algorithm, value: value.clone() });
        if given.next().is_some() {
            return Err(s3_error!(InvalidRequest, "the request names more than one checksum; send one"));
        }
        Ok(first)
    }
}

impl Claims {
    /// Which algorithm to compute while the content passes.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.as_ref().map(|claim| match claim {
            ChecksumClaim::Compute(algorithm) | ChecksumClaim::Trailer(algorithm, _) => *algorithm,
            ChecksumClaim::Given(checksum) => checksum.algorithm,
        })
    }

    /// Compares what arrived, once it was read to its end.
    pub fn verify(&self, computed: &Digests) -> S3Result<()> {
        if let Some(claimed) = &self.md5 {
            let decoded = STANDARD.decode(claimed).ok().filter(|digest| digest.len() == 16);
            let decoded =
                decoded.ok_or_else(|| s3_error!(InvalidDigest, "Content-MD5 is not the base64 of 16 bytes"))?;
            if decoded != computed.md5 {
                return Err(mismatch("Content-MD5", claimed, &STANDARD.encode(computed.md5)));
            }
        }
        let claimed = match &self.checksum {
            None | Some(ChecksumClaim::Compute(_)) => return Ok(()),
            Some(ChecksumClaim::Given(checksum)) => checksum.clone(),
            Some(ChecksumClaim::Trailer(algorithm, trailers)) => {
                let value = trailers
                    .read(|headers| headers.get(algorithm.header())?.to_str().ok().map(str::to_owned))
                    .flatten()
                    .ok_or_else(|| {
                        s3_error!(InvalidRequest, "the trailer {} was announced and did not come", algorithm.header())
                    })?;
                Checksum { algorithm: *algorithm, value }
            }
        };
        match &computed.checksum {
            Some(computed) if *computed == claimed => Ok(()),
            Some(computed) => Err(mismatch(claimed.algorithm.header(), &claimed.value, &computed.value)),
            None => Err(s3_error!(InternalError, "the checksum was not computed")),
        }
    }
}

fn mismatch(name: &str, claimed: &str, computed: &str) -> s3s::S3Error {
    s3_error!(BadDigest, "{name} says {claimed}, but the content that arrived has {computed}; nothing was stored")
}

/// The five checksum members of a request or answer, for [`Checksum::among`].
macro_rules! checksum_members {
    ($of:expr) => {
        [
            ($crate::s3::checksum::Algorithm::Crc32, $of.checksum_crc32.as_ref()),
            ($crate::s3::checksum::Algorithm::Crc32c, $of.checksum_crc32c.as_ref()),
            ($crate::s3::checksum::Algorithm::Crc64Nvme, $of.checksum_crc64nvme.as_ref()),
            ($crate::s3::checksum::Algorithm::Sha1, $of.checksum_sha1.as_ref()),
            ($crate::s3::checksum::Algorithm::Sha256, $of.checksum_sha256.as_ref()),
        ]
    };
}
pub(super) use checksum_members;

/// Puts a checksum into the member of an answer that is for it.
macro_rules! set_checksum {
    ($answer:expr, $checksum:expr) => {{
        let checksum: &$crate::s3::checksum::Checksum = $checksum;
        let value = Some(checksum.value.clone());
        match checksum.algorithm {
            $crate::s3::checksum::Algorithm::Crc32 => $answer.checksum_crc32 = value,
            $crate::s3::checksum::Algorithm::Crc32c => $answer.checksum_crc32c = value,
            $crate::s3::checksum::Algorithm::Crc64Nvme => $answer.checksum_crc64nvme = value,
            $crate::s3::checksum::Algorithm::Sha1 => $answer.checksum_sha1 = value,
            $crate::s3::checksum::Algorithm::Sha256 => $answer.checksum_sha256 = value,
        }
    }};
}
pub(super) use set_checksum;

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(algorithm: Algorithm) -> Digests {
        let mut hashing = Hashing::new(Some(algorithm));
        hashing.update(b"1234");
        hashing.update(b"56789");
        hashing.finish()
    }

    /// The published check values over "123456789".
    #[test]
    fn algorithms_compute_their_check_values() {
        let value = |algorithm| hex::encode(STANDARD.decode(digests(algorithm).checksum.unwrap().value).unwrap());
        assert_eq!(value(Algorithm::Crc32), "cbf43926");
        assert_eq!(value(Algorithm::Crc32c), "e3069283");
        assert_eq!(value(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(value(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(value(Algorithm::Sha256), digests(Algorithm::Sha256).sha256);
        assert_eq!(
            digests(Algorithm::Crc32).sha256,
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert_eq!(hex::encode(digests(Algorithm::Crc32).md5), "25f9e794323b453885f5181f1b624d0b");
    }

    #[test]
    fn claims_are_held_to() {
        let computed = digests(Algorithm::Crc32);
        let claims = |md5: Option<&str>, value: Option<&str>| Claims {
            md5: md5.map(str::to_owned),
            checksum: value
                .map(|value| ChecksumClaim::Given(Checksum { algorithm: Algorithm::Crc32, value: value.to_owned() })),
        };
        claims(None, None).verify(&computed).unwrap();
        claims(Some("JfnnlDI7RTiF9RgfG2JNCw=="), Some("y/Q5Jg==")).verify(&computed).unwrap();
        let code = |claims: Claims| claims.verify(&computed).unwrap_err().code().as_str().to_owned();
        assert_eq!(code(claims(Some("AAAAAAAAAAAAAAAAAAAAAA=="), None)), "BadDigest");
        assert_eq!(code(claims(Some("AAAA"), None)), "InvalidDigest");
        assert_eq!(code(claims(None, Some("AAAAAA=="))), "BadDigest");
    }
}
