//! Warnings as a command shows them to a person: `warning: …` on standard error, each once. They can be held back
//! while something else is shown there.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::output::visible_lines;
use super::terminal::{Terminal, Tone};

/// Warnings that are known to have been told, at most.
const REMEMBERED: usize = 256;

/// What was warned of, and whether it may be shown now.
#[derive(Clone, Debug, Default)]
pub(super) struct Notices(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    told: BTreeSet<String>,
    /// In order, where they are held back.
    held: Option<Vec<String>>,
}

impl Notices {
    /// Shows none from now on, until they are taken.
    pub(super) fn hold(&self) {
        self.state(|state| state.held.get_or_insert_default().len());
    }

    /// Those that were held back; further ones still are.
    pub(super) fn take(&self) -> Vec<String> {
        self.state(|state| state.held.as_mut().map(std::mem::take)).unwrap_or_default()
    }

    /// Shows those that were held back, and every further one at once.
    pub(super) fn release(&self) {
        let held = self.state(|state| state.held.take());
        held.into_iter().flatten().for_each(|message| show(&message));
    }

    fn add(&self, message: String) {
        let shown = self.state(|state| {
            if state.told.len() < REMEMBERED && !state.told.insert(message.clone()) {
                return None;
            }
            match &mut state.held {
                Some(held) => {
                    held.push(message);
                    None
                }
                None => Some(message),
            }
        });
        if let Some(message) = shown {
            show(&message);
        }
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Shows one warning.
pub(super) fn show(message: &str) {
    show_after("", message);
}

/// Shows one warning below the line of a table that it belongs to.
pub(super) fn show_below(message: &str) {
    show_after("    ", message);
}

fn show_after(indent: &str, message: &str) {
    const WORD: &str = "warning:";
    let terminal = Terminal::stderr();
    let wrapped = terminal.wrap(&format!("{indent}{WORD} "), &visible_lines(message));
    let text = wrapped.trim_start().strip_prefix(WORD).unwrap_or(&wrapped);
    eprintln!("{indent}{}{text}", terminal.paint(Tone::Warning, WORD));
}

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.add(text.whole());
    }
}

/// The message of an event, and what else it says.
#[derive(Debug, Default)]
struct Text {
    message: String,
    more: String,
}

impl Text {
    fn whole(self) -> String {
        if self.more.is_empty() { self.message } else { format!("{} ({})", self.message, self.more) }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => {
                let comma = if self.more.is_empty() { "" } else { ", " };
                write!(self.more, "{comma}{}: {value:?}", name.replace('_', " "))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_warning_is_told_once_and_held_back_while_something_else_is_shown() {
        let notices = Notices::default();
        notices.hold();
        let subscriber = tracing_subscriber::registry().with(notices.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..5 {
                tracing::warn!(error = %"no space", bytes_left = 3, "the log could not be written");
            }
            tracing::warn!("something else");
        });
        assert_eq!(notices.take(), ["the log could not be written (error: no space, bytes left: 3)", "something else"]);
        assert!(notices.take().is_empty());
    }
}
