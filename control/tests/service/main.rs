//! The real program, with real clients: over TLS, on a free port, in a directory of its own.
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at their files")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends so")]

mod aws_cli;
mod calls;
mod first_hour;
mod lifetime;
mod overview;
mod support;
