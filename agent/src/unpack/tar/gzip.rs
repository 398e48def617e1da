//! Decompressing gzip as `gzip` itself does: members one after another, then zeros up to the end, which tapes and
//! block-wise copies leave there.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Reads what several gzip members hold.
pub(super) struct Gunzip<R: BufRead> {
    /// None only after an error.
    member: Option<GzDecoder<R>>,
    /// Whether what is read now follows a whole member.
    follows: bool,
}

impl<R: BufRead> Gunzip<R> {
    pub fn new(compressed: R) -> Self {
        Self { member: Some(GzDecoder::new(compressed)), follows: false }
    }

    /// The next member; nothing at the end.
    fn next(mut compressed: R) -> io::Result<Option<GzDecoder<R>>> {
        let first = compressed.fill_buf()?.first().copied();
        match first {
            None => Ok(None),
            Some(0) => skip_zeros(compressed).map(|()| None),
            Some(0x1f) => Ok(Some(GzDecoder::new(compressed))),
            Some(_) => Err(appended()),
        }
    }
}

fn appended() -> io::Error {
    let what = "bytes that are not gzip follow the end of its compressed data; remove what was appended to the file";
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn skip_zeros(mut compressed: impl BufRead) -> io::Result<()> {
    loop {
        let buffer = compressed.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        if buffer.iter().any(|byte| *byte != 0) {
            return Err(appended());
        }
        let length = buffer.len();
        compressed.consume(length);
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            // The first bytes are no member's header.
            let is_other = |error: &io::Error| self.follows && error.kind() == io::ErrorKind::InvalidInput;
            let got = member.read(buffer).map_err(|error| if is_other(&error) { appended() } else { error })?;
            if got > 0 || buffer.is_empty() {
                return Ok(got);
            }
            let Some(ended) = self.member.take() else { break };
            self.member = Self::next(ended.into_inner())?;
            self.follows = true;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(compressed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        // A small buffer: what follows a member is in another one.
        Gunzip::new(io::BufReader::with_capacity(7, compressed)).read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn members_are_joined_and_zeros_at_the_end_mean_nothing() {
        let (one, two) = (gzip(b"one "), gzip(b"two"));
        assert_eq!(gunzip(&[&one[..], &two].concat()).unwrap(), b"one two");
        for zeros in [1, 512, 100_000] {
            assert_eq!(gunzip(&[&one[..], &two, &vec![0; zeros]].concat()).unwrap(), b"one two", "{zeros}");
        }
    }

    #[test]
    fn anything_else_at_the_end_is_an_error() {
        let one = gzip(b"one");
        for rest in [&b"x"[..], b"\x1f\x8b", b"\0\0x", &[&b"\0"[..], &one].concat()] {
            assert!(gunzip(&[&one[..], rest].concat()).is_err(), "{rest:?}");
        }
        for rest in [&b"signature"[..], b"<html>", b"\0\0x"] {
            let error = gunzip(&[&one[..], rest].concat()).unwrap_err().to_string();
            assert!(error.contains("not gzip") && error.contains("appended"), "{error}");
        }
        assert!(gunzip(&one[..one.len() - 1]).is_err() && gunzip(b"").is_err());
    }
}
