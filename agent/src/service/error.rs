//! What can go wrong between the agent and the commands service, by what to do about it.

use ::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use slipway_protocol::wire::ErrorBody;

use crate::http::{BodyError, Foreign, Retry, SendError, clock_ahead};
use crate::identity::{Access, CurrentIdentity, IdentityError};

/// Clocks that differ by more than this many seconds are worth a word.
const CLOCKS_AGREE: i64 = 120;

/// Why a call to the commands service failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It is not known who asks, or with which credentials.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The service has no address for this host.
    #[error("{0}")]
    NoEndpoint(String),
    /// No answer came: name resolution, connection, TLS, proxy or time.
    #[error(transparent)]
    Unreachable(#[from] SendError),
    /// An answer came and broke off.
    #[error("the service's answer could not be read: {0}")]
    Broken(#[from] BodyError),
    /// The service wants fewer requests.
    #[error("the service throttles requests: {0}")]
    Throttled(String),
    /// The request's signature, credentials or clock were not accepted.
    #[error(
        "the service does not accept the {} (HTTP {status}, {name}): {message}; check that key and secret belong together \
         and are valid. `slipway-agent doctor` looks at all that this depends on",
        asked.caller
    )]
    Unaccepted {
        /// Who asked for what.
        asked: Asked,
        /// HTTP status.
        status: u16,
        /// The error's name.
        name: String,
        /// The service's words.
        message: String,
    },
    /// The credentials that were not accepted are no longer this host's.
    #[error(
        "the service does not accept the {} any more (HTTP {status}), which this host has replaced: the next request is \
         signed with access key {replaced_by}",
        asked.caller
    )]
    Replaced {
        /// Who asked for what.
        asked: Asked,
        /// HTTP status.
        status: u16,
        /// The access key that this host has now.
        replaced_by: String,
    },
    /// The caller is known, and may not do that.
    #[error(
        "access denied: the {} may not call {} as {} (HTTP {status}, {name}): {message}; give this host its own key, or \
         allow it the call",
        asked.caller, asked.operation, asked.host
    )]
    Denied {
        /// Who asked for what.
        asked: Asked,
        /// HTTP status.
        status: u16,
        /// The error's name.
        name: String,
        /// The service's words.
        message: String,
    },
    /// The request itself is wrong and will stay so.
    #[error("the service refused the request ({name}): {message}")]
    Client {
        /// The error's name.
        name: String,
        /// The service's words.
        message: String,
    },
    /// The service failed.
    #[error("the service failed (HTTP {status}): {message}")]
    Server {
        /// HTTP status.
        status: u16,
        /// The service's words.
        message: String,
    },
    /// Something else answered.
    #[error("the answer is not the service's: {0}")]
    Foreign(Foreign),
    /// The answer, or what was to be asked, makes no sense.
    #[error("{0}")]
    Unusable(String),
}

/// Who asked for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The operation's name.
    pub operation: String,
    /// The access key, and where it came from.
    pub caller: String,
    /// The host that it was asked for.
    pub host: String,
}

/// Parts of the names of errors that are about who asks.
const OF_CREDENTIALS: [&str; 5] = ["Signature", "UnrecognizedClient", "Token", "Expired", "Authentication"];

impl ServiceError {
    /// Reads an answer that is not a success.
    pub fn from_answer(asked: Asked, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let parsed: Option<ErrorBody> = serde_json::from_slice(body).ok();
        let name = parsed.as_ref().map(|error| error.name().to_owned()).unwrap_or_default();
        let message = match parsed {
            Some(error) if !error.message.is_empty() => error.message,
            _ => String::from_utf8_lossy(body).chars().take(300).collect(),
        };
        match Retry::judge(status, &name, &message) {
            Retry::Throttled => return Self::Throttled(message),
            Retry::Later => return Self::Server { status: status.as_u16(), message },
            Retry::Never if name.is_empty() => {
                if let Some(foreign) = Foreign::of(status, headers, body) {
                    return Self::Foreign(foreign);
                }
            }
            Retry::Never => {}
        }
        if status == StatusCode::UNAUTHORIZED || OF_CREDENTIALS.iter().any(|part| name.contains(part)) {
            let message = format!("{message}{}", clocks(headers));
            return Self::Unaccepted { asked, status: status.as_u16(), name, message };
        }
        if status == StatusCode::FORBIDDEN || name.contains("AccessDenied") {
            return Self::Denied { asked, status: status.as_u16(), name, message };
        }
        // Without a name it is not the service's own word, but of something on the way to it.
        if name == "ServerException" || name.is_empty() || !status.is_client_error() {
            return Self::Server { status: status.as_u16(), message };
        }
        Self::Client { name, message }
    }

    /// The same for a host that has other credentials by now, or whose credentials are not those of its on-premises file
    /// because that cannot be used.
    #[must_use]
    pub fn in_view_of(self, used: &Access, known: &CurrentIdentity) -> Self {
        match self {
            Self::Unaccepted { asked, status, .. } | Self::Denied { asked, status, .. }
                if known.access_key.as_ref().is_some_and(|key| *key != used.credentials.access_key_id) =>
            {
                let replaced_by = known.access_key.clone().unwrap_or_default();
                Self::Replaced { asked, status, replaced_by }
            }
            Self::Unaccepted { asked, status, name, message } => {
                Self::Unaccepted { asked, status, name, message: with_trouble(message, known) }
            }
            Self::Denied { asked, status, name, message } => {
                Self::Denied { asked, status, name, message: with_trouble(message, known) }
            }
            other => other,
        }
    }

    /// Whether the same request can succeed later. Only what the service says of the request itself
    /// cannot.
    pub fn is_passing(&self) -> bool {
        // An answer that is too long is so again.
        !matches!(self, Self::Client { .. } | Self::Unusable(_) | Self::Broken(BodyError::TooLong(_)))
    }
}

fn with_trouble(message: String, known: &CurrentIdentity) -> String {
    match &known.trouble {
        Some(trouble) => format!("{message} ({trouble})"),
        None => message,
    }
}

/// A signature is refused for a wrong clock in words that say little; the clocks themselves say more.
fn clocks(headers: &HeaderMap) -> String {
    match clock_ahead(headers, Timestamp::now()) {
        Some(ahead) if ahead.as_secs().abs() > CLOCKS_AGREE => format!(
            " (the service's clock is {} s {} of this host's: set this host's clock right)",
            ahead.as_secs().abs(),
            if ahead.is_positive() { "ahead" } else { "behind" }
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        let text = |text: &str| text.to_owned();
        Asked { operation: text("PollHostCommand"), caller: text("access key AKIA of a file"), host: text("host-1") }
    }

    #[test]
    fn answers_are_told_apart_by_what_to_do_about_them() {
        let body = |name: &str, message: &str| format!(r#"{{"__type":"{name}","message":"{message}"}}"#).into_bytes();
        let of = |status: u16, name: &str, message: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            ServiceError::from_answer(asked(), status, &HeaderMap::new(), &body(name, message))
        };
        assert!(matches!(of(429, "", ""), ServiceError::Throttled(_)));
        assert!(matches!(of(400, "ThrottlingException", ""), ServiceError::Throttled(_)));
        assert!(matches!(of(400, "ClientException", "Rate exceeded"), ServiceError::Throttled(_)));
        assert!(matches!(of(403, "x", ""), ServiceError::Denied { .. }));
        assert!(matches!(of(400, "AccessDeniedException", ""), ServiceError::Denied { .. }));
        assert!(matches!(of(400, "ns#UnrecognizedClientException", ""), ServiceError::Unaccepted { .. }));
        assert!(matches!(of(403, "ExpiredTokenException", ""), ServiceError::Unaccepted { .. }));
        let denied = of(403, "AccessDeniedException", "").to_string();
        assert!(
            ["access key AKIA of a file", "PollHostCommand", "host-1"].iter().all(|part| denied.contains(part)),
            "{denied}"
        );
        assert!(matches!(of(500, "ServerException", ""), ServiceError::Server { .. }));
        assert!(matches!(of(400, "ClientException", "no such command"), ServiceError::Client { .. }));
        assert!(!of(400, "ClientException", "").is_passing());
        for status in [StatusCode::NOT_FOUND, StatusCode::PAYLOAD_TOO_LARGE] {
            let of_a_gateway = ServiceError::from_answer(asked(), status, &HeaderMap::new(), b"<html>");
            assert!(of_a_gateway.is_passing(), "{of_a_gateway}");
        }
        assert!(of(403, "AccessDeniedException", "").is_passing());
        let portal: HeaderMap =
            [(::http::header::LOCATION, "http://portal.example/login".parse().unwrap())].into_iter().collect();
        for (status, headers, body) in [
            (StatusCode::FOUND, &portal, &b""[..]),
            (StatusCode::FORBIDDEN, &HeaderMap::new(), b"<html><title>Blocked</title>"),
            (StatusCode::UNAUTHORIZED, &HeaderMap::new(), b"<!doctype html>"),
        ] {
            let error = ServiceError::from_answer(asked(), status, headers, body);
            assert!(matches!(error, ServiceError::Foreign(_)) && error.is_passing(), "{error}");
            assert!(error.to_string().contains("captive portal"), "{error}");
        }
        assert!(matches!(
            ServiceError::from_answer(asked(), StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"<html>"),
            ServiceError::Server { .. }
        ));
    }

    #[test]
    fn an_answer_that_is_too_long_is_final_and_one_that_broke_off_is_not() {
        let too_long = ServiceError::from(BodyError::TooLong(4096));
        assert!(!too_long.is_passing());
        let text = too_long.to_string();
        assert!(text.contains("longer than the 4096 bytes") && text.contains("make"), "{text}");
        assert!(ServiceError::from(BodyError::Broken("reset".to_owned())).is_passing());
    }
}
