//! A text's lines as their author laid them out.

/// Longer words are not keys; and what could be a secret is not shown.
const LONGEST_KEY: usize = 32;

/// All lines of a text.
pub(super) struct Lines<'t>(Vec<Line<'t>>);

/// One line, without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'t> {
    /// From 1.
    pub number: usize,
    pub text: &'t str,
    /// How many blanks it begins with.
    pub indent: usize,
    /// Where what is behind the dashes of list items begins, in bytes, all of which are ASCII until there.
    pub start: usize,
}

/// A word at the beginning of a line that can be a key, and what is behind it.
pub(super) struct Key<'t> {
    pub name: &'t str,
    pub rest: &'t str,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self(text.split('\n').zip(1..).map(|(line, number)| Line::new(line, number)).collect())
    }

    /// The line with a number.
    pub(super) fn get(&self, number: usize) -> Option<Line<'t>> {
        self.0.get(number.checked_sub(1)?).copied()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Line<'t>> {
        self.0.iter().copied()
    }

    /// The lines above one that hold something, the nearest first.
    pub(super) fn above(&self, number: usize) -> impl Iterator<Item = Line<'t>> {
        let above = self.0.iter().take(number.saturating_sub(1)).rev();
        above.copied().filter(|line| !line.is_blank())
    }

    /// The text with some of its lines replaced.
    pub(super) fn with(&self, replaced: impl Fn(Line<'t>) -> Option<String>) -> String {
        let lines = self.iter().map(|line| replaced(line).unwrap_or_else(|| line.text.to_owned()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl<'t> Line<'t> {
    fn new(text: &'t str, number: usize) -> Self {
        let text = text.strip_suffix('\r').unwrap_or(text);
        let indent = text.len() - text.trim_start_matches(' ').len();
        let mut start = indent;
        while let Some(behind) = text[start..].strip_prefix("- ") {
            start = text.len() - behind.trim_start_matches(' ').len();
        }
        Self { number, text, indent, start }
    }

    /// Whether it holds nothing, or a comment alone.
    pub(super) fn is_blank(&self) -> bool {
        let content = self.text.trim_start();
        content.is_empty() || content.starts_with('#')
    }

    /// Whether it begins with the dash of a list's item.
    pub(super) fn has_dash(&self) -> bool {
        self.text[self.indent..].starts_with("- ") || &self.text[self.indent..] == "-"
    }

    /// What is behind the dashes, without a comment at the end.
    pub(super) fn content(&self) -> &'t str {
        without_comment(&self.text[self.start..])
    }

    /// The word that it begins with, if that can be a key. AWS's configuration has keys with a colon before them.
    pub(super) fn key(&self) -> Option<Key<'t>> {
        let content = self.content();
        let word = content.strip_prefix(':').unwrap_or(content);
        let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let length = content.len() - word.trim_start_matches(is_inner).len();
        let (name, rest) = content.split_at(length);
        let begins = name.trim_start_matches(':').starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        // Identifiers of access keys are capital letters and digits.
        let is_secret = name.contains(|c: char| c.is_ascii_digit()) && name.contains(|c: char| c.is_ascii_uppercase());
        (begins && !is_secret && name.len() <= LONGEST_KEY).then_some(Key { name, rest })
    }
}

impl Key<'_> {
    /// Whether a colon and a blank, or the end, are behind it.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.trim_start_matches(' ').strip_prefix(':').is_some_and(|value| value.is_empty() || begins_blank(value))
    }

    /// Its value, if it is whole.
    pub(super) fn value(&self) -> Option<&str> {
        self.is_whole().then(|| self.rest.trim_start_matches([' ', ':']).trim_start())
    }
}

pub(super) fn begins_blank(text: &str) -> bool {
    text.starts_with([' ', '\t'])
}

/// A value as it is in one line, without blanks and a comment at its end.
pub(super) fn without_comment(text: &str) -> &str {
    let end = text.find(" #").unwrap_or(text.len());
    text[..end].trim_end()
}
