//! The error that every operation answers with.

use std::fmt;

/// An error as it goes over the wire: `{"__type": name, "message": message}` with an HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// Name by the API reference, such as `ApplicationDoesNotExistException`.
    pub name: String,
    /// What happened and what to do next, for people.
    pub message: String,
}

impl ApiError {
    /// The caller's mistake: status 400.
    pub fn client(name: &str, message: impl Into<String>) -> Self {
        Self { status: 400, name: name.to_owned(), message: message.into() }
    }

    /// Our mistake: status 500. The cause goes to the log, not over the wire.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self {
            status: 500,
            name: "InternalFailure".to_owned(),
            message: "The control service failed on this request; its log says why.".to_owned(),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.name, self.message)
    }
}

impl std::error::Error for ApiError {}
