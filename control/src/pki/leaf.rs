//! What the authority certifies. A leaf's key and certificate share a file; a leaf that is about
//! to end, was made under another authority or for other names is replaced together with its key.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use der::pem::LineEnding;
use der::{Decode, Encode, EncodePem};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use zeroize::Zeroizing;

use super::authority::Authority;
use super::{FILE_LIMIT, PkiError};
use crate::data_dir::{self, DataDir};

/// What a leaf is for; it decides file, key and extensions.
pub enum Purpose<'a> {
    /// The TLS listener under these names, besides the loopback ones.
    Server(&'a [ServerName<'static>]),
    /// Deployment specifications. RSA, since agents of AWS's take no other.
    SpecSigner,
}

/// A certificate under the authority, with its key.
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub key: PrivatePkcs8KeyDer<'static>,
}

impl Leaf {
    /// Reads the leaf if it can still be used, or makes a new one.
    pub fn open(data: &DataDir, authority: &Authority, purpose: &Purpose<'_>) -> Result<Self, PkiError> {
        let path = data.pki().join(purpose.file());
        if let Some(content) = data_dir::read_if_there(&path, FILE_LIMIT)?.map(Zeroizing::new) {
            match purpose.reason_to_replace(&content, authority) {
                None => return Self::parse(&content, purpose),
                Some(reason) => tracing::info!(certificate = purpose.file(), reason, "making a new certificate"),
            }
        }
        let content = purpose.issue(authority)?;
        data_dir::write_private(&path, content.as_bytes())?;
        Self::parse(content.as_bytes(), purpose)
    }

    fn parse(content: &[u8], purpose: &Purpose<'_>) -> Result<Self, PkiError> {
        let damaged = |problem: String| PkiError::Damaged {
            file: purpose.file(),
            problem,
            otherwise: "or remove it: a new one is made at the next start",
        };
        Ok(Self {
            certificate: certificate_in(content).map_err(damaged)?.der,
            key: PrivatePkcs8KeyDer::from_pem_slice(content).map_err(|error| damaged(error.to_string()))?,
        })
    }
}

impl Purpose<'_> {
    fn file(&self) -> &'static str {
        match self {
            Self::Server(_) => "server.pem",
            Self::SpecSigner => "spec-signer.pem",
        }
    }

    /// Under the 398 days that TLS clients accept of a server.
    fn lifetime_days(&self) -> i64 {
        match self {
            Self::Server(_) => 397,
            Self::SpecSigner => 730,
        }
    }

    fn reason_to_replace(&self, content: &[u8], authority: &Authority) -> Option<&'static str> {
        let Ok(certificate) = certificate_in(content) else {
            return Some("the old one cannot be read");
        };
        let tbs = &certificate.parsed.tbs_certificate;
        if tbs.issuer.to_der().ok().as_deref() != Some(authority.subject_der()) {
            return Some("the authority is another");
        }
        if certificate.days_left() < self.lifetime_days() / 3 {
            return Some("the old one nears its end");
        }
        if self.names().iter().map(name_text).collect::<BTreeSet<_>>() != certificate.names() {
            return Some("the names are others");
        }
        None
    }

    /// A PEM file of key and certificate.
    fn issue(&self, authority: &Authority) -> Result<Zeroizing<String>, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Slipway");
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = self.names();
        set_term(&mut params, self.lifetime_days());
        let key = match self {
            Self::Server(_) => {
                params.distinguished_name.push(DnType::CommonName, "Slipway control service");
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?
            }
            // No extended key usage: verifiers differ in which one they would want for a signed document,
            // and the server's certificate, which has one, is refused by all of them.
            Self::SpecSigner => {
                params.distinguished_name.push(DnType::CommonName, "Slipway deployment specifications");
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
                KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?
            }
        };
        let certificate = params.signed_by(&key, authority.issuer())?;
        Ok(Zeroizing::new(format!("{}{}", key.serialize_pem(), certificate.pem())))
    }

    /// The names in the certificate; each DNS name also covers `<bucket>.<name>`, which S3 clients ask for.
    fn names(&self) -> Vec<SanType> {
        let Self::Server(names) = self else { return Vec::new() };
        let mut all = Vec::new();
        let mut add_dns = |name: &str| {
            for name in [name.to_owned(), format!("*.{name}")] {
                all.extend(name.try_into().map(SanType::DnsName));
            }
        };
        add_dns("localhost");
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for name in *names {
            match name {
                ServerName::DnsName(name) if name.as_ref() != "localhost" => add_dns(name.as_ref()),
                ServerName::IpAddress(address) => addresses.push(IpAddr::from(*address)),
                _ => {}
            }
        }
        all.extend(addresses.into_iter().map(SanType::IpAddress));
        all
    }
}

/// Sets a certificate's term in days. It begins a day early, for hosts whose clocks are behind.
pub fn set_term(params: &mut CertificateParams, days: i64) {
    set_term_from(params, -1, days);
}

/// Sets the days from today, in UTC, at whose beginnings a certificate's term begins and ends.
pub fn set_term_from(params: &mut CertificateParams, first: i64, last: i64) {
    let day = |offset: i64| {
        let moment = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * offset);
        let date = moment.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(first);
    params.not_after = day(last);
}

/// A certificate as it was read from a PEM file.
pub struct ReadCertificate {
    pub der: CertificateDer<'static>,
    pub parsed: Certificate,
}

/// The first certificate in a PEM file.
pub fn certificate_in(content: &[u8]) -> Result<ReadCertificate, String> {
    let der = CertificateDer::from_pem_slice(content).map_err(|error| error.to_string())?;
    let parsed = Certificate::from_der(&der).map_err(|error| error.to_string())?;
    Ok(ReadCertificate { der, parsed })
}

impl ReadCertificate {
    /// Whole days until the certificate ends; negative once it has.
    pub fn days_left(&self) -> i64 {
        let end = self.parsed.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        (end - jiff::Timestamp::now().as_second()).div_euclid(24 * 60 * 60)
    }

    /// The beginning of its term, where that is still to come.
    pub fn begins_later(&self) -> Option<jiff::Timestamp> {
        let begins = self.parsed.tbs_certificate.validity.not_before.to_unix_duration().as_secs();
        let begins = jiff::Timestamp::from_second(i64::try_from(begins).ok()?).ok()?;
        (begins > jiff::Timestamp::now()).then_some(begins)
    }

    /// The subject's name, DER.
    pub fn subject_der(&self) -> Result<Vec<u8>, String> {
        self.parsed.tbs_certificate.subject.to_der().map_err(|error| error.to_string())
    }

    /// The certificate alone, PEM.
    pub fn pem(&self) -> Result<String, String> {
        self.parsed.to_pem(LineEnding::LF).map_err(|error| error.to_string())
    }

    fn names(&self) -> BTreeSet<String> {
        let Ok(Some((_, names))) = self.parsed.tbs_certificate.get::<SubjectAltName>() else {
            return BTreeSet::new();
        };
        let text = |name: &GeneralName| match name {
            GeneralName::DnsName(name) => name.to_string(),
            GeneralName::IpAddress(octets) => hex::encode(octets.as_bytes()),
            other => format!("{other:?}"),
        };
        names.0.iter().map(text).collect()
    }
}

fn name_text(name: &SanType) -> String {
    match name {
        SanType::DnsName(name) => name.to_string(),
        SanType::IpAddress(IpAddr::V4(address)) => hex::encode(address.octets()),
        SanType::IpAddress(IpAddr::V6(address)) => hex::encode(address.octets()),
        other => format!("{other:?}"),
    }
}
