//! PutHostCommandComplete: the first result counts.

use serde_json::{Value, json};
use slipway_protocol::commands::{CommandStatus, PutHostCommandCompleteInput};

use super::{client, diagnostics, own_command};
use crate::deployments::EventError;
use crate::deployments::progress::{Outcome, settle};
use crate::error::ApiError;
use crate::service::Service;

/// Takes a command's result, also without an acknowledgement and for an old command; one that has
/// ended already stays as it is.
pub(super) async fn handle(
    service: &Service,
    host: &str,
    input: PutHostCommandCompleteInput,
) -> Result<Value, ApiError> {
    let outcome = match input.command_status {
        CommandStatus::Succeeded => {
            Outcome::Succeeded(diagnostics::read(input.diagnostics.as_ref(), EventError::Success)?)
        }
        CommandStatus::Failed => {
            Outcome::Failed(diagnostics::read(input.diagnostics.as_ref(), EventError::UnknownError)?)
        }
        CommandStatus::Pending | CommandStatus::InProgress => {
            return Err(client("A completion's CommandStatus is Succeeded or Failed."));
        }
    };
    let mut change = service.change().await?;
    let command = own_command(change.db(), host, &input.host_command_identifier).await?;
    settle(&mut change, &command, outcome).await?;
    change.commit().await?;
    Ok(json!({}))
}
