//! PutHostCommandAcknowledgement and PostHostCommandUpdate.

use slipway_protocol::commands::{
    Acknowledgement, CommandStatus, CommandStatusOutput, Envelope, PostHostCommandUpdateInput,
    PutHostCommandAcknowledgementInput,
};

use super::{client, diagnostics, own_command, status};
use crate::deployments::EventError;
use crate::deployments::commands::{self, Command, CommandState};
use crate::deployments::progress::{self, Outcome, Report, settle};
use crate::error::ApiError;
use crate::service::Service;

/// Events that always have something to do, whatever an agent says.
const NEVER_NOOP: [&str; 2] = ["DownloadBundle", "Install"];

/// Takes a command's acknowledgement. An event without scripts ends with it; one whose deployment
/// was stopped in the meantime is answered with Failed and must not run.
pub(super) async fn handle(
    service: &Service,
    host: &str,
    input: PutHostCommandAcknowledgementInput,
) -> Result<CommandStatusOutput, ApiError> {
    let acknowledgement = read(input.diagnostics.as_ref())?;
    let mut change = service.change().await?;
    let command = own_command(change.db(), host, &input.host_command_identifier).await?;
    let state = match command.state {
        CommandState::Pending | CommandState::Offered if is_noop(&command, acknowledgement) => {
            let report = Report::own(EventError::Success, "Succeeded: the revision has no scripts for this event.");
            settle(&mut change, &command, Outcome::Succeeded(report)).await?;
            CommandState::Succeeded
        }
        CommandState::Pending | CommandState::Offered => {
            commands::acknowledge(&mut change, &command, service.options().complete_within).await?;
            CommandState::Acknowledged
        }
        other => other,
    };
    change.commit().await?;
    Ok(CommandStatusOutput { command_status: Some(status(state)) })
}

/// Takes a report of progress: the last output of a command that runs, to be seen until its result comes. It tells
/// the agent how the command stands.
pub(super) async fn update(
    service: &Service,
    host: &str,
    input: PostHostCommandUpdateInput,
) -> Result<CommandStatusOutput, ApiError> {
    let mut change = service.change().await?;
    let command = own_command(change.db(), host, &input.host_command_identifier).await?;
    if let (CommandState::Acknowledged, Some(_)) = (command.state, &input.diagnostics) {
        let report = diagnostics::read(input.diagnostics.as_ref(), EventError::Success)?;
        progress::show_output(&mut change, &command, &report.log_tail).await?;
    }
    change.commit().await?;
    let answer: CommandStatus = status(command.state);
    Ok(CommandStatusOutput { command_status: Some(answer) })
}

fn is_noop(command: &Command, acknowledgement: Acknowledgement) -> bool {
    acknowledgement.is_command_noop && !NEVER_NOOP.contains(&command.name.as_str())
}

/// Nothing said means that there is something to do.
fn read(diagnostics: Option<&Envelope>) -> Result<Acknowledgement, ApiError> {
    match diagnostics.and_then(|envelope| envelope.payload.as_deref()) {
        None => Ok(Acknowledgement { is_command_noop: false }),
        Some(payload) => serde_json::from_str(payload).map_err(|error| {
            client(format!("The acknowledgement's diagnostics are not {{\"IsCommandNoop\": bool}}: {error}."))
        }),
    }
}
