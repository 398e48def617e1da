//! The log as entries of systemd's journal, by its native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).
//!
//! An entry's text holds everything that is known, since `systemctl status` and `journalctl` show nothing else; and
//! each thing is a field of its own besides, so that `deployment_id` can be looked for as DEPLOYMENT_ID.

use std::fmt::{Debug, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::process::JournalSocket;

/// Bytes of a text in an entry that was too long for the socket.
const SHORT: usize = 16 << 10;

/// Sends entries to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: JournalSocket,
    name: String,
}

impl Journal {
    /// Fails where no journal listens.
    pub(super) fn connect(name: String) -> io::Result<Self> {
        Ok(Self { socket: JournalSocket::connect()?, name })
    }

    fn send(&self, priority: u8, text: &str, known: &[&Known]) -> io::Result<()> {
        let priority = priority.to_string();
        let head = [("PRIORITY", priority.as_str()), ("SYSLOG_IDENTIFIER", &self.name), ("MESSAGE", text)];
        let fields: Vec<(String, &str)> = known
            .iter()
            .flat_map(|known| &known.fields)
            .map(|(name, value)| (name.to_ascii_uppercase(), value.as_str()))
            .collect();
        self.socket.send(head.into_iter().chain(fields.iter().map(|(name, value)| (name.as_str(), *value))))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut known = Known::default();
        attributes.record(&mut known);
        span.extensions_mut().insert(known);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(known) = span.extensions_mut().get_mut::<Known>() {
            values.record(known);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Known::default();
        event.record(&mut own);
        let mut all = vec![own];
        for span in context.event_scope(event).into_iter().flatten() {
            all.extend(span.extensions().get::<Known>().cloned());
        }
        let known: Vec<&Known> = all.iter().collect();
        let (text, priority) = (text(&known), priority(*event.metadata().level()));
        if self.send(priority, &text, &known).is_err() {
            // Longer than the socket takes; or there is no journal any more, and its stream is standard error.
            let short = &text[..text.floor_char_boundary(SHORT)];
            if self.send(priority, short, &[]).is_err() {
                short.lines().for_each(|line| eprintln!("<{priority}>{line}"));
            }
        }
    }
}

/// What is known of an event or a span.
#[derive(Clone, Debug, Default)]
struct Known {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Known {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The message, and each field after it.
fn text(known: &[&Known]) -> String {
    let mut text: String = known.iter().map(|known| known.message.as_str()).collect();
    for (name, value) in known.iter().flat_map(|known| &known.fields) {
        // Writing to a string cannot fail.
        let _ = if value.contains(char::is_whitespace) {
            write!(text, " {name}={value:?}")
        } else {
            write!(text, " {name}={value}")
        };
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_holds_what_is_known() {
        let event = Known { message: "ended".into(), fields: vec![("elapsed", "1 s".into())] };
        let span = Known { message: String::new(), fields: vec![("deployment_id", "d-1".into())] };
        assert_eq!(text(&[&event, &span]), "ended elapsed=\"1 s\" deployment_id=d-1");
    }
}
