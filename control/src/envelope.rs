//! Signs deployment specifications.

/// Signs specifications with the service's spec-signing key.
#[derive(Debug)]
pub struct SpecSigner {}

/// Why a specification could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the deployment specification could not be signed: {0}")]
pub struct SignError(pub String);

impl SpecSigner {
    /// The PEM text (`-----BEGIN PKCS7-----`) of a CMS SignedData over `content`.
    pub fn sign(&self, _content: &[u8]) -> Result<String, SignError> {
        Err(SignError("no signer yet".to_owned()))
    }
}
