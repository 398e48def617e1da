use jiff::Timestamp;

use super::KeyId;
use crate::bundle::{BundleError, Refusal};
use crate::disk;
use crate::ids::DeploymentId;
use crate::store::StoreError;

/// Why a bundle is refused by the keys that the host trusts.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It comes from where nothing is signed.
    #[error("{what} is refused: trusted_bundle_keys is set, and it cannot be signed; {instead}")]
    CannotBeSigned {
        /// What was asked for.
        what: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// There is no signature.
    #[error(
        "the bundle {bundle} is refused: trusted_bundle_keys is set, and there is no signature {signature} beside it; \
         sign it (minisign -S -m BUNDLE) and put the signature there"
    )]
    Missing {
        /// Path or object.
        bundle: String,
        /// Where the signature should be.
        signature: String,
    },
    /// It may or may not be there.
    #[error(
        "the bundle {bundle} is refused: trusted_bundle_keys is set, and its signature {signature} was not given: {source}. \
         An object that is not there is answered in the same way to who may not list the bucket"
    )]
    NotGiven {
        /// The bundle's object.
        bundle: String,
        /// The signature's.
        signature: String,
        /// What the service said.
        source: Box<BundleError>,
    },
    /// It could not be fetched.
    #[error("the bundle {bundle} was not fetched, since its signature {signature} could not be: {source}")]
    Unfetched {
        /// The bundle's object.
        bundle: String,
        /// The signature's.
        signature: String,
        /// What happened.
        source: Box<BundleError>,
    },
    /// The file with it cannot be read.
    #[error("the bundle {bundle} is refused: its signature cannot be used: {source}")]
    Unreadable {
        /// Path or object.
        bundle: String,
        /// What the system says.
        source: disk::Error,
    },
    /// It is not a signature.
    #[error(
        "the bundle {bundle} is refused: {signature} is not a signature of minisign: {reason}; \
         put the whole file there that `minisign -S` has written"
    )]
    Malformed {
        /// Path or object.
        bundle: String,
        /// Where the signature is.
        signature: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It is by a key that is not trusted.
    #[error(
        "the bundle {bundle} is refused: it is signed by the key {key}, and this host trusts {trusted}; \
         sign it with a trusted key, or add this one to trusted_bundle_keys"
    )]
    UnknownKey {
        /// Path or object.
        bundle: String,
        /// By which key.
        key: KeyId,
        /// Which ones would do.
        trusted: String,
    },
    /// It is not of this content.
    #[error(
        "the bundle {bundle} is refused: {signature} names the trusted key {key}, but is not its signature of this \
         content: bundle or signature were changed, or belong to something else; find out which, and sign it again"
    )]
    Invalid {
        /// Path or object.
        bundle: String,
        /// Where the signature is.
        signature: String,
        /// The key that it names.
        key: KeyId,
    },
    /// Its signer says something that the agent should understand, and cannot.
    #[error(
        "the bundle {bundle} is refused: the trusted comment of its signature by the key {key} has {word:?}, and {expected} is \
         expected; sign it again"
    )]
    Unclear {
        /// Path or object.
        bundle: String,
        /// By which key.
        key: KeyId,
        /// What is said.
        word: String,
        /// What can be said.
        expected: &'static str,
    },
    /// Its signer says that it is not to be deployed any more.
    #[error(
        "the bundle {bundle} is refused: its signature by the key {key} expired at {expires}, and by this host's clock it is \
         {now}; sign it again, or set the clock right, if it is off. Only a rollback brings back what has expired"
    )]
    Expired {
        /// Path or object.
        bundle: String,
        /// By which key.
        key: KeyId,
        /// Since when.
        expires: Timestamp,
        /// The host's time.
        now: Timestamp,
    },
    /// It is older than what the group had already.
    #[error(
        "the bundle {bundle} is refused: it is signed by the key {key} with sequence {sequence}, and this group was given \
         sequence {floor} already, by deployment {newest}; only a rollback goes back. To deploy its content anew, sign it with \
         a higher sequence"
    )]
    Older {
        /// Path or object.
        bundle: String,
        /// By which key.
        key: KeyId,
        /// Its number.
        sequence: u64,
        /// What brought the newest one.
        newest: DeploymentId,
        /// The newest one's number.
        floor: u64,
    },
    /// It does not say how old it is, and the group's last ones did.
    #[error(
        "the bundle {bundle} is refused: its signature by the key {key} has no sequence, and this group was given sequence \
         {floor} already, by deployment {newest}; sign it with a sequence in the trusted comment"
    )]
    Unnumbered {
        /// Path or object.
        bundle: String,
        /// By which key.
        key: KeyId,
        /// What brought the newest one.
        newest: DeploymentId,
        /// The newest one's number.
        floor: u64,
    },
    /// What the group had could not be read or written.
    #[error(
        "the bundle was not accepted, since the sequence of the group's newest one could not be read or noted: {0}"
    )]
    Floor(#[from] StoreError),
    /// It would take too much memory.
    #[error(
        "the bundle {bundle} is refused: its signature has minisign's legacy form, for which all of the bundle has to be \
         in memory, and it is longer than {limit} bytes; sign it without -l, by minisign 0.10 or later"
    )]
    LegacyTooLong {
        /// Path or object.
        bundle: String,
        /// Longest bundle with such a signature, in bytes.
        limit: u64,
    },
    /// What is signed cannot be read again.
    #[error("the bundle cannot be held to its signature: {0}")]
    Content(disk::Error),
}

impl SignatureError {
    pub(super) fn unfetched(bundle: String, signature: String, error: BundleError) -> Self {
        match error {
            BundleError::Refused { refusal: Refusal::NoKey, .. } => Self::Missing { bundle, signature },
            BundleError::Refused { refusal: Refusal::Reading(_), .. } => {
                Self::NotGiven { bundle, signature, source: Box::new(error) }
            }
            error => Self::Unfetched { bundle, signature, source: Box::new(error) },
        }
    }
}
