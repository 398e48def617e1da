//! A TLS certificate that the operator brings, instead of one under the service's own authority.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use super::leaf::certificate_in;
use super::{FILE_LIMIT, ServerIdentity};
use crate::data_dir;

/// Days before the end of the certificate from which on the log warns.
const WARN_DAYS: i64 = 14;

/// The files of the certificate.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    /// The chain in PEM, the service's own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    /// A file cannot be read, or holds something else.
    #[error("{option} {}: {problem}", file.display())]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason.
        problem: String,
    },
    /// The certificate's term is over.
    #[error("--certificate {}: it expired {days} days ago; renew it", file.display())]
    Expired {
        /// The file.
        file: PathBuf,
        /// Whole days.
        days: i64,
    },
    /// The certificate is for other names.
    #[error(
        "--certificate {}: it is not for {name}, which --hostname gives; clients would refuse it. Name one of its names with \
         --hostname, or bring a certificate for {name}",
        file.display()
    )]
    Name {
        /// The file.
        file: PathBuf,
        /// The name.
        name: String,
    },
    /// Certificate and key are not a pair.
    #[error("--key {} is not the key of --certificate {}", key.display(), certificate.display())]
    Pair {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
}

impl OwnCertificate {
    /// Reads both files, and checks that they belong together and are valid for all of these names.
    pub fn read(&self, names: &[ServerName<'static>]) -> Result<ServerIdentity, OwnCertificateError> {
        let content = read("--certificate", &self.certificate)?;
        let wrong = |problem: String| OwnCertificateError::File {
            option: "--certificate",
            file: self.certificate.clone(),
            problem,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&content)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(format!("it is no certificate in PEM form ({error})")))?;
        let first = certificate_in(&content)
            .map_err(|error| wrong(format!("it holds no certificate in PEM form ({error})")))?;
        if let Some(begins) = first.begins_later() {
            return Err(wrong(format!("it is not valid before {begins}")));
        }
        match first.days_left() {
            days if days < 0 => {
                return Err(OwnCertificateError::Expired { file: self.certificate.clone(), days: -days });
            }
            days if days < WARN_DAYS => {
                tracing::warn!(certificate = %self.certificate.display(), days, "the TLS certificate ends soon: renew it");
            }
            _ => {}
        }
        let end_entity =
            EndEntityCert::try_from(&first.der).map_err(|error| wrong(format!("TLS cannot use it ({error})")))?;
        for name in names {
            if end_entity.verify_is_valid_for_subject_name(name).is_err() {
                return Err(OwnCertificateError::Name {
                    file: self.certificate.clone(),
                    name: name.to_str().into_owned(),
                });
            }
            if let ServerName::DnsName(dns) = name
                && let Ok(bucket) = ServerName::try_from(format!("bucket.{}", dns.as_ref()))
                && end_entity.verify_is_valid_for_subject_name(&bucket).is_err()
            {
                tracing::warn!(
                    "the TLS certificate is not for *.{}: S3 clients have to put the bucket's name in the path (`aws configure \
                     set default.s3.addressing_style path`)",
                    dns.as_ref()
                );
            }
        }
        let key =
            PrivateKeyDer::from_pem_slice(&read("--key", &self.key)?).map_err(|error| OwnCertificateError::File {
                option: "--key",
                file: self.key.clone(),
                problem: format!("it holds no private key in PEM form without a password ({error})"),
            })?;
        let pair = || OwnCertificateError::Pair { key: self.key.clone(), certificate: self.certificate.clone() };
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|_| pair())?;
        if signing.public_key().is_none_or(|key| *key != *end_entity.subject_public_key_info()) {
            return Err(pair());
        }
        Ok(ServerIdentity { chain, key })
    }
}

fn read(option: &'static str, file: &Path) -> Result<Zeroizing<Vec<u8>>, OwnCertificateError> {
    let fail = |problem| OwnCertificateError::File { option, file: file.to_owned(), problem };
    match data_dir::read_if_there(file, FILE_LIMIT) {
        Ok(Some(content)) => Ok(Zeroizing::new(content)),
        Ok(None) => Err(fail("there is no such file".to_owned())),
        Err(error) => Err(fail(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests write the files that an operator brings")]

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    struct Files {
        directory: tempfile::TempDir,
    }

    impl Files {
        fn own(&self, certificate: &str, key: &str) -> OwnCertificate {
            OwnCertificate {
                certificate: self.directory.path().join(certificate),
                key: self.directory.path().join(key),
            }
        }

        fn make(&self, name: &str, days: i64) {
            self.make_from(name, -1, days);
        }

        /// A certificate whose term begins and ends that many days from now.
        fn make_from(&self, name: &str, from: i64, days: i64) {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            super::super::leaf::set_term_from(&mut params, from, days);
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            std::fs::write(self.directory.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(self.directory.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
    }

    #[test]
    fn a_certificate_is_used_only_with_its_key_in_its_time_and_for_its_names() {
        let files = Files { directory: tempfile::tempdir().unwrap() };
        files.make("deploy.example.com", 30);
        files.make("other.example.com", 30);
        files.make("old.example.com", 0);
        files.make_from("later.example.com", 2, 30);
        std::fs::write(files.directory.path().join("text"), "no PEM").unwrap();
        let name = |name: &str| [ServerName::try_from(name.to_owned()).unwrap()];
        let own = files.own("deploy.example.com.pem", "deploy.example.com.key");
        assert_eq!(own.read(&name("deploy.example.com")).unwrap().chain.len(), 1);
        for (certificate, key, wanted, expected) in [
            ("deploy.example.com.pem", "deploy.example.com.key", "elsewhere.example.com", "it is not for elsewhere"),
            ("deploy.example.com.pem", "other.example.com.key", "deploy.example.com", "is not the key of"),
            ("old.example.com.pem", "old.example.com.key", "old.example.com", "it expired"),
            ("later.example.com.pem", "later.example.com.key", "later.example.com", "it is not valid before"),
            ("deploy.example.com.pem", "missing", "deploy.example.com", "there is no such file"),
            ("text", "deploy.example.com.key", "deploy.example.com", "no certificate in PEM form"),
            ("deploy.example.com.pem", "text", "deploy.example.com", "no private key"),
        ] {
            let error = files.own(certificate, key).read(&name(wanted)).err().unwrap().to_string();
            assert!(error.contains(expected), "{certificate} {key}: {error}");
        }
    }
}
