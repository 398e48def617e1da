//! The listener's TLS: a certificate that can be replaced while connections go on.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::pki::ServerIdentity;

/// The certificate that is shown to new connections.
pub struct Shown {
    current: RwLock<Arc<CertifiedKey>>,
    provider: Arc<CryptoProvider>,
}

impl Shown {
    /// Begins with `identity`.
    ///
    /// # Errors
    /// If the key is none that TLS can use.
    pub fn new(identity: ServerIdentity) -> Result<Arc<Self>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = RwLock::new(Arc::new(CertifiedKey::from_der(identity.chain, identity.key, &provider)?));
        Ok(Arc::new(Self { current, provider }))
    }

    /// Shows `identity` from now on.
    ///
    /// # Errors
    /// If the key is none that TLS can use; then the one before stays.
    pub fn replace(&self, identity: ServerIdentity) -> Result<(), rustls::Error> {
        let key = CertifiedKey::from_der(identity.chain, identity.key, &self.provider)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        Ok(())
    }

    /// Takes connections with the certificate of the moment.
    ///
    /// # Errors
    /// If the cryptographic library lacks the protocol's versions.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shown").finish_non_exhaustive()
    }
}
