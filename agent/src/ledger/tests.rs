#![allow(clippy::disallowed_methods, reason = "tests arrange files and processes by themselves")]

use super::*;
use crate::disk::fault;
use crate::ids::{DeploymentId, GroupId};
use crate::outcome::Failure;

fn received(command: &str) -> Received {
    Received { command: HostCommandId::new(command), name: "Install".into(), execution: "a/b/c/d".into() }
}

fn work() -> Work {
    Work {
        deployment: DeploymentId::parse("d-1").unwrap(),
        group: GroupId::parse("g-1").unwrap(),
        spec_sha256: "00".repeat(32),
    }
}

fn id(command: &str) -> HostCommandId {
    HostCommandId::new(command)
}

fn ledger() -> (tempfile::TempDir, Layout, Ledger) {
    let temp = tempfile::tempdir().unwrap();
    let layout = Layout::new(temp.path());
    let ledger = Ledger::open(&layout).unwrap();
    (temp, layout, ledger)
}

#[test]
fn a_result_waits_in_the_outbox_until_it_is_reported_across_restarts() {
    let (_temp, layout, ledger) = ledger();
    let long = "x/+=".repeat(100);
    ledger.begin(received(&long), work()).unwrap();
    assert!(ledger.pending().unwrap().entries.is_empty());
    assert_eq!(ledger.unfinished().unwrap().entries.len(), 1);
    ledger.finish(&id(&long), Outcome::succeeded()).unwrap();

    let ledger = Ledger::open(&layout).unwrap();
    assert!(ledger.unfinished().unwrap().entries.is_empty());
    let pending = ledger.pending().unwrap().entries;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].command, id(&long));
    assert_eq!(pending[0].outcome(), Some(&Outcome::succeeded()));
    ledger.mark_reported(&id(&long), Delivery::Accepted).unwrap();

    let ledger = Ledger::open(&layout).unwrap();
    assert!(ledger.pending().unwrap().entries.is_empty());
    assert!(
        matches!(ledger.lookup(&id(&long)).unwrap(), Known::Finished(_, outcome) if outcome == Outcome::succeeded())
    );
}

#[test]
fn the_first_result_stays() {
    let (_temp, _, ledger) = ledger();
    ledger.begin(received("c"), work()).unwrap();
    ledger.finish(&id("c"), Failure::unknown("first").into()).unwrap();
    let entry = ledger.finish(&id("c"), Outcome::succeeded()).unwrap();
    assert!(matches!(entry.outcome(), Some(Outcome::Failed(failure)) if failure.message == "first"));
    assert!(ledger.begin(received("c"), work()).is_err());
    let again = ledger.finish_at_once(received("c"), Outcome::succeeded()).unwrap();
    assert_eq!(again, entry);
}

#[test]
fn a_command_that_never_began_work_is_reported_too() {
    let (_temp, _, ledger) = ledger();
    ledger.finish_at_once(received("bad"), Failure::unknown("signature").into()).unwrap();
    assert_eq!(ledger.pending().unwrap().entries[0].work, None);
    assert_eq!(ledger.last_failure().unwrap().unwrap().command, id("bad"));
}

#[test]
fn results_are_sent_in_the_order_in_which_they_came() {
    let (_temp, _, ledger) = ledger();
    for n in 0..5 {
        ledger.begin(received(&format!("c{n}")), work()).unwrap();
    }
    for n in [3, 1, 4, 0, 2] {
        ledger.finish(&id(&format!("c{n}")), Outcome::succeeded()).unwrap();
    }
    let order: Vec<_> = ledger.pending().unwrap().entries.into_iter().map(|entry| entry.command).collect();
    assert_eq!(order, [3, 1, 4, 0, 2].map(|n| id(&format!("c{n}"))));
    let recent: Vec<_> = ledger.recent(2).unwrap().entries.into_iter().map(|entry| entry.command).collect();
    assert_eq!(recent, [id("c4"), id("c3")]);
}

#[test]
fn cut_off_at_any_write_no_result_is_lost_and_none_is_sent_twice() {
    let steps = |ledger: &Ledger| -> Result<(), LedgerError> {
        ledger.begin(received("c"), work())?;
        ledger.finish(&id("c"), Outcome::succeeded())?;
        ledger.mark_reported(&id("c"), Delivery::Accepted)
    };
    let (_temp, _, clean) = ledger();
    let (result, seen) = fault::run(None, false, || steps(&clean));
    result.unwrap();
    assert!(seen.len() >= 15, "{seen:?}");
    for at in 0..seen.len() {
        let (_temp, layout, dying) = ledger();
        let (result, _) = fault::run(Some((at, 5)), true, || steps(&dying));
        assert!(result.is_err(), "point {at}");
        let ledger = Ledger::open(&layout).unwrap();
        let pending = ledger.pending().unwrap();
        assert!(pending.unreadable.is_empty());
        match ledger.lookup(&id("c")).unwrap() {
            Known::New => assert!(pending.entries.is_empty()),
            Known::Begun(_) => {
                assert!(pending.entries.is_empty(), "point {at}");
                assert_eq!(ledger.unfinished().unwrap().entries.len(), 1);
                ledger.finish(&id("c"), Outcome::succeeded()).unwrap();
                assert_eq!(ledger.pending().unwrap().entries.len(), 1);
            }
            Known::Finished(entry, _) => {
                let reported = matches!(entry.progress, Progress::Reported { .. });
                assert_eq!(pending.entries.len(), usize::from(!reported), "point {at}");
            }
        }
    }
}

#[test]
fn old_reports_go_and_unreported_results_stay() {
    let (_temp, _, ledger) = ledger();
    for n in 0..6 {
        ledger.begin(received(&format!("c{n}")), work()).unwrap();
        if n < 5 {
            ledger.finish(&id(&format!("c{n}")), Outcome::succeeded()).unwrap();
        }
        if n < 4 {
            ledger.mark_reported(&id(&format!("c{n}")), Delivery::Accepted).unwrap();
        }
    }
    ledger.prune(2).unwrap();
    let left: Vec<_> = ledger.recent(10).unwrap().entries.into_iter().map(|entry| entry.command).collect();
    assert_eq!(left, [5, 4, 3, 2].map(|n| id(&format!("c{n}"))));
    ledger.prune(0).unwrap();
    assert_eq!(ledger.recent(10).unwrap().entries.len(), 2);
    assert_eq!(ledger.pending().unwrap().entries.len(), 1);
}

#[test]
fn one_bad_file_hides_no_other() {
    let (_temp, layout, ledger) = ledger();
    ledger.begin(received("good"), work()).unwrap();
    std::fs::write(layout.ledger().join("bad.json"), b"{").unwrap();
    std::fs::write(layout.ledger().join("newer.json"), b"{\"format\":99}").unwrap();
    let listing = ledger.unfinished().unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(listing.unreadable.len(), 2);
    assert!(listing.unreadable.iter().any(|error| error.to_string().contains("format 99")));
}

#[test]
fn a_reported_result_is_sent_again_when_it_is_asked_for() {
    let (_temp, _, ledger) = ledger();
    ledger.begin(received("c"), work()).unwrap();
    ledger.finish(&id("c"), Outcome::succeeded()).unwrap();
    ledger.mark_reported(&id("c"), Delivery::Accepted).unwrap();
    ledger.report_again(&id("c")).unwrap();
    assert_eq!(ledger.pending().unwrap().entries.len(), 1);
    ledger.mark_reported(&id("c"), Delivery::Accepted).unwrap();
    assert!(ledger.pending().unwrap().entries.is_empty());
}

#[test]
fn a_command_that_the_service_settled_is_neither_reported_nor_taken_up_again() {
    let (_temp, _, ledger) = ledger();
    ledger.begin(received("c"), work()).unwrap();
    ledger.skip(&id("c"), Outcome::succeeded(), "Succeeded").unwrap();
    assert!(ledger.pending().unwrap().entries.is_empty());
    assert!(ledger.unfinished().unwrap().entries.is_empty());
    assert!(matches!(ledger.lookup(&id("c")).unwrap(), Known::Finished(..)));
}
