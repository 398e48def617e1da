//! Who makes a request, once its signature was verified.

/// The owner of the access key that signed a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// May do everything that the public API and the embedded S3 offer.
    Administrator {
        /// The key's id, for the log.
        access_key_id: String,
        /// `arn:aws:iam::<account>:user/<name>`.
        arn: String,
    },
    /// An agent: sees only its own commands, specifications and bundles.
    Host {
        /// The key's id, for the log.
        access_key_id: String,
        /// The host identifier that the key may speak for, `arn:aws:iam::<account>:user/<name>`.
        host_arn: String,
    },
}
