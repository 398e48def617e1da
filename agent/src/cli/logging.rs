//! Where the agent's own log goes: the journal under systemd, standard error elsewhere; and files.

use std::path::PathBuf;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::logging_file::{AwsLines, LogFiles, OwnFields};
use super::logging_journal::Journal;
use super::notices::Notices;
use crate::disk::{self, AppendFile, Dir, Rotation};

/// How large the log's file grows, as AWS's agent has it.
const ROTATION: Rotation = Rotation { bytes: 64 << 20, keep: 8 };

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

/// How lines look on standard error and in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// How a daemon logs.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) verbosity: Verbosity,
    pub(super) shape: Shape,
    /// The name in the journal and in files, where the configuration gives one.
    pub(super) name: Option<String>,
    pub(super) files: Files,
}

/// Where files go.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) directory: PathBuf,
    pub(super) when: WhenFiles,
    pub(super) readers: Readers,
    /// Names the file.
    pub(super) name: String,
}

/// When there are files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFiles {
    /// In any case.
    Always,
    /// Where nothing else keeps the log: no journal, and standard error leads nowhere.
    NothingElse,
}

/// Who may read the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Everybody.
    All,
    /// The agent's user.
    Own,
}

/// Changes how much is logged, while it is.
#[derive(Clone, Debug)]
pub(super) struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Logs as much from now on.
    pub(super) fn set(&self, verbosity: Verbosity) -> anyhow::Result<()> {
        Ok(self.0.reload(filter(verbosity))?)
    }
}

/// Starts logging for a command that talks to a person: warnings alone. Those that go to standard error as text can
/// be held back.
pub(super) fn start_quiet(shape: Shape) -> Notices {
    let notices = Notices::default();
    if shape == Shape::Text && !under_systemd() {
        tracing_subscriber::registry().with(filter(Verbosity::Quiet)).with(notices.clone()).init();
    } else {
        start(Verbosity::Quiet, shape);
    }
    notices
}

/// Starts logging to the journal or to standard error. Called once, by the command that runs.
pub(super) fn start(verbosity: Verbosity, shape: Shape) {
    let (filter, _) = reload::Layer::new(filter(verbosity));
    tracing_subscriber::registry().with(filter).with(main_layer(shape, None)).init();
}

/// Starts logging for the daemon: to files too, where they are wanted. A file that cannot be written does not
/// keep the daemon from its work, and is told in the log that there is.
pub(super) fn start_daemon(plan: &Plan) -> Level {
    let (filter, handle) = reload::Layer::new(filter(plan.verbosity));
    let (files, trouble) = match open_files(&plan.files) {
        Ok(files) => (files, None),
        Err(error) => (None, Some(error)),
    };
    let layers = [Some(main_layer(plan.shape, plan.name.clone())), files.map(|files| file_layer(plan.shape, files))];
    tracing_subscriber::registry().with(filter).with(layers.into_iter().flatten().collect::<Vec<_>>()).init();
    if let Some(error) = trouble {
        tracing::error!(%error, "the log's files cannot be written: mend what is said, or set another log_dir");
    }
    Level(handle)
}

fn filter(verbosity: Verbosity) -> EnvFilter {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::WARN,
        Verbosity::Normal => LevelFilter::INFO,
        Verbosity::Verbose => LevelFilter::DEBUG,
    };
    // Libraries speak of every connection; only their warnings concern an operator.
    EnvFilter::new(format!("warn,slipway_agent={level}"))
}

type Boxed<S> = Box<dyn Layer<S> + Send + Sync>;

fn main_layer<S: Subscriber + for<'a> LookupSpan<'a>>(shape: Shape, name: Option<String>) -> Boxed<S> {
    if shape == Shape::Text
        && under_systemd()
        && let Ok(journal) = Journal::connect(name.unwrap_or_else(|| "slipway-agent".to_owned()))
    {
        return journal.boxed();
    }
    match shape {
        Shape::Text => fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false).boxed(),
        Shape::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
    }
}

fn file_layer<S: Subscriber + for<'a> LookupSpan<'a>>(shape: Shape, files: LogFiles) -> Boxed<S> {
    match shape {
        Shape::Text => {
            let lines = AwsLines::new(files.name());
            fmt::layer()
                .fmt_fields(OwnFields::default())
                .with_ansi(false)
                .event_format(lines)
                .with_writer(files)
                .boxed()
        }
        Shape::Json => fmt::layer().json().with_writer(files).boxed(),
    }
}

/// How the name of a program's log begins, whatever somebody has called the program.
pub(super) fn file_name(program: &str) -> String {
    program.replace('/', "_")
}

fn open_files(files: &Files) -> Result<Option<LogFiles>, disk::Error> {
    if files.when == WhenFiles::NothingElse && (under_systemd() || !leads_nowhere()) {
        return Ok(None);
    }
    let (directory_mode, mode) = match files.readers {
        Readers::All => (0o755, 0o644),
        Readers::Own => (0o700, 0o600),
    };
    let directory = Dir::open_or_create(&files.directory, directory_mode)?;
    if files.readers == Readers::Own {
        disk::set_mode(&directory, &files.directory, directory_mode)?;
    }
    let path = files.directory.join(format!("{}.log", file_name(&files.name)));
    Ok(Some(LogFiles::new(AppendFile::open(path, mode, ROTATION)?, &files.name)))
}

/// Whether standard error is the journal's own stream, by the variable that systemd sets for it.
#[expect(clippy::disallowed_methods, reason = "the environment is read here, at the edge")]
fn under_systemd() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Whether nobody can read standard error: it is closed, or `/dev/null`.
fn leads_nowhere() -> bool {
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return true };
    rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == stat.st_rdev && null.st_mode == stat.st_mode)
}
