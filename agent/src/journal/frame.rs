//! The bytes of a record: length and CRC-32C of the JSON in hexadecimal, the JSON, a newline.
//!
//! ```text
//! 0000002d 5a1e08f3 {"covered":0,"record":{"what":"commit"}}
//! ```

use serde::{Deserialize, Serialize};

use super::record::Record;

/// Length, space, checksum, space.
const HEADER: usize = 18;

#[derive(Serialize)]
struct Written<'a> {
    covered: usize,
    record: &'a Record,
}

/// A record as it was read.
#[derive(Debug, Deserialize)]
pub(super) struct Frame {
    /// How many records a sync had covered when this one was written.
    pub(super) covered: usize,
    /// The record.
    pub(super) record: Record,
}

/// The readable beginning of a journal.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// The records, each with the offset of its first byte.
    pub(super) frames: Vec<(u64, Frame)>,
    /// Where the first bad record begins, or the end.
    pub(super) end: u64,
}

/// A record that had been synced is not readable any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Corrupt {
    /// Its number, from 0.
    pub(super) number: usize,
    /// Its first byte.
    pub(super) offset: u64,
}

/// Appends a record's bytes.
pub(super) fn encode(covered: usize, record: &Record, bytes: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let json = serde_json::to_vec(&Written { covered, record })?;
    bytes.extend_from_slice(format!("{:08x} {:08x} ", json.len(), crc32c::crc32c(&json)).as_bytes());
    bytes.extend_from_slice(&json);
    bytes.push(b'\n');
    Ok(())
}

/// Reads records up to the first bad one. That one was being written when the machine stopped, unless
/// a record after it says that it had been synced.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, Corrupt> {
    let (decoded, corrupt) = split(bytes);
    corrupt.map_or(Ok(decoded), Err)
}

/// The records before the first bad one, and whether that had been synced.
pub(super) fn readable(bytes: &[u8]) -> (Vec<Frame>, Option<Corrupt>) {
    let (decoded, corrupt) = split(bytes);
    (decoded.frames.into_iter().map(|(_, frame)| frame).collect(), corrupt)
}

fn split(bytes: &[u8]) -> (Decoded, Option<Corrupt>) {
    let mut decoded = Decoded::default();
    let mut rest = bytes;
    while let Some((frame, length)) = one(rest) {
        decoded.frames.push((decoded.end, frame));
        decoded.end += length as u64;
        rest = rest.get(length..).unwrap_or_default();
    }
    let number = decoded.frames.len();
    // JSON holds no newline, so a later record begins after one.
    let later = rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    for (at, _) in later {
        if let Some((frame, _)) = one(rest.get(at + 1..).unwrap_or_default())
            && frame.covered > number
        {
            let offset = decoded.end;
            return (decoded, Some(Corrupt { number, offset }));
        }
    }
    (decoded, None)
}

fn one(bytes: &[u8]) -> Option<(Frame, usize)> {
    let header = bytes.get(..HEADER)?;
    let length = hexadecimal(header.get(..8)?)? as usize;
    let checksum = hexadecimal(header.get(9..17)?)?;
    let spaces = header.get(8) == Some(&b' ') && header.get(17) == Some(&b' ');
    let json = bytes.get(HEADER..HEADER.checked_add(length)?)?;
    let ended = bytes.get(HEADER + length) == Some(&b'\n');
    if !spaces || !ended || crc32c::crc32c(json) != checksum {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, HEADER + length + 1))
}

/// Lower case alone, as it is written: a flipped bit must not go unseen.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u32::from(digit))
    })
}
