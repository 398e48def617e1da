//! The text around an envelope and around the authorities' certificates.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::EnvelopeError;

/// The DER inside of the one block labelled `PKCS7` or `CMS`. Lines may have any length: services
/// disagree about it.
pub(super) fn envelope(text: &str) -> Result<Vec<u8>, EnvelopeError> {
    const UNLABELLED: EnvelopeError = EnvelopeError::Pem("it is not PEM with the label PKCS7 or CMS");
    for label in ["PKCS7", "CMS"] {
        let Some(rest) = text.trim_start().strip_prefix(&format!("-----BEGIN {label}-----")) else { continue };
        let Some((body, after)) = rest.split_once(&format!("-----END {label}-----")) else {
            return Err(EnvelopeError::Pem("its end is missing"));
        };
        if !after.trim().is_empty() {
            return Err(EnvelopeError::Pem("there is more after its end"));
        }
        let compact: Vec<u8> = body.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r' | b' ' | b'\t')).collect();
        return STANDARD.decode(compact).map_err(|_| EnvelopeError::Pem("its base64 is broken"));
    }
    Err(UNLABELLED)
}

/// All certificates in a PEM file; at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, EnvelopeError> {
    let certificates = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| EnvelopeError::Anchor(format!("it is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(EnvelopeError::Anchor("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}
