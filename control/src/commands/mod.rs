//! The commands protocol: what agents ask.

mod acknowledge;
mod complete;
mod diagnostics;
mod poll;
mod specification;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipway_protocol::commands::{CommandStatus, operation};
use slipway_protocol::wire::SLIPWAY_AGENT_PREFIX;
use sqlx::sqlite::SqliteConnection;

use crate::caller::Caller;
use crate::deployments::commands::{self as stored, Command, CommandState, Exclusion};
use crate::error::ApiError;
use crate::service::Service;

/// Answers one call of an agent.
///
/// # Errors
/// `ClientException` (400) for what the agent did wrong, `AccessDeniedException` (403) for another
/// host's affairs, `UnknownOperationException` (404), `ServerException` (500).
pub async fn handle(
    service: &Service,
    caller: &Caller,
    agent_version: Option<&str>,
    operation: &str,
    body: &[u8],
) -> Result<Value, ApiError> {
    let host = host_of(caller)?;
    service.note_seen(host, agent_version);
    let exclusion = match agent_version {
        Some(version) if version.starts_with(SLIPWAY_AGENT_PREFIX) => Exclusion::PerGroup,
        _ => Exclusion::PerHost,
    };
    let answer = match operation {
        operation::POLL_HOST_COMMAND => poll::handle(service, host, exclusion, parse(body)?).await.and_then(json),
        operation::GET_DEPLOYMENT_SPECIFICATION => {
            specification::handle(service, host, parse(body)?).await.and_then(json)
        }
        operation::PUT_HOST_COMMAND_ACKNOWLEDGEMENT => {
            acknowledge::handle(service, host, parse(body)?).await.and_then(json)
        }
        operation::PUT_HOST_COMMAND_COMPLETE => complete::handle(service, host, parse(body)?).await.and_then(json),
        operation::POST_HOST_COMMAND_UPDATE => acknowledge::update(service, host, parse(body)?).await.and_then(json),
        other => Err(ApiError {
            status: 404,
            name: "UnknownOperationException".to_owned(),
            message: format!("The commands service has no operation {other:.100}."),
        }),
    };
    answer.map_err(in_protocol)
}

/// The host that a caller may speak for.
fn host_of(caller: &Caller) -> Result<&str, ApiError> {
    match caller {
        Caller::Host { host_arn, .. } => Ok(host_arn),
        Caller::Administrator { access_key_id, .. } => Err(denied(format!(
            "The access key {access_key_id} is an administrator's, and an agent needs one of its host: make it with \
             `slipway-control host-config NAME`."
        ))),
    }
}

/// Refuses a host that speaks of another.
fn require_own(host: &str, identifier: &str) -> Result<(), ApiError> {
    if host == identifier {
        return Ok(());
    }
    Err(denied(format!(
        "The access key belongs to {host}, and the request is for {identifier:.300}; give the agent the key of its own \
         host, or correct its host identifier."
    )))
}

fn denied(message: String) -> ApiError {
    ApiError { status: 403, name: "AccessDeniedException".to_owned(), message }
}

fn client(message: impl Into<String>) -> ApiError {
    ApiError::client("ClientException", message)
}

/// The names that this protocol has for errors.
fn in_protocol(error: ApiError) -> ApiError {
    let name = match error.status {
        400 => "ClientException",
        500.. => "ServerException",
        _ => return error,
    };
    ApiError { name: name.to_owned(), ..error }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| client(format!("The request is not as the protocol has it: {error}.")))
}

fn json(answer: impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(answer).map_err(ApiError::internal)
}

/// The command of this identifier. Another host's is as good as none: nothing of it is told.
async fn own_command(db: &mut SqliteConnection, host: &str, id: &str) -> Result<Command, ApiError> {
    stored::by_id(db, id).await?.filter(|command| command.host_identifier == host).ok_or_else(|| {
        client(
            "There is no host command of this identifier for this host; it belongs to another service or was made up.",
        )
    })
}

/// A command's state as agents are told it.
fn status(state: CommandState) -> CommandStatus {
    match state {
        CommandState::Pending | CommandState::Offered => CommandStatus::Pending,
        CommandState::Acknowledged => CommandStatus::InProgress,
        CommandState::Succeeded => CommandStatus::Succeeded,
        CommandState::Failed | CommandState::TimedOut | CommandState::Cancelled => CommandStatus::Failed,
    }
}
