//! Why TLS did not come about, where that has a remedy of its own.

use std::error::Error;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls_pki_types::UnixTime;

/// What is wrong, and what to do about it.
#[derive(Debug)]
pub(super) struct Explained {
    pub what: String,
    pub remedy: &'static str,
}

const OF_THE_CLOCK: &str = "set this host's clock (timedatectl set-ntp true)";
const RENEW: &str =
    "if this host's clock is right, the certificate has to be renewed; else set the clock (timedatectl set-ntp true)";
const OF_A_CA: &str = "give the server a certificate of its own that the authority has issued (basicConstraints=CA:FALSE); or, \
                       if that certificate is all there is, name the file of it in ca_bundle";
const WEAK: &str = "issue the server's certificates anew, with keys of 2048 bits or more, or ECDSA";
const OF_ANOTHER: &str = "check the endpoint's name and address; a captive portal or another server may answer there";
const NOT_TLS: &str = "if the service speaks plain HTTP there, write http in its address; else check the port, and proxies and captive portals on \
     the way";

/// What the TLS stack says, if it said anything. An `io::Error` hands out the source of what it wraps, not what it wraps,
/// and can wrap another one; so it is looked into.
pub(super) fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut source = Some(error);
    while let Some(link) = source {
        let mut wrapped = Some(link);
        while let Some(inner) = wrapped {
            if let Some(found) = inner.downcast_ref() {
                return Some(found);
            }
            let error: Option<&std::io::Error> = inner.downcast_ref();
            wrapped = error.and_then(std::io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
        }
        source = link.source();
    }
    None
}

/// Explains an error of the connection to `target`.
pub(super) fn explain(error: &rustls::Error, target: &str) -> Option<Explained> {
    let explained = |what, remedy| Some(Explained { what, remedy });
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::ExpiredContext { time, not_after } => explained(
                format!(
                    "the certificate of {target} expired on {}; this host's clock says {}",
                    date(*not_after),
                    date(*time)
                ),
                RENEW,
            ),
            CertificateError::Expired => explained(format!("the certificate of {target} has expired"), RENEW),
            CertificateError::NotValidYetContext { time, not_before } => explained(
                format!(
                    "the certificate of {target} is valid from {} on; this host's clock says {}",
                    date(*not_before),
                    date(*time)
                ),
                OF_THE_CLOCK,
            ),
            CertificateError::NotValidYet => {
                explained(format!("the certificate of {target} is not valid yet"), OF_THE_CLOCK)
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
                let names: String = names.chars().filter(|c| !c.is_control()).take(200).collect();
                explained(format!("the certificate of {target} is for another name ({names})"), OF_ANOTHER)
            }
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                explained(format!("{target} sends the certificate of a certificate authority as its own"), OF_A_CA)
            }
            CertificateError::BadSignature => explained(
                format!(
                    "a signature in the certificates of {target} is not valid, or is by a key that is too weak (RSA with \
                     fewer than 2048 bits)"
                ),
                WEAK,
            ),
            CertificateError::NotValidForName => {
                explained(format!("the certificate of {target} is for another name"), OF_ANOTHER)
            }
            _ => None,
        },
        rustls::Error::InvalidMessage(_) => {
            explained(format!("what answers at {target} does not speak TLS ({error})"), NOT_TLS)
        }
        _ => None,
    }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let date = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    date.map_or_else(|| "a date that no clock shows".to_owned(), |date| date.to_string())
}
