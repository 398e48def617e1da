//! Lines of text, made of what a script writes.

/// A longer line is continued on the next one, so that a line without end takes no memory without end.
const MAX_LINE: usize = 8 << 10;

/// A line of a script's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Without what a terminal would obey.
    pub text: String,
    /// How many states of the line came before this one: those that a carriage return ended, as of a progress bar.
    pub state: usize,
}

/// Makes lines of bytes: terminal escapes and control characters go, what a carriage return would have a terminal
/// overwrite is a line of its own, what is not UTF-8 becomes U+FFFD.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    escape: Escape,
    returned: bool,
    state: usize,
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
    /// Takes bytes, and gives the lines that end in them.
    pub(super) fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Line)) {
        for &byte in bytes {
            if self.swallowed(byte) {
                continue;
            }
            match byte {
                b'\n' => self.flush(&mut emit),
                b'\r' => self.returned = true,
                _ => {
                    if std::mem::take(&mut self.returned) && !self.line.is_empty() {
                        self.emit(&mut emit);
                        self.state += 1;
                    }
                    self.line.push(byte);
                    if self.line.len() >= MAX_LINE {
                        self.split(&mut emit);
                    }
                }
            }
        }
    }

    /// Gives a last line that has no end.
    pub(super) fn end(&mut self, mut emit: impl FnMut(Line)) {
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

    fn flush(&mut self, emit: &mut impl FnMut(Line)) {
        self.emit(emit);
        self.returned = false;
        self.state = 0;
    }

    fn emit(&mut self, emit: &mut impl FnMut(Line)) {
        emit(Line { text: cleaned(&self.line), state: self.state });
        self.line.clear();
    }

    /// Emits what is there, but keeps a character whose end has not come yet.
    fn split(&mut self, emit: &mut impl FnMut(Line)) {
        let whole = match std::str::from_utf8(&self.line) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.line.len(),
        };
        let rest = self.line.split_off(whole);
        self.emit(emit);
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
            lines.feed(piece, |line| found.push(line.text));
        }
        lines.end(|line| found.push(line.text));
        found
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        let rows: [(&[u8], &str); 8] = [
            (b"\x1b[1;31mred\x1b[0m\n", "red"),
            (b"\x1b]0;title\x07text\n", "text"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "link"),
            (b"\x1b(Bplain\x1bM\n", "plain"),
            (b"bell\x07 tab\tnul\0\n", "bell tab\tnul"),
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
    fn what_a_carriage_return_would_overwrite_is_a_line_of_its_own() {
        let rows: [(&[u8], &[&str]); 6] = [
            (b"10%\r50%\r100%\nnext\n", &["10%", "50%", "100%", "next"]),
            (b"x.sh: 2: cd\r: not found\r\n", &["x.sh: 2: cd", ": not found"]),
            (b"\r 1\r\x1b[K 2\n", &[" 1", " 2"]),
            (b"a\r\r\r\nb\r", &["a", "b"]),
            (b"\r\n\r\r\n", &["", ""]),
            (b"one\rlonger than one\r\x1b[2Ktwo", &["one", "longer than one", "two"]),
        ];
        for (input, expected) in rows {
            assert_eq!(lines(&[input]), expected, "{input:?}");
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            assert_eq!(lines(&bytes), expected, "{input:?} byte by byte");
        }
        let mut states = Vec::new();
        Lines::default().feed(b"1\r2\r3\n4\n", |line| states.push(line.state));
        assert_eq!(states, [0, 1, 2, 0]);
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
}
