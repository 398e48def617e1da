//! What a command's standard output and standard error are: a terminal, which has a width and may have colours, or
//! something that programs read.

use std::io::IsTerminal as _;
use std::os::fd::AsFd;

use super::settings::variable;

/// The width that lines are made for where the terminal does not tell its own.
const USUAL: usize = 80;
/// Longer lines of prose are hard to read, however wide the terminal is.
const WIDEST: usize = 100;
/// Narrower ones are not worth breaking.
const NARROWEST: usize = 40;

/// One output of a command, as far as it matters for what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terminal {
    /// Columns; nothing where it is no terminal, since whoever reads a file or a pipe looks for whole lines.
    columns: Option<usize>,
    colors: Colors,
}

/// Whether colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colors {
    Shown,
    Off,
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something is as it should be.
    Good,
    /// Something is worth a look.
    Warning,
    /// Something failed.
    Bad,
    /// A heading.
    Strong,
    /// Something of little weight.
    Faint,
}

impl Terminal {
    /// Neither width nor colours: for files, pipes and tests.
    pub(super) const NONE: Self = Self { columns: None, colors: Colors::Off };

    /// Standard output.
    pub(super) fn stdout() -> Self {
        let stdout = std::io::stdout();
        if stdout.is_terminal() { Self::of(&stdout) } else { Self::NONE }
    }

    /// Standard error.
    pub(super) fn stderr() -> Self {
        let stderr = std::io::stderr();
        if stderr.is_terminal() { Self::of(&stderr) } else { Self::NONE }
    }

    fn of(output: &impl AsFd) -> Self {
        let told = rustix::termios::tcgetwinsize(output).map_or(0, |size| usize::from(size.ws_col));
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let plain = is_set("NO_COLOR") || variable("TERM").is_some_and(|term| term == "dumb");
        Self {
            columns: Some(if told == 0 { USUAL } else { told }),
            colors: if plain { Colors::Off } else { Colors::Shown },
        }
    }

    /// Whether it is one.
    pub(super) fn is_terminal(self) -> bool {
        self.columns.is_some()
    }

    /// How many columns it has; what is usual where it is no terminal.
    pub(super) fn columns(self) -> usize {
        self.columns.unwrap_or(USUAL)
    }

    /// A text in a tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "1;31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        match self.colors {
            Colors::Shown => format!("\x1b[{code}m{text}\x1b[0m"),
            Colors::Off => text.to_owned(),
        }
    }

    /// A text whose first line begins with `first` and whose others are indented as far. On a terminal its lines
    /// are broken between words; elsewhere its own lines stay whole.
    pub(super) fn wrap(self, first: &str, text: &str) -> String {
        let indent = " ".repeat(first.chars().count());
        let width = match self.columns {
            Some(columns) => columns.clamp(NARROWEST, WIDEST).saturating_sub(indent.len()).max(NARROWEST / 2),
            None => usize::MAX,
        };
        let mut lines = text.lines().flat_map(|line| broken(line, width));
        let mut out = format!("{first}{}", lines.next().unwrap_or_default());
        for line in lines {
            out.push('\n');
            if !line.is_empty() {
                out.push_str(&indent);
                out.push_str(&line);
            }
        }
        out
    }
}

/// A line in pieces of at most `width` characters, as far as its words allow; those that follow are indented like it.
fn broken(line: &str, width: usize) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let (mut pieces, mut piece) = (Vec::new(), indent.clone());
    for word in line.split_whitespace() {
        let is_begun = piece.len() > indent.len();
        if is_begun && piece.chars().count() + 1 + word.chars().count() > width {
            pieces.push(std::mem::replace(&mut piece, indent.clone()));
        } else if is_begun {
            piece.push(' ');
        }
        piece.push_str(word);
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Terminal = Terminal { columns: Some(40), colors: Colors::Off };

    #[test]
    fn lines_are_broken_between_words_on_a_terminal_alone() {
        let text =
            "could not open /srv/a/very/long/path/that/has/no/blank/in/it: it is not there\n  - and a second line";
        assert_eq!(Terminal::NONE.wrap("error: ", text).lines().count(), 2);
        let wrapped = NARROW.wrap("error: ", text);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert_eq!(
            lines,
            [
                "error: could not open",
                "       /srv/a/very/long/path/that/has/no/blank/in/it:",
                "       it is not there",
                "         - and a second line",
            ]
        );
    }

    #[test]
    fn colours_are_on_terminals_alone() {
        let colourful = Terminal { colors: Colors::Shown, ..NARROW };
        assert_eq!(colourful.paint(Tone::Bad, "FAILED"), "\x1b[1;31mFAILED\x1b[0m");
        assert_eq!(Terminal::NONE.paint(Tone::Bad, "FAILED"), "FAILED");
    }
}
