//! The result of a host command.

mod warning;

use serde::{Deserialize, Serialize};
use slipway_protocol::commands::CommandStatus;
use slipway_protocol::diagnostics::Diagnostics;
pub use slipway_protocol::diagnostics::{ErrorCode, MAX_LOG, tail};
pub use warning::{Warning, WarningKind, Warnings};

/// How a host command ended; exactly what is reported, and what is reported again when asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It did what it should.
    Succeeded {
        /// For people; `Succeeded` if there is nothing to add.
        message: String,
        /// The end of the scripts' output.
        log: String,
        /// What its operator should know all the same.
        #[serde(default, skip_serializing_if = "Warnings::is_empty")]
        warnings: Warnings,
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
    /// What its operator should know besides.
    #[serde(default, skip_serializing_if = "Warnings::is_empty")]
    pub warnings: Warnings,
}

impl Failure {
    /// A failure that is no script's, with code 5.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::UnknownError, message)
    }

    /// A failure that is no script's.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::of_script("", code, message)
    }

    /// The failure of a script, as the AppSpec names it; its output is not known yet.
    pub fn of_script(script: impl Into<String>, code: ErrorCode, message: impl Into<String>) -> Self {
        let (script, message) = (script.into(), message.into());
        Self { code, script, message, log: String::new(), warnings: Warnings::default() }
    }
}

impl Outcome {
    /// Success with nothing to add.
    pub fn succeeded() -> Self {
        Self::succeeded_with("Succeeded", "")
    }

    /// Success with this message, and this end of the scripts' output.
    pub fn succeeded_with(message: impl Into<String>, log: impl Into<String>) -> Self {
        Self::Succeeded { message: message.into(), log: log.into(), warnings: Warnings::default() }
    }

    /// The same outcome with more warnings.
    #[must_use]
    pub fn warned(mut self, more: Warnings) -> Self {
        match &mut self {
            Self::Succeeded { warnings, .. } | Self::Failed(Failure { warnings, .. }) => warnings.append(more),
        }
        self
    }

    /// What its operator should know besides.
    pub fn warnings(&self) -> &Warnings {
        match self {
            Self::Succeeded { warnings, .. } | Self::Failed(Failure { warnings, .. }) => warnings,
        }
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
            Self::Succeeded { message, log, warnings } => Diagnostics {
                error_code: ErrorCode::Success,
                script_name: String::new(),
                message: warnings.below(message),
                log: log.clone(),
            },
            Self::Failed(failure) => Diagnostics {
                error_code: failure.code,
                script_name: failure.script.clone(),
                message: failure.warnings.below(&failure.message),
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
