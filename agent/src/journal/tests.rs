use super::*;
use crate::ids::{DeploymentId, GroupId};

fn begin() -> Record {
    Record::Begin(Begin {
        format: FORMAT,
        group: GroupId::parse("g").unwrap(),
        deployment: DeploymentId::parse("d-1").unwrap(),
        previous: None,
        filesystems: vec![],
        list: None,
    })
}

fn small(path: &Path) -> Vec<Record> {
    let records = vec![begin(), Record::Planned { steps: 0, rules: 0 }, Record::Prepared, Record::Commit];
    let mut journal = Journal::create(path).unwrap();
    journal.reserve(4096).unwrap();
    for record in &records {
        journal.append(record).unwrap();
        if !matches!(record, Record::Begin(_)) {
            journal.sync().unwrap();
        }
    }
    records
}

#[test]
fn records_are_read_back_and_appended_to() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("journal");
    let records = small(&path);
    let mut replay = Journal::open(&path).unwrap().unwrap();
    assert_eq!(replay.records, records);
    replay.affirm_commit().unwrap();
    replay.journal.append(&Record::Done).unwrap();
    replay.journal.sync().unwrap();
    let again = Journal::open(&path).unwrap().unwrap().records;
    assert_eq!(again.len(), 5);
    assert_eq!(again.last(), Some(&Record::Done));
    assert!(Journal::open(&temp.path().join("none")).unwrap().is_none());
}

#[test]
fn a_retracted_commit_is_gone_for_good() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("journal");
    small(&path);
    Journal::open(&path).unwrap().unwrap().retract_commit().unwrap();
    let replay = Journal::open(&path).unwrap().unwrap();
    assert_eq!(replay.records.last(), Some(&Record::Prepared));
}

#[test]
fn truncated_at_each_byte_it_is_a_prefix() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("journal");
    let records = small(&path);
    let whole = std::fs::read(&path).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mut replay = Journal::open(&path).unwrap().unwrap();
        assert!(records.starts_with(&replay.records));
        lengths.insert(replay.records.len());
        if replay.records.is_empty() {
            continue;
        }
        replay.journal.append(&Record::RolledBack).unwrap();
        replay.journal.sync().unwrap();
        let count = replay.records.len();
        let again = Journal::open(&path).unwrap().unwrap();
        assert_eq!((again.records.len(), again.records.last()), (count + 1, Some(&Record::RolledBack)));
    }
    assert_eq!(lengths.len(), records.len());
}

#[test]
fn each_bit_flipped_it_is_a_prefix_or_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("journal");
    let records = small(&path);
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    let (mut prefixes, mut refusals) = (0, 0);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &damaged).unwrap();
        match Journal::open(&path) {
            Ok(replay) => {
                let replay = replay.unwrap();
                assert!(records.starts_with(&replay.records) && replay.records.len() < records.len(), "bit {bit}");
                prefixes += 1;
            }
            Err(JournalError::Corrupt { .. }) => {
                assert_eq!(std::fs::read(&path).unwrap(), damaged, "a refusal touches nothing");
                refusals += 1;
            }
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    // Only the last two records are not counted as synced by a later one: the last, and (its newline
    // gone) the one before it.
    assert!(prefixes >= (whole.len() - last - 1) * 8, "{prefixes}");
    assert!(refusals > prefixes, "{refusals} refusals, {prefixes} prefixes");
}

#[test]
fn a_newer_format_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("journal");
    let Record::Begin(begin) = begin() else { unreachable!() };
    let mut journal = Journal::create(&path).unwrap();
    journal.append(&Record::Begin(Begin { format: FORMAT + 1, ..begin })).unwrap();
    journal.sync().unwrap();
    assert!(matches!(Journal::open(&path), Err(JournalError::Newer { .. })));
}

#[test]
fn a_torn_tail_of_unsynced_records_in_any_order_is_cut() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("journal");
    let mut journal = Journal::create(&path).unwrap();
    journal.append(&begin()).unwrap();
    journal.sync().unwrap();
    let synced = std::fs::read(&path).unwrap().len();
    journal.append(&Record::Planned { steps: 0, rules: 0 }).unwrap();
    journal.append(&Record::Prepared).unwrap();
    journal.flush().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[synced..synced + 20].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let replay = Journal::open(&path).unwrap().unwrap();
    assert_eq!(replay.records, [begin()]);
    assert_eq!(std::fs::read(&path).unwrap().len(), synced);
}
