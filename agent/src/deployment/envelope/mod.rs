//! The signed envelope that a deployment specification travels in: PEM around CMS `SignedData`
//! (RFC 5652) with attached content and the signer's certificate inside.
//!
//! The signature must always hold. Who signed is checked where certificate authorities are
//! configured; without them the transport authenticates the service, as it does for AWS's agents.

mod algorithm;
mod pem;

use std::time::Duration;

use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedAttributes, SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{ObjectIdentifier, OctetStringRef};
use der::oid::db::rfc5911::{ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA};
use der::oid::db::rfc5912::ID_CE_SUBJECT_KEY_IDENTIFIER;
use der::{Decode, Encode};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use sha2::{Digest as _, Sha256};
use slipway_protocol::wire;
use x509_cert::Certificate;

use algorithm::Digest;

/// Longest envelope that is looked at, in bytes: base64 and the signature around the specification.
pub const MAX_ENVELOPE: usize = wire::MAX_SPECIFICATION / 3 * 4 + 64 * 1024;
/// Extended key usage `id-kp-emailProtection`, the one that S/MIME tools ask a signer for.
const EMAIL_PROTECTION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 4];

/// Whose envelopes are believed.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The signer must chain to one of these; `None` accepts any signer.
    pub anchors: Option<Anchors>,
    /// What is done about SHA-1.
    pub sha1: Sha1,
}

/// What is done about an envelope whose digest is SHA-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sha1 {
    /// It is refused.
    #[default]
    Refused,
    /// It is accepted with RSA, for old services.
    Allowed,
}

/// Certificate authorities that a signer may chain to; at least one.
#[derive(Clone, Debug)]
pub struct Anchors(Vec<CertificateDer<'static>>);

impl Anchors {
    /// Reads the certificates of a PEM file.
    pub fn from_pem(text: &[u8]) -> Result<Self, EnvelopeError> {
        let certificates = pem::certificates(text)?;
        for certificate in &certificates {
            webpki::anchor_from_trusted_cert(certificate)
                .map_err(|error| EnvelopeError::Anchor(format!("a certificate in it is not readable: {error}")))?;
        }
        Ok(Self(certificates))
    }
}

/// Why an envelope is refused.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The service sent another format than the signed one.
    #[error(
        "the deployment specification came as {0:?}; only the signed format {expected:?} is accepted from a service",
        expected = wire::FORMAT_PKCS7_JSON
    )]
    Format(String),
    /// It is longer than any specification needs.
    #[error("the deployment specification's envelope is {0} bytes long; at most {MAX_ENVELOPE} are accepted")]
    TooLong(usize),
    /// It is not PEM with a label that is expected.
    #[error("the deployment specification's envelope is not readable: {0}")]
    Pem(&'static str),
    /// It is not DER-encoded CMS.
    #[error("the deployment specification's envelope is not DER-encoded CMS: {0}")]
    Der(#[from] der::Error),
    /// It is CMS, but not of the form that is accepted.
    #[error("the deployment specification's envelope is refused: {0}")]
    Form(&'static str),
    /// The signer's key is too short.
    #[error(
        "the deployment specification is signed with an RSA key of {0} bits, which is too weak: give the service that signs \
         it a key of 2048 bits or more, or one for ECDSA"
    )]
    WeakKey(usize),
    /// Digest or signature algorithm is unknown or too weak.
    #[error(
        "the deployment specification is signed with {0}, which is not accepted: sign it with RSA (2048 bits or more) or ECDSA and SHA-256"
    )]
    Algorithm(String),
    /// SHA-1 without permission.
    #[error(
        "the deployment specification is signed with SHA-1, which can be forged; \
         if the service cannot do better, set allow_sha1_envelope: true"
    )]
    Sha1,
    /// The content is not what was signed.
    #[error("the deployment specification was changed after it was signed: {0}")]
    Signature(&'static str),
    /// The signer does not chain to an anchor.
    #[error(
        "the deployment specification's signer ({subject}) is not trusted by deployment_spec_ca_file: {}; \
         check that the file holds the service's CA certificate and that this host's clock is right",
        algorithm::in_words(reason)
    )]
    Untrusted {
        /// The signer's name.
        subject: String,
        /// What the chain check found.
        reason: webpki::Error,
    },
    /// The file of anchors is not usable.
    #[error("deployment_spec_ca_file is not usable: {0}")]
    Anchor(String),
}

/// The signed content, and its signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The content.
    pub content: Vec<u8>,
    /// The signer's certificate: its subject, and its SHA-256.
    pub signer: String,
}

/// Opens the envelope of a `GetDeploymentSpecification` answer. Any format but the signed one is
/// refused: nothing unsigned is accepted from a network.
pub fn open(envelope: &slipway_protocol::commands::Envelope, trust: &Trust) -> Result<Opened, EnvelopeError> {
    match (envelope.format.as_deref(), envelope.payload.as_deref()) {
        (Some(wire::FORMAT_PKCS7_JSON), Some(payload)) => open_at(payload, trust, now()),
        (format, _) => Err(EnvelopeError::Format(format.unwrap_or("nothing").chars().take(100).collect())),
    }
}

/// Verifies a PEM envelope (label `PKCS7` or `CMS`) and returns the content that was signed.
pub fn verify(text: &str, trust: &Trust) -> Result<Vec<u8>, EnvelopeError> {
    verify_at(text, trust, now())
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)))
}

fn verify_at(text: &str, trust: &Trust, now: UnixTime) -> Result<Vec<u8>, EnvelopeError> {
    open_at(text, trust, now).map(|opened| opened.content)
}

fn open_at(text: &str, trust: &Trust, now: UnixTime) -> Result<Opened, EnvelopeError> {
    if text.len() > MAX_ENVELOPE {
        return Err(EnvelopeError::TooLong(text.len()));
    }
    let info = ContentInfo::from_der(&pem::envelope(text)?)?;
    if info.content_type != ID_SIGNED_DATA {
        return Err(EnvelopeError::Form("it is not SignedData"));
    }
    let signed: SignedData = info.content.decode_as()?;
    let content = attached_content(&signed)?;
    let [signer] = signed.signer_infos.0.as_slice() else {
        return Err(EnvelopeError::Form("it must have exactly one signer"));
    };
    let certificates = certificates(&signed);
    let certificate = signers_certificate(&certificates, &signer.sid)?;
    verify_signature(signer, certificate, content, trust.sha1)?;
    if let Some(anchors) = &trust.anchors {
        verify_chain(certificate, &certificates, anchors, now)?;
    }
    let fingerprint = hex::encode(Sha256::digest(certificate.to_der()?));
    let signer = format!("{} (certificate {fingerprint})", certificate.tbs_certificate.subject);
    Ok(Opened { content: content.to_vec(), signer })
}

/// The content type must be `id-data`: with another one, or none checked, bytes that were signed as
/// something else could be passed off as content.
fn attached_content(signed: &SignedData) -> Result<&[u8], EnvelopeError> {
    if signed.encap_content_info.econtent_type != ID_DATA {
        return Err(EnvelopeError::Form("its content is not of the type id-data"));
    }
    let content = signed.encap_content_info.econtent.as_ref();
    let content = content.ok_or(EnvelopeError::Form("it has no attached content"))?;
    Ok(content.decode_as::<OctetStringRef<'_>>()?.as_bytes())
}

fn certificates(signed: &SignedData) -> Vec<&Certificate> {
    let set = signed.certificates.iter().flat_map(|set| set.0.iter());
    set.filter_map(|choice| match choice {
        CertificateChoices::Certificate(certificate) => Some(certificate),
        CertificateChoices::Other(_) => None,
    })
    .collect()
}

fn signers_certificate<'a>(
    certificates: &[&'a Certificate],
    signer: &SignerIdentifier,
) -> Result<&'a Certificate, EnvelopeError> {
    let is_signers = |certificate: &&&Certificate| match signer {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            certificate.tbs_certificate.issuer == id.issuer
                && certificate.tbs_certificate.serial_number == id.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => {
            let extensions = certificate.tbs_certificate.extensions.iter().flatten();
            let mut key_ids = extensions.filter(|extension| extension.extn_id == ID_CE_SUBJECT_KEY_IDENTIFIER);
            key_ids.any(|extension| id.to_der().is_ok_and(|der| der == extension.extn_value.as_bytes()))
        }
    };
    certificates.iter().find(is_signers).copied().ok_or(EnvelopeError::Form("the signer's certificate is not in it"))
}

fn verify_signature(
    signer: &SignerInfo,
    certificate: &Certificate,
    content: &[u8],
    sha1: Sha1,
) -> Result<(), EnvelopeError> {
    let digest = Digest::of(&signer.digest_alg.oid, sha1)?;
    let algorithms = algorithm::candidates(digest, &signer.signature_algorithm.oid)?;
    let attributes;
    let message = match &signer.signed_attrs {
        None => content,
        Some(signed_attributes) => {
            check_attributes(signed_attributes, digest, content)?;
            // What is signed is the SET itself, not the implicit tag that it has in the signer's info.
            attributes = signed_attributes.to_der()?;
            &attributes
        }
    };
    let public = &certificate.tbs_certificate.subject_public_key_info;
    if let Some(bits) = algorithm::rsa_bits(public).filter(|bits| *bits < algorithm::LEAST_RSA_BITS) {
        return Err(EnvelopeError::WeakKey(bits));
    }
    let key = public.to_der()?;
    let key = SubjectPublicKeyInfoDer::from(key.as_slice());
    let unreadable = |_| EnvelopeError::Form("the signer's public key is not readable");
    let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(unreadable)?;
    let mut fits_the_key = false;
    for algorithm in algorithms {
        match key.verify_signature(*algorithm, message, signer.signature.as_bytes()) {
            Ok(()) => return Ok(()),
            // Several curves share one name; the one that the key is on has yet to come.
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => fits_the_key = true,
        }
    }
    Err(if fits_the_key {
        EnvelopeError::Signature("the signature does not match")
    } else {
        EnvelopeError::Algorithm("a key of an unknown kind".to_owned())
    })
}

/// RFC 5652, 5.3 and 5.4: where there are signed attributes, they must name the content's type and
/// carry its digest, once each.
fn check_attributes(attributes: &SignedAttributes, digest: Digest, content: &[u8]) -> Result<(), EnvelopeError> {
    let single = |oid: ObjectIdentifier| {
        let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
        match (found.next(), found.next()) {
            (Some(attribute), None) if attribute.values.len() == 1 => Ok(attribute.values.get(0)),
            _ => Err(EnvelopeError::Form("its signed attributes lack the content type or the digest, or repeat it")),
        }
    };
    match single(ID_CONTENT_TYPE)? {
        Some(kind) if kind.decode_as::<ObjectIdentifier>()? == ID_DATA => {}
        _ => return Err(EnvelopeError::Form("its signed attributes name another content type")),
    }
    match single(ID_MESSAGE_DIGEST)? {
        Some(value) if value.decode_as::<OctetStringRef<'_>>()?.as_bytes() == digest.compute(content) => Ok(()),
        _ => Err(EnvelopeError::Signature("its content does not have the digest that was signed")),
    }
}

/// The signer chains to an anchor, or is one: a service that signs with what one `openssl req -x509` makes
/// is trusted by naming that certificate, as `openssl smime -verify -CAfile` has it.
fn verify_chain(
    signer: &Certificate,
    certificates: &[&Certificate],
    anchors: &Anchors,
    now: UnixTime,
) -> Result<(), EnvelopeError> {
    let untrusted = |reason| EnvelopeError::Untrusted { subject: signer.tbs_certificate.subject.to_string(), reason };
    let others = certificates
        .iter()
        .filter(|certificate| **certificate != signer)
        .map(|certificate| Ok(CertificateDer::from(certificate.to_der()?)))
        .collect::<Result<Vec<_>, der::Error>>()?;
    let leaf = CertificateDer::from(signer.to_der()?);
    if anchors.0.contains(&leaf) {
        return verify_validity(signer, now).map_err(untrusted);
    }
    let leaf = webpki::EndEntityCert::try_from(&leaf).map_err(untrusted)?;
    let anchors = anchors
        .0
        .iter()
        .map(|anchor| webpki::anchor_from_trusted_cert(anchor))
        .collect::<Result<Vec<_>, _>>()
        .map_err(untrusted)?;
    let usage = webpki::KeyUsage::required_if_present(EMAIL_PROTECTION);
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &others, now, usage, None, None)
        .map(|_| ())
        .map_err(untrusted)
}

fn verify_validity(signer: &Certificate, now: UnixTime) -> Result<(), webpki::Error> {
    let validity = &signer.tbs_certificate.validity;
    let not_before = UnixTime::since_unix_epoch(validity.not_before.to_unix_duration());
    let not_after = UnixTime::since_unix_epoch(validity.not_after.to_unix_duration());
    if now < not_before {
        return Err(webpki::Error::CertNotValidYet { time: now, not_before });
    }
    if now > not_after {
        return Err(webpki::Error::CertExpired { time: now, not_after });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
