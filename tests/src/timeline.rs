//! Prints what happens on the hosts while it happens.

use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::deployment::Event;

/// Colours, where someone looks; nothing where a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// A terminal.
    Colour,
    /// Anything else.
    Plain,
}

impl Ink {
    /// What standard output takes; the environment's `NO_COLOR` is honoured.
    pub fn of_stdout() -> Self {
        let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        if wanted { Self::Colour } else { Self::Plain }
    }

    /// Good news.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Bad news.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What can be overlooked.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What heads a part.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// The timeline of one deployment: a line for each event of each host when it has ended.
pub struct Timeline {
    ink: Ink,
    began: Instant,
    shown: HashSet<(String, String)>,
}

impl Timeline {
    /// Begins now.
    pub fn begin(ink: Ink) -> Self {
        Self { ink, began: Instant::now(), shown: HashSet::new() }
    }

    /// Prints the events that have ended since the last look.
    pub fn show(&mut self, events: &[Event]) {
        for event in events.iter().filter(|event| event.is_terminal()) {
            if self.shown.insert((event.host.clone(), event.name.clone())) {
                println!("{}", self.line(event));
                let _ = std::io::stdout().flush();
            }
        }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn line(&self, event: &Event) -> String {
        let took = match (event.start, event.end) {
            (Some(start), Some(end)) => milliseconds(end - start),
            _ => String::new(),
        };
        let (mark, word) = match event.status.as_str() {
            "Succeeded" => (self.ink.green("✔"), String::new()),
            "Failed" => (self.ink.red("✘"), self.ink.red("failed")),
            _ => (self.ink.dim("–"), self.ink.dim("skipped")),
        };
        let at = self.ink.dim(&format!("{:>6.2} s", self.elapsed().as_secs_f64()));
        let line = format!("  {at}  {:<6} {mark} {:<17}{took:>9}  {word}", event.host, event.name);
        let reason = if event.status == "Failed" { event.diagnostic("message") } else { "" };
        let mut text = line.trim_end().to_owned();
        for part in reason.lines().take(4) {
            text.push_str(&format!("\n{:20}{}", "", self.ink.dim(part)));
        }
        text
    }
}

fn milliseconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") }
}
