//! From bytes to the characters that YAML allows.

use super::{Findings, Position};

/// Decodes UTF-8, with or without a byte order mark, and looks for characters that YAML forbids; the
/// parser would take a NUL for the end of the file.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, Findings> {
    let refused = |at, expected: &str, found: String| {
        let mut findings = Findings::default();
        findings.add(at, expected, found);
        Err(findings)
    };
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return refused(Position::START, "a text in UTF-8", "UTF-16: save the file as UTF-8".to_owned());
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            let at = end_of(&String::from_utf8_lossy(valid));
            return refused(at, "a text in UTF-8", format!("the byte 0x{:02X}", rest.first().copied().unwrap_or(0)));
        }
    };
    let forbidden = |c: char| (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) || c == '\u{FEFF}';
    match text.find(forbidden) {
        None => Ok(text),
        Some(index) => {
            let (before, rest) = text.split_at(index);
            let code = rest.chars().next().map_or(0, u32::from);
            refused(end_of(before), "a text without control characters", format!("the character U+{code:04X}"))
        }
    }
}

/// The position of what follows a text.
fn end_of(text: &str) -> Position {
    let line_start = text.rfind('\n').map_or(0, |index| index + 1);
    Position { line: text.matches('\n').count() + 1, column: text[line_start..].chars().count() + 1 }
}
