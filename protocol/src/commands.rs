//! The operations between an agent and the commands service.

use serde::{Deserialize, Serialize};

/// Operation names, as they follow the prefix in `X-Amz-Target`.
pub mod operation {
    /// Asks for the next command; may be held open by the service.
    pub const POLL_HOST_COMMAND: &str = "PollHostCommand";
    /// Fetches the signed deployment specification of a command.
    pub const GET_DEPLOYMENT_SPECIFICATION: &str = "GetDeploymentSpecification";
    /// Says that a command was taken, and whether there is anything to do.
    pub const PUT_HOST_COMMAND_ACKNOWLEDGEMENT: &str = "PutHostCommandAcknowledgement";
    /// Reports a command's result.
    pub const PUT_HOST_COMMAND_COMPLETE: &str = "PutHostCommandComplete";
    /// Reports progress.
    pub const POST_HOST_COMMAND_UPDATE: &str = "PostHostCommandUpdate";
}

/// State of a host command as both sides see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommandStatus {
    /// Not taken by an agent yet.
    Pending,
    /// Taken and running.
    InProgress,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

/// A payload together with the name of its encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Envelope {
    /// One of the `FORMAT_…` names of [`crate::wire`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

impl Envelope {
    /// An envelope with both members.
    pub fn new(format: &str, payload: String) -> Self {
        Self { format: Some(format.to_owned()), payload: Some(payload) }
    }
}

/// Request of `PollHostCommand`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PollHostCommandInput {
    /// The host's ARN.
    pub host_identifier: String,
}

/// Answer of `PollHostCommand`; without a command when there is no work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PollHostCommandOutput {
    /// The command to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_command: Option<HostCommand>,
}

/// One command for one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostCommand {
    /// Opaque name of this command.
    pub host_command_identifier: String,
    /// The host's ARN; an agent refuses another's.
    pub host_identifier: String,
    /// Opaque name under which the specification is fetched, four or more parts between slashes.
    pub deployment_execution_id: String,
    /// A lifecycle event, `DownloadBundle`, `Install` or `UpdateDeploymentAgent`.
    pub command_name: String,
    /// Meaningless to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<i64>,
}

/// Request of `GetDeploymentSpecification`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetDeploymentSpecificationInput {
    /// From the command.
    pub deployment_execution_id: String,
    /// The host's ARN.
    pub host_identifier: String,
}

/// Answer of `GetDeploymentSpecification`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetDeploymentSpecificationOutput {
    /// `CodeDeploy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_system: Option<String>,
    /// The envelopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_specification: Option<SpecificationEnvelopes>,
}

/// The signed specification and an optional variant of it, which Slipway does not use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SpecificationEnvelopes {
    /// The specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generic_envelope: Option<Envelope>,
    /// Name of the variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<String>,
    /// The variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_envelope: Option<Envelope>,
}

/// Request of `PutHostCommandAcknowledgement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutHostCommandAcknowledgementInput {
    /// From the command.
    pub host_command_identifier: String,
    /// Format `JSON`, payload an [`Acknowledgement`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Envelope>,
}

/// Content of an acknowledgement's diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Acknowledgement {
    /// Whether the event has no scripts on this host.
    pub is_command_noop: bool,
}

/// Answer of `PutHostCommandAcknowledgement` and of `PostHostCommandUpdate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CommandStatusOutput {
    /// `InProgress` or nothing: run it. `Succeeded`, `Failed`: skip it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_status: Option<CommandStatus>,
}

/// Request of `PutHostCommandComplete`; its answer is an empty object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutHostCommandCompleteInput {
    /// From the command.
    pub host_command_identifier: String,
    /// `Succeeded` or `Failed`.
    pub command_status: CommandStatus,
    /// Format `JSON`, payload [`crate::diagnostics::Diagnostics`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Envelope>,
}

/// Request of `PostHostCommandUpdate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PostHostCommandUpdateInput {
    /// From the command.
    pub host_command_identifier: String,
    /// When the agent expects to end, seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<f64>,
    /// Format `JSON`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Envelope>,
}
