//! Where the agent's own log goes: the journal under systemd, standard error elsewhere.

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verbosity {
    /// What has to be mended.
    Quiet,
    /// What an operator wants to know.
    Normal,
    /// What a developer wants to know too.
    Verbose,
}

/// How lines look on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts logging for a command that talks to a person: warnings alone.
pub(super) fn start_quiet(shape: Shape) {
    start(Verbosity::Quiet, shape);
}

/// Starts logging. Called once, by the command that runs.
pub(super) fn start(verbosity: Verbosity, shape: Shape) {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::WARN,
        Verbosity::Normal => LevelFilter::INFO,
        Verbosity::Verbose => LevelFilter::DEBUG,
    };
    // Libraries speak of every connection; only their warnings concern an operator.
    let filter = EnvFilter::new(format!("warn,slipway_agent={level}"));
    let registry = tracing_subscriber::registry().with(filter);
    if under_systemd()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal.with_syslog_identifier("slipway-agent".to_owned())).init();
        return;
    }
    match shape {
        Shape::Text => {
            registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false)).init()
        }
        Shape::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
    }
}

/// Whether standard error is the journal's own stream, by the variable that systemd sets for it.
#[expect(clippy::disallowed_methods, reason = "the environment is read here, at the edge")]
fn under_systemd() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}
