//! Where the agent's own log goes: the journal under systemd, standard error elsewhere.

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{self, FmtContext};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
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
    match shape {
        Shape::Text if under_systemd() => {
            registry.with(fmt::layer().event_format(Journal).with_writer(std::io::stderr).with_ansi(false)).init()
        }
        Shape::Text => {
            registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false)).init()
        }
        Shape::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
    }
}

/// Lines for the journal: a priority that it takes off (`sd-daemon(3)`), and everything that is known, since
/// `systemctl status` and `journalctl` show nothing but the text. The time is the journal's own.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let mut said = String::new();
        context.format_fields(Writer::new(&mut said), event)?;
        let priority = priority(*event.metadata().level());
        said.lines().try_for_each(|line| writeln!(to, "<{priority}>{line}"))
    }
}

/// As in `syslog(3)`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Whether standard error is the journal's own stream, by the variable that systemd sets for it.
#[expect(clippy::disallowed_methods, reason = "the environment is read here, at the edge")]
fn under_systemd() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}
