//! Any bytes as a list of digests.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use slipway_agent::store::Digests;

use crate::place;

/// `C` and what follows gets the checksum that it should have; anything else is a list by itself. What is
/// read can be written and read again.
pub fn check(data: &[u8]) {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| place::own("digests").join("list"));
    let list = match data {
        [b'C', records @ ..] => [records, &crc32c::crc32c(records).to_le_bytes()].concat(),
        bytes => bytes.to_vec(),
    };
    fs::write(path, list).expect("a file");
    let read = Digests::read(path);
    read.write(path, []).expect("a list");
    let again = Digests::read(path);
    // One that says nothing is written as an empty one, whatever it was.
    assert!(is_empty(&read) == is_empty(&again) && (is_empty(&read) || shown(&read) == shown(&again)));
}

fn shown(digests: &Digests) -> String {
    format!("{digests:?}")
}

fn is_empty(digests: &Digests) -> bool {
    shown(digests).contains("starts: []")
}
