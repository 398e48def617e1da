//! What a signer says of a signed bundle: words of the trusted comment, which is signed with it.

use jiff::Timestamp;

/// Words that are understood; everything else in the comment is for people.
const EXPIRES: &str = "expires:";
const SEQUENCE: &str = "sequence:";

/// What the words say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// From when on the bundle is not to be deployed any more.
    pub expires: Option<Timestamp>,
    /// Its number among the signer's bundles of a group; a newer one has a higher number.
    pub sequence: Option<u64>,
}

/// A word that is meant for the agent and cannot be understood. It is never ignored: its signer relies on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear {
    pub(super) word: String,
    pub(super) expected: &'static str,
}

impl Claims {
    /// Reads the words of a trusted comment.
    pub(super) fn parse(comment: &str) -> Result<Self, Unclear> {
        let mut claims = Self::default();
        for word in comment.split_whitespace() {
            if let Some(text) = word.strip_prefix(EXPIRES) {
                let time = text.parse().map_err(|_| unclear(word, "a time such as expires:2027-01-31T00:00:00Z"))?;
                once(&mut claims.expires, time, word)?;
            } else if let Some(text) = word.strip_prefix(SEQUENCE) {
                let number = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let number = number.and_then(|text| text.parse().ok());
                once(&mut claims.sequence, number.ok_or_else(|| unclear(word, "a number such as sequence:42"))?, word)?;
            }
        }
        Ok(claims)
    }
}

fn once<T>(place: &mut Option<T>, value: T, word: &str) -> Result<(), Unclear> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(unclear(word, "one such word")),
    }
}

fn unclear(word: &str, expected: &'static str) -> Unclear {
    Unclear { word: word.chars().filter(|c| !c.is_control()).take(100).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_among_others() {
        let parse = |text| Claims::parse(text).unwrap();
        assert_eq!(parse("timestamp:1712345678\tfile:shop.tgz\thashed"), Claims::default());
        assert_eq!(parse("shop 7, no expiry: or sequences"), Claims::default());
        let both = parse("shop 7 sequence:42\texpires:2027-01-31T01:00:00+01:00");
        assert_eq!(both.sequence, Some(42));
        assert_eq!(both.expires.unwrap().to_string(), "2027-01-31T00:00:00Z");
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for text in [
            "sequence:",
            "sequence:x",
            "sequence:+4",
            "sequence:-1",
            "sequence:18446744073709551616",
            "sequence:1 sequence:1",
            "expires:soon",
            "expires:2027-01-31",
            "expires:2027-01-31T00:00:00",
            "expires:2027-01-31T00:00:00Z expires:2028-01-31T00:00:00Z",
        ] {
            assert!(Claims::parse(text).is_err(), "{text}");
        }
    }
}
