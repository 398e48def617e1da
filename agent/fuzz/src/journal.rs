//! A genuine journal that was damaged, and any bytes in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use slipway_agent::journal::{Journal, JournalError, Record, Replay};

use crate::{edits, place};

/// Of an install that was cut off after its commit.
const GENUINE: &[u8] = include_bytes!("../genuine/journal");

/// `E` and changes of the genuine journal; anything else is a journal by itself.
pub fn check(data: &[u8]) {
    match data {
        [b'E', edits @ ..] => {
            let records = replay(&edits::overwrite(GENUINE, edits));
            assert!(genuine().starts_with(&records), "{records:?}");
        }
        bytes => {
            replay(bytes);
        }
    }
}

fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| place::own("journal").join("journal"))
}

fn genuine() -> &'static [Record] {
    static RECORDS: OnceLock<Vec<Record>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let records = replay(GENUINE);
        assert!(records.contains(&Record::Commit) && records.len() > 10, "{records:?}");
        records
    })
}

/// Answers the readable records; nothing where the journal is refused, which leaves it as it is.
fn replay(bytes: &[u8]) -> Vec<Record> {
    let mut replay = match put_and_open(bytes) {
        Ok(replay) => replay,
        Err(JournalError::Disk(error)) => panic!("{error}"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(read(), bytes, "a refusal touches nothing");
            return Vec::new();
        }
    };
    let kept = read();
    assert!(bytes.starts_with(&kept), "only a torn end is cut off");
    let records = std::mem::take(&mut replay.records);
    replay.affirm_commit().expect("a commit that can be written again");
    assert_eq!(read(), kept);
    if !records.is_empty() {
        replay.journal.append(&Record::RolledBack).expect("an append");
        replay.journal.sync().expect("a sync");
        drop(replay);
        let again = open().expect("a whole journal").records;
        assert_eq!(again.split_last(), Some((&Record::RolledBack, &records[..])));
    }
    let mut retracted = put_and_open(bytes).expect("the same again");
    assert_eq!(retracted.records, records);
    retracted.retract_commit().expect("a commit that can be taken back");
    drop(retracted);
    let left = open().expect("what is before the commit").records;
    let expected = records.iter().position(|record| *record == Record::Commit).unwrap_or(records.len());
    assert_eq!(left, records[..expected]);
    records
}

fn put_and_open(bytes: &[u8]) -> Result<Replay, JournalError> {
    fs::write(path(), bytes).expect("a file");
    open()
}

fn open() -> Result<Replay, JournalError> {
    Ok(Journal::open(path())?.expect("the file is there"))
}

fn read() -> Vec<u8> {
    fs::read(path()).expect("a file")
}
