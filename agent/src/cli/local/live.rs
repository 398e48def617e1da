//! The event that runs: on a terminal a few lines that are drawn anew, elsewhere a line now and then.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cli::output::say;
use crate::cli::script_lines::last_lines;
use crate::cli::terminal::{Terminal, Tone};
use crate::cli::when::lasting;

/// An event that is over sooner is not drawn.
const FIRST: Duration = Duration::from_millis(300);
/// How often what runs is looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often a line tells that an event still runs: first, and at most.
const BEATS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Lines of output that are shown.
const LINES: usize = 5;

/// A thread that shows one event until it is told that it is over.
pub(super) struct Live {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Live {
    /// Nothing where no thread can be had: the deployment goes on without.
    pub(super) fn begin(mut painter: Painter) -> Option<Self> {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let told = Arc::clone(&over);
        let show = move || {
            let mut wait = FIRST;
            while !is_over_after(&told, wait) {
                painter.show();
                wait = TICK;
            }
            painter.erase();
        };
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(show).ok()?;
        Some(Self { over, thread })
    }

    /// Takes away what was drawn.
    pub(super) fn end(self) {
        *self.over.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.1.notify_all();
        let _ = self.thread.join();
    }
}

fn is_over_after(over: &(Mutex<bool>, Condvar), wait: Duration) -> bool {
    let guard = over.0.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = over.1.wait_timeout_while(guard, wait, |over| !*over);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// What is shown of an event, and where.
pub(super) struct Painter {
    terminal: Terminal,
    event: String,
    begun: Instant,
    log: PathBuf,
    waits: Arc<Mutex<Option<String>>>,
    /// As it stands on the terminal now.
    drawn: Vec<String>,
    /// When the next line is due where it is no terminal.
    beat: Duration,
}

impl Painter {
    pub(super) fn new(
        terminal: Terminal,
        event: &str,
        begun: Instant,
        log: PathBuf,
        waits: Arc<Mutex<Option<String>>>,
    ) -> Self {
        Self { terminal, event: event.to_owned(), begun, log, waits, drawn: Vec::new(), beat: BEATS.0 }
    }

    fn show(&mut self) {
        if self.terminal.is_terminal() {
            self.draw();
        } else if self.begun.elapsed() >= self.beat {
            self.beat += self.beat.min(BEATS.1);
            let line = match self.lines().pop() {
                Some(last) => format!("{}: {last}", self.standing()),
                None => self.standing(),
            };
            let _ = say(&format!("{line}\n"));
        }
    }

    fn draw(&mut self) {
        let width = self.terminal.columns().saturating_sub(1);
        let cut = |line: String| line.chars().take(width).collect::<String>();
        let mut lines = vec![cut(self.standing())];
        lines.extend(self.lines().into_iter().map(|line| cut(format!("      {line}"))));
        if lines == self.drawn {
            return;
        }
        let mut screen = self.erasure();
        for (n, line) in lines.iter().enumerate() {
            let painted = if n == 0 { line.clone() } else { self.terminal.paint(Tone::Faint, line) };
            screen.push_str(&painted);
            screen.push('\n');
        }
        self.drawn = lines;
        let _ = say(&screen);
    }

    fn erase(&mut self) {
        let erasure = self.erasure();
        self.drawn.clear();
        let _ = say(&erasure);
    }

    /// From below what is drawn to its beginning, and away with it.
    fn erasure(&self) -> String {
        if self.drawn.is_empty() { String::new() } else { format!("\x1b[{}A\r\x1b[J", self.drawn.len()) }
    }

    fn standing(&self) -> String {
        let elapsed = lasting(Duration::from_secs(self.begun.elapsed().as_secs()));
        let elapsed = elapsed.replace(".0 s", " s");
        match &*self.waits.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(holder) => format!("  {:<20} waits behind {holder}, {elapsed}", self.event),
            None => format!("  {:<20} running for {elapsed}", self.event),
        }
    }

    /// A log that cannot be read shows nothing: the script's own end tells of it.
    fn lines(&self) -> Vec<String> {
        last_lines(&self.log, Some(&self.event), LINES).unwrap_or_default()
    }
}
