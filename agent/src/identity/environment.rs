use crate::deployment::Secret;

/// The variables of the environment that tell who a host is, captured once at the edge of the
/// program.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `AWS_HOST_IDENTIFIER`
    pub host_identifier: Option<String>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`
    pub region: Option<String>,
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Option<Secret>,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Secret>,
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`
    pub metadata_endpoint: Option<String>,
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE`: `IPv4` or `IPv6`
    pub metadata_endpoint_mode: Option<String>,
    /// `AWS_EC2_METADATA_DISABLED`
    pub metadata_disabled: Option<String>,
}

impl Environment {
    /// Asks `variable` for each name; an empty value counts as none.
    pub fn capture(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            host_identifier: get("AWS_HOST_IDENTIFIER"),
            region: get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")),
            access_key_id: get("AWS_ACCESS_KEY_ID"),
            secret_access_key: get("AWS_SECRET_ACCESS_KEY").map(Secret::new),
            session_token: get("AWS_SESSION_TOKEN").map(Secret::new),
            metadata_endpoint: get("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            metadata_endpoint_mode: get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
            metadata_disabled: get("AWS_EC2_METADATA_DISABLED"),
        }
    }

    pub(super) fn has_keys(&self) -> bool {
        self.access_key_id.is_some() || self.secret_access_key.is_some()
    }
}
