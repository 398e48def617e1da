//! The log as files: lines as AWS's agent writes them, in a file that is set aside by size.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::disk::AppendFile;

/// A file that several threads log to.
#[derive(Clone, Debug)]
pub(super) struct LogFiles {
    file: Arc<Mutex<AppendFile>>,
    name: String,
}

impl LogFiles {
    pub(super) fn new(file: AppendFile, name: &str) -> Self {
        Self { file: Arc::new(Mutex::new(file)), name: name.to_owned() }
    }

    /// The program's name in it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl<'a> MakeWriter<'a> for LogFiles {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.file.clone())
    }
}

/// One line on its way to the file. It comes whole, in one write.
#[derive(Debug)]
pub(super) struct Line(Arc<Mutex<AppendFile>>);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(bytes).map_err(io::Error::from)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fields as usual, kept apart from those of another output: what a span learns later would be there twice.
#[derive(Debug, Default)]
pub(super) struct OwnFields(DefaultFields);

impl<'a> FormatFields<'a> for OwnFields {
    fn format_fields<R: RecordFields>(&self, out: Writer<'a>, fields: R) -> fmt::Result {
        self.0.format_fields(out, fields)
    }
}

/// `2026-05-04 10:01:11 INFO  [codedeploy-agent(4711)]: message fields`; times are UTC.
#[derive(Clone, Debug)]
pub(super) struct AwsLines {
    program: String,
}

impl AwsLines {
    pub(super) fn new(name: &str) -> Self {
        Self { program: format!("[{name}({})]", std::process::id()) }
    }
}

impl<S, N> FormatEvent<S, N> for AwsLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
        write!(out, "{now} {:<5} {}: ", event.metadata().level(), self.program)?;
        context.field_format().format_fields(out.by_ref(), event)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                write!(out, " {fields}")?;
            }
        }
        writeln!(out)
    }
}
