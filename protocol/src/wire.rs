//! What surrounds the members: headers, operation names, the shape of an error.

use serde::{Deserialize, Serialize};

/// Content type of every request and answer.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Header in which an agent names its version; AWS's agents sign it.
pub const AGENT_VERSION_HEADER: &str = "x-amz-codedeploy-agent-version";
/// Header that names the operation.
pub const TARGET_HEADER: &str = "x-amz-target";
/// `X-Amz-Target` prefix of the ordinary commands service.
pub const COMMANDS_PREFIX: &str = "CodeDeployCommandService_v20141006";
/// `X-Amz-Target` prefix with `enable_auth_policy`.
pub const SECURE_COMMANDS_PREFIX: &str = "CodeDeployCommandService";
/// Signing name of the ordinary commands service.
pub const COMMANDS_SIGNING_NAME: &str = "codedeploy-commands";
/// Signing name with `enable_auth_policy`.
pub const SECURE_COMMANDS_SIGNING_NAME: &str = "codedeploy-commands-secure";

/// Start of the agent version that Slipway's agent sends; the service offers such agents one command
/// per deployment group at a time, all others one per host.
pub const SLIPWAY_AGENT_PREFIX: &str = "slipway-agent/";

/// `Format` of an unsigned payload.
pub const FORMAT_JSON: &str = "JSON";
/// `Format` of a signed deployment specification.
pub const FORMAT_PKCS7_JSON: &str = "PKCS7/JSON";
/// `Format` of an unsigned deployment specification; for local deploys inside one process only.
pub const FORMAT_TEXT_JSON: &str = "TEXT/JSON";

/// Longest diagnostics payload that the service takes, in characters.
pub const MAX_DIAGNOSTICS: usize = 8192;
/// Longest deployment specification that the agent takes, in bytes.
pub const MAX_SPECIFICATION: usize = 1 << 20;

/// The body of an error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Error name; a namespace before `#` is possible and means nothing.
    #[serde(rename = "__type", default)]
    pub kind: String,
    /// What happened, for people.
    #[serde(default, alias = "Message")]
    pub message: String,
}

impl ErrorBody {
    /// The error's name without a namespace.
    pub fn name(&self) -> &str {
        self.kind.rsplit('#').next().unwrap_or(&self.kind)
    }
}
