//! What a command says on standard output.

use std::io::{ErrorKind, Write as _};

/// Prints a text, a line or several. A reader that has seen enough, as `head` has, is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    say(text).map(drop)
}

/// As [`print`], for a command that would go on: whether anybody still reads.
pub(super) fn say(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// A path on one line, without anything that a terminal would act on.
pub(super) fn shown(path: &std::path::Path) -> String {
    visible_text(&path.display().to_string())
}

/// The same for any text.
pub(super) fn visible_text(text: &str) -> String {
    text.chars().flat_map(visible).collect()
}

/// A text of a file, line by line as it is, without anything else that a terminal would act on.
pub(super) fn visible_lines(text: &str) -> String {
    let kept = |c: char| if matches!(c, '\n' | '\t') { Visible::Plain(c) } else { Visible::of(c) };
    text.chars().flat_map(kept).collect()
}

fn visible(c: char) -> Visible {
    Visible::of(c)
}

/// A character as it is, or what stands for it.
enum Visible {
    Plain(char),
    Escaped(std::char::EscapeDefault),
    Done,
}

impl Visible {
    fn of(c: char) -> Self {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { Self::Escaped(c.escape_default()) } else { Self::Plain(c) }
    }
}

impl Iterator for Visible {
    type Item = char;
    fn next(&mut self) -> Option<char> {
        match self {
            Self::Escaped(escape) => escape.next(),
            Self::Plain(c) => {
                let c = *c;
                *self = Self::Done;
                Some(c)
            }
            Self::Done => None,
        }
    }
}
