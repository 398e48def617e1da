//! From a file to a document: the parser is asked again after each mistake that can be put right.

use std::borrow::Cow;

use saphyr_parser::{Parser, ScanError};

use super::builder::{Builder, Fatal, Next, fatal, position, too_deep};
use super::input::Characters;
use super::mend::{Certainty, Mended, mend};
use super::{Budget, Document, Finding, Findings, Position, text};

/// So often a mistake in the syntax is put right and the rest is read.
const MOST_MENDED: usize = 20;
/// So many bytes are read altogether: a long file less often.
const MOST_READ: usize = 8 << 20;

/// Reads the first document of a file. A mistake in the syntax that shows what its author meant is put right,
/// and the rest is read; any other ends the reading, as a spent budget does.
pub fn parse(bytes: &[u8], budget: Budget) -> Document {
    let refused = |findings| Document { root: None, findings, oddities: Vec::new() };
    if bytes.len() > budget.bytes {
        let mut findings = Findings::default();
        let found = format!("{} bytes", bytes.len());
        findings.add(Position::START, format!("a file of at most {} bytes", budget.bytes), found);
        return refused(findings);
    }
    match text::decode(bytes) {
        Ok(text) => read(text, budget),
        Err(findings) => refused(findings),
    }
}

fn read(text: &str, budget: Budget) -> Document {
    let mut mistakes = Findings::default();
    let mut mended = Cow::Borrowed(text);
    let mut guessed = false;
    for _ in 0..MOST_MENDED.min(MOST_READ / text.len().max(1)) {
        let (built, stop) = build(&mended, budget);
        let error = match stop {
            None => return built.document(mistakes, guessed),
            Some(Stop::Fatal(fatal)) => return built.stopped(mistakes, Some(fatal)),
            Some(Stop::Syntax(error)) => error,
        };
        match mend(&mended, position(error.marker()), error.info()) {
            // Where the text was guessed at, nothing but the mistakes of single lines is the author's.
            None if guessed => return built.stopped(mistakes, None),
            None => return built.stopped(mistakes, Some(syntax_error(&error))),
            Some(Mended { text, certainty: Certainty::ByLayout, .. }) if guessed => mended = Cow::Owned(text),
            Some(Mended { mistakes: found, text, certainty }) => {
                for Finding { at, expected, found } in found {
                    mistakes.add(at, expected, found);
                }
                guessed |= certainty == Certainty::Guess;
                mended = Cow::Owned(text);
            }
        }
    }
    Document { root: None, findings: mistakes, oddities: Vec::new() }
}

/// Why a text was not built to its end.
enum Stop {
    Fatal(Fatal),
    Syntax(ScanError),
}

fn build(text: &str, budget: Budget) -> (Builder, Option<Stop>) {
    let mut builder = Builder::new(budget);
    let mut parser = Parser::new(Characters::of(text));
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => builder.take(event, span),
            // Its own limit; it looks ahead, so it can come to it before the builder comes to ours.
            Err(error) if error.info() == "recursion limit exceeded" => {
                Err(too_deep(position(error.marker()), &budget))
            }
            Err(error) => return (builder, Some(Stop::Syntax(error))),
        };
        match taken {
            Ok(Next::More) => {}
            Ok(Next::End) => break,
            Err(fatal) => return (builder, Some(Stop::Fatal(fatal))),
        }
    }
    (builder, None)
}

/// The parser's own words, where nothing better is known.
fn syntax_error(error: &ScanError) -> Fatal {
    fatal(position(error.marker()), "YAML", format!("a mistake in its syntax ({})", error.info()))
}
