use std::fmt;

use crate::deployment::Secret;

/// An access key with what belongs to it. The secrets are wiped when dropped and never shown.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's public half; not a secret, it names the caller.
    pub access_key_id: String,
    /// The access key's secret half.
    pub secret_access_key: Secret,
    /// With temporary credentials.
    pub session_token: Option<Secret>,
}

impl Credentials {
    /// Whether the other ones would sign in the same way: an access key that stays can get another token.
    pub fn are(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.secret_access_key.expose() == other.secret_access_key.expose()
            && self.session_token.as_ref().map(Secret::expose) == other.session_token.as_ref().map(Secret::expose)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
