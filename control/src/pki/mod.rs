//! The service's own certificate authority and what it certifies: the TLS server and the
//! signer of deployment specifications. Made on the first start, renewed before they end.

mod authority;
mod leaf;
mod own;
#[cfg(test)]
mod tests;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use self::authority::Authority;
use self::leaf::{Leaf, Purpose};
pub use self::own::{OwnCertificate, OwnCertificateError};
use crate::data_dir::{self, DataDir, DataDirError};
use crate::envelope::{SignError, SigningIdentity};

/// Everything that a serving process needs from the `pki` directory.
pub struct Pki {
    /// The authority's certificate, which clients are told to trust.
    pub ca_pem: String,
    /// What the TLS listener shows.
    pub server: ServerIdentity,
    /// What signs deployment specifications.
    pub signer: SigningIdentity,
}

/// The TLS server's certificate chain and key.
pub struct ServerIdentity {
    /// The service's certificate first. Of its own one the leaf alone: clients have the authority's certificate already.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

/// Why there are no usable certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Reading or writing failed.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A file is not what it was when it was written.
    #[error("{file} in the data directory's pki/ is damaged ({problem}); restore it from a backup, {otherwise}")]
    Damaged {
        /// File name.
        file: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What else can be done.
        otherwise: &'static str,
    },
    /// The authority's certificate is there, but its key is gone.
    #[error(
        "pki/ca.pem is there but pki/ca-key.pem is not: without its key nothing can be certified. Restore ca-key.pem from a backup, \
         or remove ca.pem to begin with a new authority, which every host then has to be given anew"
    )]
    KeyMissing,
    /// The cryptographic library refused.
    #[error("making a certificate failed: {0}")]
    Certify(#[from] rcgen::Error),
    /// The signer's certificate cannot be used.
    #[error(transparent)]
    Signer(#[from] SignError),
}

/// Largest file that is read here, in bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// Opens the `pki` directory, making or renewing whatever is missing, about to end, or not made for `names`.
pub fn open(data: &DataDir, names: &[ServerName<'static>]) -> Result<Pki, PkiError> {
    let (authority, _lock) = open_authority(data)?;
    let server = Leaf::open(data, &authority, &Purpose::Server(names))?;
    let signer = Leaf::open(data, &authority, &Purpose::SpecSigner)?;
    Ok(Pki {
        ca_pem: authority.certificate_pem().to_owned(),
        server: ServerIdentity { chain: vec![server.certificate], key: PrivateKeyDer::Pkcs8(server.key) },
        signer: SigningIdentity::new(&signer.certificate, signer.key.secret_pkcs8_der())?,
    })
}

/// The authority's certificate in PEM; the authority is made if there is none yet.
pub fn ca_certificate(data: &DataDir) -> Result<String, PkiError> {
    let (authority, _lock) = open_authority(data)?;
    Ok(authority.certificate_pem().to_owned())
}

/// The lock is held while files may be made, since a command can run beside the server's first start.
fn open_authority(data: &DataDir) -> Result<(Authority, data_dir::Lock), PkiError> {
    let lock = data.lock_briefly("pki.lock")?;
    Ok((Authority::open(data)?, lock))
}
