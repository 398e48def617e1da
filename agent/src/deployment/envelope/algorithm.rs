//! Which digests and signatures are accepted.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use der::asn1::ObjectIdentifier;
use der::oid::db::rfc5912;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

use super::{EnvelopeError, Sha1};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// Fewest bits of an RSA key that is accepted.
pub(super) const LEAST_RSA_BITS: usize = 2048;

/// The length of an RSA key's modulus in bits; nothing of another key.
pub(super) fn rsa_bits(key: &SubjectPublicKeyInfoOwned) -> Option<usize> {
    if key.algorithm.oid != rfc5912::RSA_ENCRYPTION {
        return None;
    }
    let numbers = value(key.subject_public_key.as_bytes()?, 0x30)?;
    let modulus = value(numbers, 0x02)?;
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(leading)?;
    Some((modulus.len() - leading) * 8 - first.leading_zeros() as usize)
}

/// The content of the DER value at the beginning, which has that tag.
fn value(der: &[u8], tag: u8) -> Option<&[u8]> {
    let [found, length, rest @ ..] = der else { return None };
    if *found != tag {
        return None;
    }
    let more = usize::from(length & 0x7f);
    if length & 0x80 == 0 {
        return rest.get(..more);
    }
    let (length, rest) = rest.split_at_checked(more)?;
    let length = length.iter().try_fold(0usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?;
    rest.get(..length)
}

/// Why a chain of certificates is not valid, for people.
pub(super) fn in_words(reason: &webpki::Error) -> String {
    let text = match reason {
        webpki::Error::CaUsedAsEndEntity => "its certificate is that of a certificate authority, not of a signer",
        webpki::Error::EndEntityUsedAsCa => "a certificate that is not an authority's has issued it",
        webpki::Error::UnknownIssuer => "no authority in it has issued the certificate",
        webpki::Error::CertExpired { .. } => "its certificate has expired",
        webpki::Error::CertNotValidYet { .. } => "its certificate is not valid yet",
        webpki::Error::InvalidSignatureForPublicKey => {
            "a signature in its chain is not valid, or is by a key that is too weak (RSA with fewer than 2048 bits)"
        }
        other => return other.to_string(),
    };
    text.to_owned()
}

/// A digest that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    pub(super) fn of(oid: &ObjectIdentifier, sha1: Sha1) -> Result<Self, EnvelopeError> {
        match *oid {
            rfc5912::ID_SHA_256 => Ok(Self::Sha256),
            rfc5912::ID_SHA_384 => Ok(Self::Sha384),
            rfc5912::ID_SHA_512 => Ok(Self::Sha512),
            rfc5912::ID_SHA_1 if sha1 == Sha1::Allowed => Ok(Self::Sha1),
            rfc5912::ID_SHA_1 => Err(EnvelopeError::Sha1),
            other => Err(EnvelopeError::Algorithm(format!("the digest {other}"))),
        }
    }

    pub(super) fn compute(self, content: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, content).as_ref().to_vec()
    }
}

type Candidates = &'static [&'static dyn SignatureVerificationAlgorithm];

/// What a signature of this name can be. CMS names the signature by the key alone or by key and
/// digest; in the latter case both must agree.
pub(super) fn candidates(digest: Digest, signature: &ObjectIdentifier) -> Result<Candidates, EnvelopeError> {
    const RSA_SHA1: Candidates = &[&RsaSha1];
    const RSA_SHA256: Candidates = &[webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256];
    const RSA_SHA384: Candidates = &[webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA384];
    const RSA_SHA512: Candidates = &[webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA512];
    const EC_SHA256: Candidates = &[
        webpki::aws_lc_rs::ECDSA_P256_SHA256,
        webpki::aws_lc_rs::ECDSA_P384_SHA256,
        webpki::aws_lc_rs::ECDSA_P521_SHA256,
    ];
    const EC_SHA384: Candidates = &[
        webpki::aws_lc_rs::ECDSA_P256_SHA384,
        webpki::aws_lc_rs::ECDSA_P384_SHA384,
        webpki::aws_lc_rs::ECDSA_P521_SHA384,
    ];
    const EC_SHA512: Candidates = &[
        webpki::aws_lc_rs::ECDSA_P256_SHA512,
        webpki::aws_lc_rs::ECDSA_P384_SHA512,
        webpki::aws_lc_rs::ECDSA_P521_SHA512,
    ];
    match (*signature, digest) {
        (rfc5912::RSA_ENCRYPTION | rfc5912::SHA_1_WITH_RSA_ENCRYPTION, Digest::Sha1) => Ok(RSA_SHA1),
        (rfc5912::RSA_ENCRYPTION | rfc5912::SHA_256_WITH_RSA_ENCRYPTION, Digest::Sha256) => Ok(RSA_SHA256),
        (rfc5912::RSA_ENCRYPTION | rfc5912::SHA_384_WITH_RSA_ENCRYPTION, Digest::Sha384) => Ok(RSA_SHA384),
        (rfc5912::RSA_ENCRYPTION | rfc5912::SHA_512_WITH_RSA_ENCRYPTION, Digest::Sha512) => Ok(RSA_SHA512),
        (rfc5912::ID_EC_PUBLIC_KEY | rfc5912::ECDSA_WITH_SHA_256, Digest::Sha256) => Ok(EC_SHA256),
        (rfc5912::ID_EC_PUBLIC_KEY | rfc5912::ECDSA_WITH_SHA_384, Digest::Sha384) => Ok(EC_SHA384),
        (rfc5912::ID_EC_PUBLIC_KEY | rfc5912::ECDSA_WITH_SHA_512, Digest::Sha512) => Ok(EC_SHA512),
        (other, digest) => Err(EnvelopeError::Algorithm(format!("the signature algorithm {other} over {digest:?}"))),
    }
}

/// RSA with SHA-1, which the TLS stack rightly does not offer.
#[derive(Debug)]
struct RsaSha1;

impl SignatureVerificationAlgorithm for RsaSha1 {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public_key)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_PKCS1_SHA256
    }
}
