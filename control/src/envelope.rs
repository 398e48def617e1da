//! Signs deployment specifications: CMS SignedData (RFC 5652) in PEM, as
//! `openssl smime -sign -nodetach -binary -md sha256 -outform PEM` makes it.

use std::sync::{PoisonError, RwLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use der::asn1::{Any, AnyRef, Null, ObjectIdentifier, OctetString, SetOfVec, UtcTime};
use der::pem::LineEnding;
use der::{Decode, Encode, Tag};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::spki::AlgorithmIdentifierOwned;

/// RFC 5652, 4.
const ID_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// RFC 5652, 5.1.
const ID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// RFC 5652, 11.1 to 11.3.
const ID_CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const ID_MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const ID_SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
/// RFC 5754, 2.2.
const ID_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// RFC 8017, appendix A.1.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Signs specifications with the service's spec-signing key.
pub struct SpecSigner {
    /// Replaced as a whole when the certificate is renewed while the service runs.
    identity: RwLock<SigningIdentity>,
}

/// The signer's certificate and its RSA key.
pub struct SigningIdentity {
    certificate: Certificate,
    key: RsaKeyPair,
}

/// Why a specification could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the deployment specification could not be signed: {0}")]
pub struct SignError(pub String);

impl SpecSigner {
    /// A signer that uses `identity` until it is given another.
    pub fn new(identity: SigningIdentity) -> Self {
        Self { identity: RwLock::new(identity) }
    }

    /// Signs with `identity` from now on.
    pub fn replace(&self, identity: SigningIdentity) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// The PEM text (`-----BEGIN PKCS7-----`) of a CMS SignedData over `content`, with the content inside.
    pub fn sign(&self, content: &[u8]) -> Result<String, SignError> {
        let identity = self.identity.read().unwrap_or_else(PoisonError::into_inner);
        identity.sign(content, jiff::Timestamp::now()).map_err(|error| SignError(error.to_string()))
    }
}

impl SigningIdentity {
    /// From a DER certificate and the PKCS #8 document of its RSA key.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, SignError> {
        let certificate = Certificate::from_der(certificate)
            .map_err(|error| SignError(format!("the signer's certificate cannot be read: {error}")))?;
        let key = RsaKeyPair::from_pkcs8(key)
            .map_err(|error| SignError(format!("the signer's key cannot be read: {error}")))?;
        Ok(Self { certificate, key })
    }

    fn sign(&self, content: &[u8], now: jiff::Timestamp) -> Result<String, CmsError> {
        let digest = AlgorithmIdentifierOwned { oid: ID_SHA256, parameters: None };
        let signed_attrs = signed_attributes(content, now)?;
        let signer = SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
                issuer: self.certificate.tbs_certificate.issuer.clone(),
                serial_number: self.certificate.tbs_certificate.serial_number.clone(),
            }),
            digest_alg: digest.clone(),
            signature_algorithm: AlgorithmIdentifierOwned { oid: RSA_ENCRYPTION, parameters: Some(Null.into()) },
            // The signature covers the attributes under their own tag, SET OF (RFC 5652, 5.4).
            signature: OctetString::new(self.rsa_signature(&signed_attrs.to_der()?)?)?,
            signed_attrs: Some(signed_attrs),
            unsigned_attrs: None,
        };
        let signed = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::try_from(vec![digest])?,
            encap_content_info: EncapsulatedContentInfo {
                econtent_type: ID_DATA,
                econtent: Some(Any::new(Tag::OctetString, content)?),
            },
            certificates: Some(CertificateSet(SetOfVec::try_from(vec![CertificateChoices::Certificate(
                self.certificate.clone(),
            )])?)),
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
        };
        let der = ContentInfo { content_type: ID_SIGNED_DATA, content: Any::encode_from(&signed)? }.to_der()?;
        der::pem::encode_string("PKCS7", LineEnding::LF, &der).map_err(|error| CmsError::Pem(error.to_string()))
    }

    fn rsa_signature(&self, message: &[u8]) -> Result<Vec<u8>, CmsError> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| CmsError::Rsa)?;
        Ok(signature)
    }
}

#[derive(Debug, thiserror::Error)]
enum CmsError {
    #[error("encoding failed: {0}")]
    Der(#[from] der::Error),
    #[error("PEM encoding failed: {0}")]
    Pem(String),
    #[error("the RSA operation failed")]
    Rsa,
}

fn signed_attributes(content: &[u8], now: jiff::Timestamp) -> Result<SignedAttributes, CmsError> {
    let digest = Sha256::digest(content);
    let since_epoch = std::time::Duration::from_secs(now.as_second().unsigned_abs());
    let attributes = vec![
        attribute(ID_CONTENT_TYPE, Any::encode_from(&ID_DATA)?)?,
        attribute(ID_SIGNING_TIME, Any::encode_from(&UtcTime::from_unix_duration(since_epoch)?)?)?,
        attribute(ID_MESSAGE_DIGEST, AnyRef::new(Tag::OctetString, &digest)?.into())?,
    ];
    Ok(SetOfVec::try_from(attributes)?)
}

fn attribute(oid: ObjectIdentifier, value: Any) -> Result<Attribute, CmsError> {
    Ok(Attribute { oid, values: SetOfVec::try_from(vec![value])? })
}

impl std::fmt::Debug for SpecSigner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SpecSigner").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SigningIdentity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SigningIdentity").finish_non_exhaustive()
    }
}
