//! Mistakes in the syntax that show what their author meant.
//!
//! The parser tells where it cannot go on, which often is the line below the mistake. What is wrong is looked
//! for in the lines from there upwards, put right, and said with its own place; lines keep their numbers.
//! Nothing of a value is shown: a configuration has secrets.

use super::align::align;
use super::lines::{Line, Lines, begins_blank, without_comment};
use super::{Finding, Position};

/// A text without one of its mistakes.
pub(super) struct Mended {
    /// Where they were, and what was expected there.
    pub mistakes: Vec<Finding>,
    pub text: String,
    pub certainty: Certainty,
}

/// How much the text now says what its author meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The line shows it by itself.
    ByItself,
    /// The lines around it show it.
    ByLayout,
    /// That it goes on at all is worth something, what it says is not.
    Guess,
}

/// How many lines above the parser's place can be the wrong one.
const LOOKED_AT: usize = 3;

/// Looks for the mistake that keeps the parser from going on at a place, and puts it right.
pub(super) fn mend(text: &str, at: Position, info: &str) -> Option<Mended> {
    let lines = &Lines::of(text);
    conflicts(lines).or_else(|| tabs(lines, at.line)).or_else(|| {
        if info.contains("unknown anchor") || info.contains("unexpected character") {
            unquoted(lines, at)
        } else if info.contains("in quoted scalar") || info.contains("scanning a quoted scalar") {
            open_quote(lines, at)
        } else if info.contains("flow") || info.contains("node content") || info.contains("illegal placement") {
            open_bracket(lines, at)
        } else if info.contains("<document start>") {
            indented_start(lines, at.line)
        } else if ["simple key", "mapping values", "expected key", "'-' indicator"].iter().any(|it| info.contains(it)) {
            let near = lines.get(at.line).into_iter().chain(lines.above(at.line).take(LOOKED_AT));
            near.filter_map(|line| word(lines, line, at)).next().or_else(|| {
                if info.contains("mapping values") { second_colon(lines, at) } else { None }
                    .or_else(|| align(lines, at.line))
            })
        } else {
            None
        }
    })
}

fn one(mistake: (Position, String, &str), text: String, certainty: Certainty) -> Option<Mended> {
    let (at, expected, found) = mistake;
    Some(Mended { mistakes: vec![Finding { at, expected, found: found.to_owned() }], text, certainty })
}

/// What a merge left: one side is kept, the lines of the other and the marks become blank.
fn conflicts(lines: &Lines<'_>) -> Option<Mended> {
    let is_mark =
        |line: &str, mark: &str| line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || begins_blank(rest));
    let (mut blank, mut mistakes) = (Vec::new(), Vec::new());
    let mut is_dropped = false;
    for Line { number, text, .. } in lines.iter() {
        let ends = is_mark(text, ">>>>>>>");
        if is_mark(text, "<<<<<<<") {
            mistakes.push(Finding {
                at: Position { line: number, column: 1 },
                expected: "a file without merge conflicts".to_owned(),
                found: "one: keep one of its sides, and remove the lines that begin with `<<<<<<<`, `=======` and \
                        `>>>>>>>`"
                    .to_owned(),
            });
            blank.push(number);
        } else if !mistakes.is_empty() && (is_dropped || ends || text == "=======" || is_mark(text, "|||||||")) {
            blank.push(number);
            is_dropped = !ends;
        }
    }
    let text = lines.with(|line| blank.binary_search(&line.number).is_ok().then(String::new));
    (!mistakes.is_empty()).then_some(Mended { mistakes, text, certainty: Certainty::ByItself })
}

/// Tabs before a line's first word; the parser places one at what follows it, or at the end of the line before.
fn tabs(lines: &Lines<'_>, near: usize) -> Option<Mended> {
    let tab = |line: Line<'_>| {
        let blank = &line.text[..line.text.len() - line.text.trim_start().len()];
        if line.is_blank() { None } else { blank.find('\t') }
    };
    let is_near = (near.saturating_sub(1)..=near + 1).any(|number| lines.get(number).and_then(tab).is_some());
    let mistakes: Vec<Finding> = lines
        .iter()
        .filter_map(|line| {
            let at = Position { line: line.number, column: tab(line)? + 1 };
            Some(Finding { at, expected: "spaces for indentation".to_owned(), found: "a tab".to_owned() })
        })
        .collect();
    let text = lines.with(|line| {
        tab(line)?;
        let content = line.text.trim_start();
        let blank = &line.text[..line.text.len() - content.len()];
        Some(blank.replace('\t', "  ") + content)
    });
    is_near.then_some(Mended { mistakes, text, certainty: Certainty::Guess })
}

/// A key without its colon, or without a blank behind it; a dash without one.
fn word(lines: &Lines<'_>, line: Line<'_>, at: Position) -> Option<Mended> {
    if line.is_blank() {
        return None;
    }
    let place = |index: usize| Position { line: line.number, column: index + 1 };
    let replaced = |from: usize, to: usize, by: &str| {
        let text = format!("{}{by}{}", &line.text[..from], &line.text[to..]);
        lines.with(|other| (other.number == line.number).then(|| text.clone()))
    };
    let behind_dash =
        line.content().strip_prefix('-').filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    if let Some(rest) = behind_dash
        && rest.contains(':')
    {
        let from = line.start + 1;
        let mistake = (place(from), "a space after the dash".to_owned(), "none");
        return one(mistake, replaced(from, from, " "), Certainty::ByItself);
    }
    let key = line.key()?;
    let (name, end) = (key.name, line.start + key.name.len());
    if let Some(value) = key.rest.strip_prefix(':')
        && let Some(first) = value.chars().next()
        && !begins_blank(value)
        && !value.starts_with("//")
    {
        let found = if first == '\u{A0}' { "a no-break space" } else { "none" };
        let skipped = if first == '\u{A0}' { first.len_utf8() } else { 0 };
        let mistake = (place(end + 1), format!("a space after the colon of `{name}`"), found);
        return one(mistake, replaced(end + 1, end + 1 + skipped, " "), Certainty::ByItself);
    }
    let is_next = line.number == at.line || lines.above(at.line).any(|above| above.number == line.number);
    if key.is_whole() || !is_next || continues(lines, line) {
        return None;
    }
    if let Some(value) = key.rest.trim_start_matches(' ').strip_prefix('=') {
        let (from, to) = (end, line.start + line.content().len() - value.len());
        let mistake = (place(from), format!("a colon after `{name}`"), "`=`");
        return one(mistake, replaced(from, to, ": "), Certainty::ByItself);
    }
    let has_colon = key.rest.contains(": ") || key.rest.ends_with(':');
    if line.number != at.line && !has_colon && (key.rest.is_empty() || begins_blank(key.rest)) {
        let mistake = (place(end), format!("a colon after `{name}`"), "none");
        return one(mistake, replaced(end, end, ":"), Certainty::ByLayout);
    }
    None
}

/// Whether a line is the rest of the value above it.
fn continues(lines: &Lines<'_>, line: Line<'_>) -> bool {
    let above = lines.above(line.number).next();
    above.is_some_and(|above| {
        let has_value = above.key().is_some_and(|key| key.value().is_some_and(|value| !value.is_empty()));
        !line.has_dash() && has_value && line.indent > above.start
    })
}

/// A value with a colon and a blank in it.
fn second_colon(lines: &Lines<'_>, at: Position) -> Option<Mended> {
    let line = lines.get(at.line)?;
    let key = line.key()?;
    let value = key
        .value()
        .filter(|value| value.contains(": ") && !value.starts_with(['"', '\'', '[', '{', '&', '*', '|', '>']))?;
    let start = line.start + line.content().len() - value.len();
    let mistake = (
        Position { line: at.line, column: start + 1 },
        "quotes around a text that holds a colon and a space".to_owned(),
        "none",
    );
    one(mistake, with_quotes(lines, line, start, value), Certainty::ByItself)
}

/// A value that begins with a character that means something.
fn unquoted(lines: &Lines<'_>, at: Position) -> Option<Mended> {
    let line = lines.get(at.line)?;
    let start = byte_of(line, at.column)?;
    let (before, rest) = (&line.text[..start], &line.text[start..]);
    let first = rest.chars().next().filter(|first| matches!(first, '*' | '@' | '`' | '%'))?;
    if before.trim().is_empty() {
        return None;
    }
    let flow = if before.contains(['[', '{']) { rest.find([',', ']', '}']) } else { None };
    let value = without_comment(&rest[..flow.unwrap_or(rest.len())]);
    let shown = if first == '`' { "a backquote".to_owned() } else { format!("`{first}`") };
    let mistake = (at, format!("quotes around a text that begins with {shown}"), "none");
    one(mistake, with_quotes(lines, line, start, value), Certainty::ByItself)
}

fn with_quotes(lines: &Lines<'_>, line: Line<'_>, start: usize, value: &str) -> String {
    let behind = &line.text[start + value.len()..];
    let text = format!("{}'{}'{behind}", &line.text[..start], value.replace('\'', "''"));
    lines.with(|other| (other.number == line.number).then(|| text.clone()))
}

/// A quote that no second one ends.
fn open_quote(lines: &Lines<'_>, at: Position) -> Option<Mended> {
    let line = lines.get(at.line)?;
    let quoted = &line.text[byte_of(line, at.column)?..];
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    if quoted[1..].contains(quote) {
        return None;
    }
    let text = lines.with(|other| (other.number == line.number).then(|| format!("{}{quote}", line.text)));
    let (certainty, sign) = (Certainty::ByItself, if quote == '"' { "double" } else { "single" });
    one((at, format!("a second {sign} quote that ends this text"), "none"), text, certainty)
}

/// A list or mapping in brackets that nothing closes, where the parser came to the next key.
fn open_bracket(lines: &Lines<'_>, at: Position) -> Option<Mended> {
    let mut open: Vec<(Position, char)> = Vec::new();
    for line in lines.iter().take_while(|line| line.number <= at.line) {
        let mut quote = None;
        for (c, column) in without_comment(line.text).chars().zip(1..) {
            let here = Position { line: line.number, column };
            match (quote, c) {
                _ if here >= at => break,
                (Some(quoting), c) if c == quoting => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '[' | '{') => open.push((here, c)),
                (None, ']' | '}') => drop(open.pop()),
                _ => {}
            }
        }
    }
    let (place, bracket) = open.last().copied()?;
    let closing = if bracket == '[' { ']' } else { '}' };
    let text =
        lines.with(|line| (line.number == place.line).then(|| format!("{}{closing}", without_comment(line.text))));
    one((place, format!("a `{closing}` for this `{bracket}`"), "none"), text, Certainty::Guess)
}

/// A file whose first keys are indented, where a later one is not.
fn indented_start(lines: &Lines<'_>, until: usize) -> Option<Mended> {
    let first = lines.iter().find(|line| !line.is_blank())?;
    let key = first.key().filter(|_| first.indent > 0 && first.number < until)?;
    let text = lines.with(|line| {
        let taken = line.indent.min(first.indent);
        (line.number < until).then(|| line.text[taken..].to_owned())
    });
    let at = Position { line: first.number, column: first.indent + 1 };
    let expected = format!("`{}` in column 1, as the keys that follow it", key.name);
    let found = format!("it in column {}", first.indent + 1);
    Some(Mended { mistakes: vec![Finding { at, expected, found }], text, certainty: Certainty::ByLayout })
}

/// Where the character of a column, from 1, begins in its line.
fn byte_of(line: Line<'_>, column: usize) -> Option<usize> {
    line.text.char_indices().nth(column.checked_sub(1)?).map(|(index, _)| index)
}
