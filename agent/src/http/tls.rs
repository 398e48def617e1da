use std::path::{Path, PathBuf};

use super::ClientError;
use super::error::innermost;
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
        let additional = match &self.additional {
            Some(path) => certificates("ca_bundle", path)?,
            None => Vec::new(),
        };
        Ok(match &self.roots {
            Roots::System => builder.tls_certs_merge(additional),
            Roots::File(path) => {
                let mut only = certificates("SSL_CERT_FILE", path)?;
                only.extend(additional);
                builder.tls_certs_only(only)
            }
        })
    }
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<reqwest::Certificate>, ClientError> {
    let unusable = |reason| ClientError::Certificates { setting, path: path.display().to_string(), reason };
    let pem = disk::read_bounded(path, MAX_CERTIFICATES).map_err(|source| ClientError::Read { setting, source })?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(innermost(&error)))?;
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}
