//! The result that a completion carries.

use serde::{Deserialize, Serialize};

use crate::wire::MAX_DIAGNOSTICS;

/// Longest log tail, in bytes.
pub const MAX_LOG: usize = 2048;

/// Result codes of a command, as numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum ErrorCode {
    /// 0
    Success,
    /// 1: the AppSpec names a script that the revision lacks.
    ScriptMissing,
    /// 2: it could not be executed.
    ScriptNotExecutable,
    /// 3: it ran longer than its timeout.
    ScriptTimedOut,
    /// 4: it ended with another code than 0, or by a signal.
    ScriptFailed,
    /// 5: anything else.
    UnknownError,
    /// 6: it ended, but something it started holds its output.
    OutputLeftOpen,
    /// 7: the agent or the host went away in the middle.
    FailedAfterRestart,
}

impl From<ErrorCode> for u8 {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Success => 0,
            ErrorCode::ScriptMissing => 1,
            ErrorCode::ScriptNotExecutable => 2,
            ErrorCode::ScriptTimedOut => 3,
            ErrorCode::ScriptFailed => 4,
            ErrorCode::UnknownError => 5,
            ErrorCode::OutputLeftOpen => 6,
            ErrorCode::FailedAfterRestart => 7,
        }
    }
}

impl TryFrom<u8> for ErrorCode {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Ok(match number {
            0 => Self::Success,
            1 => Self::ScriptMissing,
            2 => Self::ScriptNotExecutable,
            3 => Self::ScriptTimedOut,
            4 => Self::ScriptFailed,
            5 => Self::UnknownError,
            6 => Self::OutputLeftOpen,
            7 => Self::FailedAfterRestart,
            other => return Err(format!("error code {other} is not one of 0 to 7")),
        })
    }
}

/// Content of a completion's diagnostics, sent as a JSON string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// What kind of result.
    pub error_code: ErrorCode,
    /// The script that failed, relative to the revision; empty if none did.
    #[serde(default)]
    pub script_name: String,
    /// What happened, for people.
    #[serde(default)]
    pub message: String,
    /// The end of the scripts' output.
    #[serde(default)]
    pub log: String,
}

impl Diagnostics {
    /// The JSON text, never longer than [`MAX_DIAGNOSTICS`] characters: first the log loses its
    /// beginning, then the message its end, since escapes can make either many times longer.
    pub fn to_payload(&self) -> String {
        let mut fitted = self.clone();
        fitted.log = tail(&fitted.log, MAX_LOG).to_owned();
        loop {
            let text = serde_json::to_string(&fitted).unwrap_or_default();
            let length = text.chars().count();
            if length <= MAX_DIAGNOSTICS {
                return text;
            }
            if !fitted.log.is_empty() {
                fitted.log = tail(&fitted.log, fitted.log.len() / 2).to_owned();
            } else if fitted.message.len() > 64 {
                let keep = fitted.message.len() * 3 / 4;
                fitted.message = format!("{}…", head(&fitted.message, keep));
            } else {
                fitted.script_name = head(&fitted.script_name, fitted.script_name.len() / 2).to_owned();
            }
        }
    }
}

/// The last `limit` bytes of a text, cut at the start of a line where one begins in them, and
/// always between characters.
pub fn tail(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let mut start = text.len() - limit;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    if text.as_bytes()[start - 1] == b'\n' {
        return &text[start..];
    }
    match text[start..].find('\n') {
        Some(line) if start + line + 1 < text.len() => &text[start + line + 1..],
        _ => &text[start..],
    }
}

/// At most the first `limit` bytes of a text, cut between characters.
pub fn head(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
