//! Output of scripts: bytes of any kind and amount become clean lines in two logs and a short tail.

use jiff::Timestamp;

use super::record::{Logs, RunnerSpec};
use crate::disk::{self, AppendFile, Rotation};
use crate::outcome::{MAX_LOG, tail};

/// Size of a deployment's `scripts.log`.
const SCRIPTS_LOG: Rotation = Rotation { bytes: 16 << 20, keep: 2 };
/// Size of the log of all deployments.
const DEPLOYMENTS_LOG: Rotation = Rotation { bytes: 64 << 20, keep: 8 };
/// A longer line is continued on the next one, so that a line without end takes no memory without end.
const MAX_LINE: usize = 8 << 10;

/// One of a script's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn tag(self) -> &'static str {
        match self {
            Self::Stdout => "[stdout]",
            Self::Stderr => "[stderr]",
        }
    }
}

/// Where a script's output goes while it runs.
#[derive(Debug)]
pub struct ScriptLog {
    deployment: String,
    scripts: Option<AppendFile>,
    deployments: Option<AppendFile>,
    trouble: Option<String>,
    stdout: Lines,
    stderr: Lines,
    tail: Tail,
}

impl ScriptLog {
    /// Opens both logs. One that cannot be opened or written does not keep the script from running: it is
    /// told in [`Self::close`].
    pub fn open(spec: &RunnerSpec) -> Self {
        let Logs { scripts, deployments } = &spec.logs;
        let mut log = Self {
            deployment: spec.deployment.to_string(),
            scripts: None,
            deployments: None,
            trouble: None,
            stdout: Lines::default(),
            stderr: Lines::default(),
            tail: Tail::default(),
        };
        log.scripts = log.noted(AppendFile::open(scripts, 0o644, SCRIPTS_LOG));
        if let Some(path) = deployments {
            log.deployments = log.noted(AppendFile::open(path, 0o644, DEPLOYMENTS_LOG));
        }
        if spec.index == 0 {
            log.write(&[format!("LifecycleEvent - {}", spec.event)]);
        }
        log.write(&[format!("Script - {}", spec.subject.name)]);
        log
    }

    /// Takes what a stream brought.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let mut lines = Vec::new();
        let source = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        source.feed(bytes, |line| lines.push(format!("{}{line}", stream.tag())));
        self.put(&lines);
    }

    /// Writes lines that have no end yet, and gives the tail and what went wrong with the files.
    pub fn close(mut self) -> (String, Option<String>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut lines = Vec::new();
            let source = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
            source.end(|line| lines.push(format!("{}{line}", stream.tag())));
            self.put(&lines);
        }
        (self.tail.text().to_owned(), self.trouble)
    }

    fn put(&mut self, lines: &[String]) {
        for line in lines {
            self.tail.push(line);
        }
        self.write(lines);
    }

    /// One write to each file. The formats are those of AWS's agent; times are UTC.
    fn write(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let now = Timestamp::now();
        if let Some(file) = &mut self.scripts {
            let stamp = now.strftime("%Y-%m-%d %H:%M:%S").to_string();
            let text: String = lines.iter().flat_map(|line| [&stamp, " ", line, "\n"]).collect();
            let result = file.append(text.as_bytes());
            self.noted(result);
        }
        if let Some(file) = &mut self.deployments {
            let stamp = format!("[{}] [{}]", now.strftime("%Y-%m-%d %H:%M:%S%.3f"), self.deployment);
            let text: String = lines.iter().flat_map(|line| [stamp.as_str(), line, "\n"]).collect();
            let result = file.append(text.as_bytes());
            self.noted(result);
        }
    }

    fn noted<T>(&mut self, result: disk::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.trouble.get_or_insert_with(|| error.to_string());
                None
            }
        }
    }
}

/// The end of a text of any length.
#[derive(Debug, Default)]
struct Tail(String);

impl Tail {
    fn push(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
        if self.0.len() > 4 * MAX_LOG {
            self.0 = tail(&self.0, 2 * MAX_LOG).to_owned();
        }
    }

    fn text(&self) -> &str {
        tail(&self.0, MAX_LOG)
    }
}

/// Makes lines of bytes: terminal escapes and control characters go, a line that a carriage return
/// overwrites is as a terminal would show it, what is not UTF-8 becomes U+FFFD.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    escape: Escape,
    returned: bool,
}

/// How far into a terminal's escape sequence the bytes are (ECMA-48).
#[derive(Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// In a control sequence, which a byte of `@` to `~` ends.
    Control,
    /// In a string (title, link), which BEL or ESC `\` ends.
    Text,
    /// After ESC in a string.
    TextEnding,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(&str)) {
        for &byte in bytes {
            if self.swallowed(byte) {
                continue;
            }
            match byte {
                b'\n' => self.flush(&mut emit),
                b'\r' => self.returned = true,
                _ => {
                    if std::mem::take(&mut self.returned) {
                        self.line.clear();
                    }
                    self.line.push(byte);
                    if self.line.len() >= MAX_LINE {
                        self.split(&mut emit);
                    }
                }
            }
        }
    }

    fn end(&mut self, mut emit: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.flush(&mut emit);
        }
    }

    /// Whether the byte belongs to an escape sequence or is a control character.
    fn swallowed(&mut self, byte: u8) -> bool {
        let (next, swallowed) = match (&self.escape, byte) {
            // Nothing goes on across a line's end: an escape that is cut off must not hide the rest.
            (_, b'\n') => (Escape::None, false),
            (_, 0x18 | 0x1a) => (Escape::None, true),
            (Escape::Text, 0x07) => (Escape::None, true),
            (Escape::Text, 0x1b) => (Escape::TextEnding, true),
            (Escape::Text, _) => (Escape::Text, true),
            (Escape::TextEnding, b'\\') => (Escape::None, true),
            (_, 0x1b) => (Escape::Begun, true),
            (Escape::Begun | Escape::TextEnding, b'[') => (Escape::Control, true),
            (Escape::Begun | Escape::TextEnding, b']' | b'P' | b'X' | b'^' | b'_') => (Escape::Text, true),
            (Escape::Begun | Escape::TextEnding, 0x20..=0x2f) => (Escape::Begun, true),
            (Escape::Begun | Escape::TextEnding, _) => (Escape::None, true),
            (Escape::Control, 0x40..=0x7e) => (Escape::None, true),
            (Escape::Control, _) => (Escape::Control, true),
            (Escape::None, b'\r' | b'\t') => (Escape::None, false),
            (Escape::None, byte) => (Escape::None, byte < 0x20 || byte == 0x7f),
        };
        self.escape = next;
        swallowed
    }

    fn flush(&mut self, emit: &mut impl FnMut(&str)) {
        emit(&cleaned(&self.line));
        self.line.clear();
        self.returned = false;
    }

    /// Emits what is there, but keeps a character whose end has not come yet.
    fn split(&mut self, emit: &mut impl FnMut(&str)) {
        let whole = match std::str::from_utf8(&self.line) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.line.len(),
        };
        let rest = self.line.split_off(whole);
        emit(&cleaned(&self.line));
        self.line = rest;
    }
}

/// As text, without the control characters that UTF-8 can hold besides the ASCII ones.
fn cleaned(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| found.push(line.to_owned()));
        }
        lines.end(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        let rows: [(&[u8], &str); 9] = [
            (b"\x1b[1;31mred\x1b[0m\n", "red"),
            (b"\x1b]0;title\x07text\n", "text"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "link"),
            (b"\x1b(Bplain\x1bM\n", "plain"),
            (b"bell\x07 tab\tnul\0\n", "bell tab\tnul"),
            (b"10%\r50%\r100%\n", "100%"),
            (b"windows\r\n", "windows"),
            ("c1 \u{9b}31m gone".as_bytes(), "c1 31m gone"),
            (b"bad \xff utf\n", "bad \u{fffd} utf"),
        ];
        for (input, expected) in rows {
            assert_eq!(lines(&[input]), [expected]);
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            assert_eq!(lines(&bytes), [expected], "byte by byte");
        }
    }

    #[test]
    fn an_escape_that_is_cut_off_hides_one_line_at_most() {
        assert_eq!(lines(&[b"\x1b]title without end\nnext\n"]), ["", "next"]);
    }

    #[test]
    fn a_line_without_end_is_continued_between_characters() {
        let text = "ä".repeat(MAX_LINE);
        let found = lines(&[b"x", text.as_bytes()]);
        assert!(found.len() > 1);
        assert!(found.iter().all(|line| line.len() <= MAX_LINE && !line.contains('\u{fffd}')));
        assert_eq!(found.concat(), format!("x{text}"));
    }

    #[test]
    fn the_tail_is_bounded_and_begins_at_a_line() {
        let mut tail = Tail::default();
        for n in 0..100_000 {
            tail.push(&format!("[stdout]line {n}"));
            assert!(tail.0.len() <= 4 * MAX_LOG + 100);
        }
        let text = tail.text();
        assert!(text.len() <= MAX_LOG && text.len() > MAX_LOG - 30);
        assert!(text.starts_with("[stdout]line "));
        assert!(text.ends_with("line 99999\n"));
    }
}
