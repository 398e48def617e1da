use std::fmt;

use super::Position;

/// Findings beyond these are counted, not kept: a file can hold a mistake in every line.
pub(super) const KEPT: usize = 100;

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub at: Position,
    /// What may be there.
    pub expected: String,
    /// What is there instead.
    pub found: String,
}

/// All mistakes of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<Finding>,
    dropped: usize,
}

/// Something in a file that is ignored or has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub at: Position,
    /// What, and what to do about it.
    pub message: String,
}

/// Something that other readers of the format take, and that is hardly what the author meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A mapping has a name again. The last one counts.
    Again {
        /// The name.
        key: String,
        /// Where it is again.
        at: Position,
        /// The line of the one before it.
        before: usize,
    },
    /// A second document begins, which is not read.
    SecondDocument {
        /// Where.
        at: Position,
    },
    /// A tag of another program, which is ignored.
    Tag {
        /// Where its value is.
        at: Position,
        /// The tag.
        tag: String,
    },
}

/// What a reader collects on its way through a file.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Mistakes.
    pub findings: Findings,
    /// What is ignored.
    pub warnings: Vec<Warning>,
}

impl Findings {
    /// Adds a mistake; the same one again, as by two aliases for one value, is not.
    pub fn add(&mut self, at: Position, expected: impl Into<String>, found: impl Into<String>) {
        let finding = Finding { at, expected: expected.into(), found: found.into() };
        if self.kept.contains(&finding) {
            return;
        }
        if self.kept.len() == KEPT {
            self.dropped += 1;
            return;
        }
        let place = self.kept.partition_point(|other| other.at <= at);
        self.kept.insert(place, finding);
    }

    /// Adds those of another list.
    pub(super) fn extend(&mut self, others: &Self) {
        for finding in &others.kept {
            self.add(finding.at, finding.expected.clone(), finding.found.clone());
        }
        self.dropped += others.dropped;
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The findings, in the file's order; at most a hundred.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.kept.iter()
    }

    /// How many there are beyond those of [`Findings::iter`].
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// One line for each: `file:line:column: expected …, found …`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |out| {
            for (n, finding) in self.kept.iter().enumerate() {
                write!(out, "{}{file}:{finding}", if n == 0 { "" } else { "\n" })?;
            }
            if self.dropped > 0 {
                write!(out, "\n{file}: and {} more mistakes", self.dropped)?;
            }
            Ok(())
        })
    }
}

impl Report {
    /// Adds a mistake.
    pub fn expected(&mut self, at: Position, expected: impl Into<String>, found: impl Into<String>) {
        self.findings.add(at, expected, found);
    }

    /// Adds what a reader does not take as a mistake.
    pub fn refuse(&mut self, oddity: &Oddity) {
        match oddity {
            Oddity::Again { key, at, before } => {
                self.expected(*at, "each name once", format!("{} again, first in line {before}", quoted(key)));
            }
            Oddity::SecondDocument { at } => self.expected(*at, "one document in the file", "a second one"),
            Oddity::Tag { at, tag } => self.expected(*at, "a value without a tag", quoted(tag)),
        }
    }

    /// Adds what a reader takes as other readers do as a warning.
    pub fn tolerate(&mut self, oddity: &Oddity) {
        match oddity {
            Oddity::Again { key, at, before } => {
                let key = quoted(key);
                let message =
                    format!("{key} is here again: this one counts, and the one in line {before} is ignored; join them");
                self.warn(*at, message);
            }
            Oddity::SecondDocument { at } => {
                self.warn(*at, "a second document begins here, which is ignored: remove the line `---`");
            }
            Oddity::Tag { at, tag } => self.warn(*at, format!("the tag {} is ignored: remove it", quoted(tag))),
        }
    }

    /// Adds a warning, in the file's order; beyond a hundred they are not kept.
    pub fn warn(&mut self, at: Position, message: impl Into<String>) {
        let warning = Warning { at, message: message.into() };
        if self.warnings.len() < KEPT && !self.warnings.contains(&warning) {
            let place = self.warnings.partition_point(|other| other.at <= at);
            self.warnings.insert(place, warning);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: expected {}, found {}", self.at, self.expected, self.found)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.at, self.message)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.line, self.column)
    }
}

/// A text of a file for a message: in backquotes, on one line, cut where it is long.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String = text.chars().take(LONGEST).flat_map(shown_char).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn shown_char(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}
