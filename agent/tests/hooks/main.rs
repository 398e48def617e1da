//! Hooks with real scripts, real runners and real processes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on panics, and arranges files and processes by itself"
)]

mod example;
mod fixture;
mod lost;
mod output;
mod refused;
mod run;
mod upgrade;
