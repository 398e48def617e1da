use std::sync::Arc;

use der::Decode;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Verifies servers as usual, and also accepts a server whose very certificate was named as trusted.
///
/// What one `openssl req -x509` makes is an authority and a server's certificate in one. The usual path
/// building refuses an authority at the end of a chain, OpenSSL (and so AWS's agent) does not. Nothing is
/// lost by accepting it: who trusts it as an authority trusts its key with every name already.
#[derive(Debug)]
pub(super) struct OrNamed {
    usual: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl OrNamed {
    /// `named` are the certificates of the files that the operator configured.
    pub(super) fn new(usual: Arc<WebPkiServerVerifier>, named: Vec<CertificateDer<'static>>) -> Self {
        Self { usual, named }
    }
}

impl ServerCertVerifier for OrNamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(_) if self.named.iter().any(|named| named == end_entity) => {
                fits(end_entity, server_name, now).map(|()| ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Whether a certificate is for this name and this moment; that it is trusted is known already.
pub(super) fn fits(certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    let unreadable = || Error::from(CertificateError::BadEncoding);
    let end_entity = webpki::EndEntityCert::try_from(certificate).map_err(|_| unreadable())?;
    end_entity.verify_is_valid_for_subject_name(name).map_err(|_| CertificateError::NotValidForName)?;
    let validity = x509_cert::Certificate::from_der(certificate).map_err(|_| unreadable())?.tbs_certificate.validity;
    let [not_before, not_after] = [validity.not_before, validity.not_after].map(|time| time.to_unix_duration());
    if now.as_secs() < not_before.as_secs() {
        let not_before = UnixTime::since_unix_epoch(not_before);
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now.as_secs() > not_after.as_secs() {
        return Err(
            CertificateError::ExpiredContext { time: now, not_after: UnixTime::since_unix_epoch(not_after) }.into()
        );
    }
    Ok(())
}
