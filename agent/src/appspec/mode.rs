//! Permission bits as authors write them.

use std::fmt;

/// Permission bits, at most `0o7777`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// Parses one to four octal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if octal { u32::from_str_radix(text, 8).ok().map(Self) } else { None }
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_four_octal_digits() {
        for (text, bits) in [("7", 0o7), ("44", 0o44), ("644", 0o644), ("0644", 0o644), ("4755", 0o4755)] {
            assert_eq!(Mode::parse(text).map(Mode::bits), Some(bits), "{text}");
        }
        for text in ["", "8", "689", "00644", "0o644", "-644", "+644", "u+x", "６４４"] {
            assert_eq!(Mode::parse(text), None, "{text:?}");
        }
        assert_eq!(Mode::parse("44").unwrap().to_string(), "0044");
    }
}
