//! The certificate authority: one EC P-256 key pair under which everything else is certified.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use zeroize::Zeroizing;

use super::leaf::{certificate_in, set_term};
use super::{FILE_LIMIT, PkiError};
use crate::data_dir::{self, DataDir};

/// Key and certificate in one file, so that no crash can part them.
const KEY_FILE: &str = "ca-key.pem";
const LIFETIME_DAYS: i64 = 3650;
/// From here on the log asks for a new authority.
const WARN_DAYS: i64 = 365;

/// The authority with its key.
pub struct Authority {
    certificate_pem: String,
    subject_der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads the authority, or makes it if there never was one.
    pub fn open(data: &DataDir) -> Result<Self, PkiError> {
        let certificate_file = data.ca();
        let handed_out = data_dir::read_if_there(&certificate_file, FILE_LIMIT)?;
        let authority = match data_dir::read_if_there(&data.pki().join(KEY_FILE), FILE_LIMIT)? {
            Some(content) => Self::parse(&Zeroizing::new(content))?,
            None if handed_out.is_some() => return Err(PkiError::KeyMissing),
            None => Self::create(data)?,
        };
        if handed_out.as_deref() != Some(authority.certificate_pem.as_bytes()) {
            data_dir::write_public(&certificate_file, authority.certificate_pem.as_bytes())?;
        }
        Ok(authority)
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The name under which this authority issues, DER.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject_der
    }

    /// What signs certificates.
    pub fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    fn create(data: &DataDir) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Slipway");
        // A name of its own for each authority lets a leaf tell under which one it was made.
        let unique = uuid::Uuid::new_v4().simple().to_string();
        params.distinguished_name.push(DnType::CommonName, format!("Slipway control CA {unique}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_term(&mut params, LIFETIME_DAYS);
        let certificate = params.self_signed(&key)?;
        let content = Zeroizing::new(format!("{}{}", key.serialize_pem(), certificate.pem()));
        data_dir::write_private(&data.pki().join(KEY_FILE), content.as_bytes())?;
        Self::parse(content.as_bytes())
    }

    fn parse(content: &[u8]) -> Result<Self, PkiError> {
        let damaged = |problem: String| PkiError::Damaged {
            file: KEY_FILE,
            problem,
            otherwise: "or remove ca-key.pem and ca.pem to begin with a new authority, which every host then has to be given anew",
        };
        let certificate = certificate_in(content).map_err(damaged)?;
        let key = std::str::from_utf8(content)
            .map_err(|error| damaged(error.to_string()))
            .and_then(|text| KeyPair::from_pem(text).map_err(|error| damaged(error.to_string())))?;
        if certificate.parsed.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes()
            != key.public_key_raw()
        {
            return Err(damaged("its key is not the one of its certificate".to_owned()));
        }
        if certificate.days_left() < WARN_DAYS {
            tracing::warn!(
                days_left = certificate.days_left(),
                "the certificate authority nears its end: plan a new one and give its certificate to every host"
            );
        }
        Ok(Self {
            subject_der: certificate.subject_der().map_err(damaged)?,
            certificate_pem: certificate.pem().map_err(damaged)?,
            issuer: Issuer::from_ca_cert_der(&certificate.der, key)?,
        })
    }
}
