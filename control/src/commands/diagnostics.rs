//! Reads the diagnostics of a completion, which come from hosts and may be anything.

use serde::Deserialize;
use slipway_protocol::commands::Envelope;
use slipway_protocol::diagnostics::{MAX_LOG, head, tail};
use slipway_protocol::wire::MAX_DIAGNOSTICS;

use super::client;
use crate::deployments::EventError;
use crate::deployments::progress::Report;
use crate::error::ApiError;

/// As agents write them. Other agents' numbers and missing members are taken as they come: a
/// result is never lost over its diagnostics.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Loose {
    error_code: Option<i64>,
    script_name: Option<String>,
    message: Option<String>,
    log: Option<String>,
}

/// The report in a completion's diagnostics. Text that is not as the protocol has it is kept as
/// the message.
///
/// # Errors
/// `ClientException` if it is longer than the protocol allows.
pub(super) fn read(diagnostics: Option<&Envelope>, absent: EventError) -> Result<Report, ApiError> {
    let Some(payload) = diagnostics.and_then(|envelope| envelope.payload.as_deref()) else {
        return Ok(Report::own(absent, ""));
    };
    if payload.chars().count() > MAX_DIAGNOSTICS {
        return Err(client(format!("The diagnostics are longer than {MAX_DIAGNOSTICS} characters; shorten the log.")));
    }
    Ok(match serde_json::from_str::<Loose>(payload) {
        Ok(Loose { error_code, script_name, message, log }) => Report {
            error: error_code.map_or(absent, meaning),
            script_name: script_name.unwrap_or_default(),
            message: message.unwrap_or_default(),
            log_tail: tail(&log.unwrap_or_default(), MAX_LOG).to_owned(),
        },
        Err(_) => Report::own(absent, head(payload, MAX_LOG)),
    })
}

fn meaning(code: i64) -> EventError {
    match code {
        0 => EventError::Success,
        1 => EventError::ScriptMissing,
        2 => EventError::ScriptNotExecutable,
        3 => EventError::ScriptTimedOut,
        4 => EventError::ScriptFailed,
        _ => EventError::UnknownError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(payload: &str) -> Report {
        read(Some(&Envelope::new("JSON", payload.to_owned())), EventError::UnknownError).unwrap()
    }

    #[test]
    fn codes_become_the_apis_words() {
        for (code, word) in [
            (0, EventError::Success),
            (1, EventError::ScriptMissing),
            (2, EventError::ScriptNotExecutable),
            (3, EventError::ScriptTimedOut),
            (4, EventError::ScriptFailed),
            (5, EventError::UnknownError),
            (6, EventError::UnknownError),
            (7, EventError::UnknownError),
            (99, EventError::UnknownError),
        ] {
            let payload = format!(r#"{{"error_code":{code},"script_name":"s","message":"m","log":"l"}}"#);
            let report = parse(&payload);
            assert_eq!((report.error, report.script_name.as_str(), report.message.as_str()), (word, "s", "m"));
            assert_eq!(report.log_tail, "l");
        }
    }

    #[test]
    fn a_result_is_never_lost_over_its_diagnostics() {
        assert_eq!(parse("{}").error, EventError::UnknownError);
        assert_eq!(parse("not json").message, "not json");
        assert_eq!(parse(r#"{"error_code":null,"message":null}"#).message, "");
        assert_eq!(read(None, EventError::Success).unwrap(), Report::own(EventError::Success, ""));
    }

    #[test]
    fn lengths_are_bounded() {
        let long = Envelope::new("JSON", "x".repeat(MAX_DIAGNOSTICS + 1));
        assert_eq!(read(Some(&long), EventError::Success).unwrap_err().name, "ClientException");
        let log = format!(r#"{{"error_code":4,"log":"{}"}}"#, "y".repeat(5000));
        assert_eq!(parse(&log).log_tail.len(), MAX_LOG);
    }
}
