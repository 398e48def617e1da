//! The result of a host command.

use serde::{Deserialize, Serialize};
use slipway_protocol::commands::CommandStatus;
use slipway_protocol::diagnostics::Diagnostics;
pub use slipway_protocol::diagnostics::{ErrorCode, MAX_LOG, tail};

/// How a host command ended; exactly what is reported, and what is reported again when asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It did what it should.
    Succeeded {
        /// For people; `Succeeded` if there is nothing to add.
        message: String,
        /// The end of the scripts' output.
        log: String,
    },
    /// It did not.
    Failed(Failure),
}

/// Why a host command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The protocol's code.
    pub code: ErrorCode,
    /// The script that failed, as the AppSpec names it; empty if it was not a script.
    pub script: String,
    /// What happened, to what, why, and what to do next.
    pub message: String,
    /// The end of the scripts' output.
    pub log: String,
}

impl Failure {
    /// A failure that is no script's, with code 5.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::UnknownError, script: String::new(), message: message.into(), log: String::new() }
    }
}

impl Outcome {
    /// Success with nothing to add.
    pub fn succeeded() -> Self {
        Self::Succeeded { message: "Succeeded".to_owned(), log: String::new() }
    }

    /// The status that a completion carries.
    pub fn status(&self) -> CommandStatus {
        match self {
            Self::Succeeded { .. } => CommandStatus::Succeeded,
            Self::Failed(_) => CommandStatus::Failed,
        }
    }

    /// The diagnostics that a completion carries.
    pub fn diagnostics(&self) -> Diagnostics {
        match self {
            Self::Succeeded { message, log } => Diagnostics {
                error_code: ErrorCode::Success,
                script_name: String::new(),
                message: message.clone(),
                log: log.clone(),
            },
            Self::Failed(failure) => Diagnostics {
                error_code: failure.code,
                script_name: failure.script.clone(),
                message: failure.message.clone(),
                log: failure.log.clone(),
            },
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
