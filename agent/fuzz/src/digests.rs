//! Any bytes as a list of digests.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use slipway_agent::store::Digests;

use crate::place;

/// `C` and what follows is a line and parts, each as its length in two bytes and its records, which get the lengths and
/// checksums that they should have; anything else is a list by itself. What is read can be written, and is read the
/// same.
pub fn check(data: &[u8]) {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| place::own("digests").join("list"));
    fs::write(path, list(data)).expect("a file");
    let read = Digests::read(path);
    read.write(path, []).expect("a list");
    let again = Digests::read(path);
    assert!(read.all().eq(again.all()), "{read:?} is {again:?}");
}

fn list(data: &[u8]) -> Vec<u8> {
    let [b'C', text @ ..] = data else { return data.to_vec() };
    let line = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
    let (line, mut parts) = text.split_at(line);
    let mut list = line.to_vec();
    while let Some((length, rest)) = parts.split_first_chunk() {
        let (records, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
        let part = [&(records.len() as u64).to_le_bytes(), records].concat();
        list.extend_from_slice(&part);
        list.extend_from_slice(&crc32c::crc32c(&part).to_le_bytes());
        parts = rest;
    }
    list
}
