use serde::Serialize;

use super::finding::{Finding, Severity};
use crate::yaml::Position;

/// The longest part of a line that is shown, in characters.
const LONGEST: usize = 110;
/// How much of a longer line is shown before the place.
const BEFORE: usize = 40;

/// A file that findings are about.
pub(super) struct Source {
    file: String,
    text: String,
}

/// A line of a file and a place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The line, or the part of it around the place. Characters that a terminal would act on are
    /// replaced one by one.
    pub line: String,
    /// How many characters of `line` are before the place.
    pub caret: usize,
    /// How many characters the place has, at least one.
    pub width: usize,
}

impl Source {
    pub(super) fn new(file: impl Into<String>, text: &[u8]) -> Self {
        // Places are counted without the mark.
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        Self { file: file.into(), text: String::from_utf8_lossy(text).into_owned() }
    }

    /// A finding at a place of this file.
    pub(super) fn finding(&self, severity: Severity, at: Position, message: String) -> Finding {
        Finding { severity, file: self.file.clone(), at: Some(at.into()), message, source: self.excerpt(at) }
    }

    /// The line of a place; nothing where the file has no such line.
    fn excerpt(&self, at: Position) -> Option<Excerpt> {
        let line = self.text.split('\n').nth(at.line.checked_sub(1)?)?;
        let line: Vec<char> = line.chars().map(shown).collect();
        let caret = at.column.saturating_sub(1).min(line.len());
        let width = extent(&line, caret);
        let line = match line.as_slice() {
            [rest @ .., '␍'] if caret < rest.len() => rest,
            whole => whole,
        };
        if line.len() <= LONGEST {
            return Some(Excerpt { line: line.iter().collect(), caret, width });
        }
        let start = caret.saturating_sub(BEFORE);
        let end = line.len().min(start + LONGEST);
        let mut part: String = if start > 0 { "…".to_owned() } else { String::new() };
        let caret = caret - start + part.chars().count();
        part.extend(line.get(start..end).unwrap_or_default());
        if end < line.len() {
            part.push('…');
        }
        let width = width.min(part.chars().count().saturating_sub(caret)).max(1);
        Some(Excerpt { line: part, caret, width })
    }
}

/// How many characters the YAML value or name at a place has. A guess from its line, for people.
fn extent(line: &[char], start: usize) -> usize {
    let rest = line.get(start..).unwrap_or_default();
    let before = line.get(..start).unwrap_or_default();
    let is_flow = before.iter().any(|c| matches!(c, '[' | '{'));
    let length = match rest.first() {
        None => 0,
        Some(quote @ ('"' | '\'')) => {
            rest.iter().skip(1).position(|c| c == quote).map_or(rest.len(), |closing| closing + 2)
        }
        Some(_) => (0..rest.len())
            .find(|at| {
                let (c, next) = (rest.get(*at), rest.get(at + 1).copied().unwrap_or(' '));
                match c {
                    Some(':') => next == ' ',
                    Some(' ') => next == '#',
                    Some(',' | ']' | '}') => is_flow,
                    _ => false,
                }
            })
            .unwrap_or(rest.len()),
    };
    let taken = rest.get(..length).unwrap_or_default();
    let blank = taken.iter().rev().take_while(|c| matches!(c, ' ' | '␍')).count();
    (taken.len() - blank).max(1)
}

/// One character for one, none of which moves a terminal's cursor or turns its text around.
fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{FFFD}'),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{FFFD}',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str, line: usize, column: usize) -> String {
        let excerpt = Source::new("f", text.as_bytes()).excerpt(Position { line, column }).unwrap();
        let line: Vec<char> = excerpt.line.chars().collect();
        assert!(line.len() <= LONGEST + 2);
        line.iter().skip(excerpt.caret).take(excerpt.width).collect()
    }

    #[test]
    fn the_value_or_name_at_a_place_is_marked() {
        let text = "a: b\nfiles:\n  - source: x y # why\n    destination: [u, \"v, w\", {k: 'l'}]\n";
        assert_eq!(marked(text, 1, 1), "a");
        assert_eq!(marked(text, 1, 4), "b");
        assert_eq!(marked(text, 3, 5), "source");
        assert_eq!(marked(text, 3, 13), "x y");
        assert_eq!(marked(text, 4, 19), "u");
        assert_eq!(marked(text, 4, 22), "\"v, w\"");
        assert_eq!(marked(text, 4, 31), "k");
        assert_eq!(marked("url: http://x\r\n", 1, 6), "http://x");
    }

    #[test]
    fn places_beyond_the_text_do_not_matter() {
        let source = Source::new("f", b"a\nb");
        assert!(source.excerpt(Position { line: 9, column: 1 }).is_none());
        assert!(source.excerpt(Position::END).is_none());
        let end = source.excerpt(Position { line: 2, column: 7 }).unwrap();
        assert_eq!((end.line.as_str(), end.caret, end.width), ("b", 1, 1));
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("{}: {}", "k".repeat(300), "v".repeat(300));
        assert_eq!(marked(&text, 1, 303).chars().next(), Some('v'));
        assert_eq!(marked(&text, 1, 1).chars().next(), Some('k'));
        assert!(
            Source::new("f", text.as_bytes()).excerpt(Position { line: 1, column: 303 }).unwrap().line.contains(": v")
        );
    }

    #[test]
    fn a_terminal_gets_nothing_to_act_on() {
        let excerpt =
            Source::new("f", b"a: \x1b[31m\tred\x7f \xe2\x80\xae").excerpt(Position { line: 1, column: 4 }).unwrap();
        assert_eq!(excerpt.line, "a: \u{241b}[31m red\u{2421} \u{FFFD}");
    }
}
