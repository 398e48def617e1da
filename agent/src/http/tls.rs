use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::ClientError;
use super::error::innermost;
use super::named::OrNamed;
use crate::disk;

/// Longest file of certificates that is read, in bytes; a system's whole store is some 250 KB.
const MAX_CERTIFICATES: u64 = 4 << 20;

/// Whose certificates are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Where the usual authorities come from.
    pub roots: Roots,
    /// A PEM file of more authorities: the setting `ca_bundle`.
    pub additional: Option<PathBuf>,
}

/// Where the usual authorities come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The system's store.
    #[default]
    System,
    /// A PEM file instead of it: the environment variable `SSL_CERT_FILE`.
    File(PathBuf),
}

impl Trust {
    pub(super) fn apply(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, ClientError> {
        let additional = self.additional.iter().map(|path| ("ca_bundle", path));
        let replacing = match &self.roots {
            Roots::System => None,
            Roots::File(path) => Some(("SSL_CERT_FILE", path)),
        };
        let mut store = RootCertStore::empty();
        let mut named = Vec::new();
        for (setting, path) in replacing.into_iter().chain(additional) {
            for certificate in certificates(setting, path)? {
                store.add(certificate.clone()).map_err(|error| unusable(setting, path, error.to_string()))?;
                named.push(certificate);
            }
        }
        if named.is_empty() {
            return Ok(builder.tls_certs_merge([]));
        }
        if self.roots == Roots::System {
            // What of it is unusable is the system's affair, as long as there is something to trust.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Ok(builder.tls_backend_preconfigured(config(store, named)?))
    }
}

/// As reqwest configures TLS, with a verifier that also takes a named certificate from a server itself.
fn config(store: RootCertStore, named: Vec<CertificateDer<'static>>) -> Result<rustls::ClientConfig, ClientError> {
    let build = |error: &(dyn std::error::Error + 'static)| ClientError::Build(innermost(error));
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .build()
        .map_err(|error| build(&error))?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| build(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OrNamed::new(usual, named)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let pem = disk::read_bounded(path, MAX_CERTIFICATES).map_err(|source| ClientError::Read { setting, source })?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(setting, path, error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable(setting, path, "there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

fn unusable(setting: &'static str, path: &Path, reason: String) -> ClientError {
    ClientError::Certificates { setting, path: path.display().to_string(), reason }
}
