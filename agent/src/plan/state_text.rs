//! States and digests in JSON, by hand where a derived way would copy each member of some hundred thousand
//! states once more.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::path_text;
use super::state::{Attrs, PathState, Sha256, Time};

/// What any state may have. The one that says which comes first or last: a tagged enum has to keep all
/// members until it knows.
#[derive(Deserialize)]
pub(super) struct Members {
    is: Is,
    attrs: Option<Attrs>,
    modified: Option<Time>,
    size: Option<u64>,
    sha256: Option<Sha256>,
    uid: Option<u32>,
    gid: Option<u32>,
    #[serde(default, with = "path_text::option")]
    target: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Is {
    Absent,
    File,
    Directory,
    Symlink,
    Other,
}

/// A member that the kind of state has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state lacks {0:?}")]
pub(super) struct Missing(&'static str);

impl TryFrom<Members> for PathState {
    type Error = Missing;

    fn try_from(members: Members) -> Result<Self, Missing> {
        let attrs = members.attrs.ok_or(Missing("attrs"));
        Ok(match members.is {
            Is::Absent => Self::Absent,
            Is::Other => Self::Other,
            Is::Directory => Self::Directory { attrs: attrs? },
            Is::File => Self::File {
                attrs: attrs?,
                modified: members.modified.ok_or(Missing("modified"))?,
                size: members.size.ok_or(Missing("size"))?,
                sha256: members.sha256,
            },
            Is::Symlink => Self::Symlink {
                uid: members.uid.ok_or(Missing("uid"))?,
                gid: members.gid.ok_or(Missing("gid"))?,
                target: members.target.ok_or(Missing("target"))?,
            },
        })
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(std::str::from_utf8(&digits).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Digits)
    }
}

/// What each byte is worth as a hexadecimal digit; 255 if it is none. Some hundred thousand digests are read at once.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        values[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

struct Digits;

impl Visitor<'_> for Digits {
    type Value = Sha256;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("64 hexadecimal digits")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Sha256, E> {
        let mut digest = [0; 32];
        let pairs = text.as_bytes().as_chunks::<2>();
        if pairs.0.len() == digest.len() && pairs.1.is_empty() {
            let mut all = 0;
            for (byte, [high, low]) in digest.iter_mut().zip(pairs.0) {
                let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
                all |= high | low;
                *byte = high << 4 | (low & 0xf);
            }
            if all < 16 {
                return Ok(Sha256(digest));
            }
        }
        // In words that say what is wrong.
        hex::decode_to_slice(text, &mut digest).map_err(E::custom)?;
        Ok(Sha256(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_as_it_was_written() {
        let attrs = Attrs::new(1, 2, 0o640);
        let file = |sha256| PathState::File { attrs: attrs.clone(), modified: Time(-3, 4), size: 5, sha256 };
        let symlink = PathState::Symlink { uid: 1, gid: 2, target: "../there".into() };
        for state in [
            PathState::Absent,
            PathState::Other,
            PathState::Directory { attrs: attrs.clone() },
            file(None),
            file(Some(Sha256([0xab; 32]))),
            symlink,
        ] {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<PathState>(&text).unwrap(), state, "{text}");
        }
        let text = serde_json::to_string(&file(Some(Sha256([0xab; 32])))).unwrap();
        let digest = "ab".repeat(32);
        assert_eq!(
            text,
            format!(
                r#"{{"is":"file","attrs":{{"uid":1,"gid":2,"mode":416}},"modified":[-3,4],"size":5,"sha256":"{digest}"}}"#
            )
        );
    }

    #[test]
    fn what_lacks_something_is_refused() {
        for (text, said) in [
            ("{}", "missing field `is`"),
            (r#"{"is":"fifo"}"#, "unknown variant `fifo`"),
            (r#"{"is":"directory"}"#, "the state lacks \"attrs\""),
            (r#"{"is":"file","attrs":{"uid":1,"gid":2,"mode":416},"size":5}"#, "the state lacks \"modified\""),
            (r#"{"is":"symlink","uid":1,"gid":2}"#, "the state lacks \"target\""),
            (r#"{"is":"file","sha256":"ab"}"#, "Invalid string length"),
            (r#"{"is":"file","sha256":"\u0041"}"#, "Odd number of digits"),
        ] {
            let error = serde_json::from_str::<PathState>(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
