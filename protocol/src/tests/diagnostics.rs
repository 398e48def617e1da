//! A report fits its bound and loses as little as it can, whatever a script printed.

use crate::diagnostics::{Diagnostics, ErrorCode, MAX_LOG, head, tail};
use crate::wire::MAX_DIAGNOSTICS;

/// Pieces that grow in different ways when they become JSON: not at all, by one, by five characters,
/// and in bytes but not in characters.
const PIECES: [&str; 9] = ["a", "\"", "\\", "\n", "\u{1}", "\u{1b}[0m", "ä", "😀", "ordinary words of a log\n"];

fn diagnostics(script_name: String, message: String, log: String) -> Diagnostics {
    Diagnostics { error_code: ErrorCode::ScriptFailed, script_name, message, log }
}

fn random_text(random: &mut fastrand::Rng, longest: usize) -> String {
    let length = random.usize(0..=longest);
    let single = random.bool().then(|| random.usize(0..PIECES.len()));
    let mut text = String::new();
    while text.len() < length {
        text.push_str(PIECES[single.unwrap_or_else(|| random.usize(0..PIECES.len()))]);
    }
    text
}

#[test]
fn a_payload_fits_whatever_the_content() {
    let mut random = fastrand::Rng::with_seed(20141006);
    let mut full = 0;
    for round in 0..500 {
        let whole = diagnostics(
            random_text(&mut random, [0, 100, 10_000][round % 3]),
            random_text(&mut random, [10, 6_000, 20_000][round / 3 % 3]),
            random_text(&mut random, [0, 3_000, 20_000][round / 9 % 3]),
        );
        let payload = whole.to_payload();
        assert!(payload.chars().count() <= MAX_DIAGNOSTICS, "round {round}: {} characters", payload.chars().count());
        let fitted: Diagnostics = serde_json::from_str(&payload).unwrap();
        assert_eq!(fitted.error_code, whole.error_code);
        assert!(whole.log.ends_with(&fitted.log), "the log keeps its end");
        assert!(fitted.log.len() <= MAX_LOG);
        let message = fitted.message.trim_end_matches('…');
        assert!(whole.message.starts_with(message), "the message keeps its beginning");
        assert!(whole.script_name.starts_with(&fitted.script_name));
        full += usize::from(payload.chars().count() > MAX_DIAGNOSTICS / 2);
    }
    assert!(full > 50, "the cut is not far below the bound: {full} of 500 payloads are more than half full");
}

#[test]
fn what_fits_is_not_touched() {
    let whole = diagnostics("scripts/a.sh".to_owned(), "m".repeat(4_000), "line\n".repeat(400));
    assert_eq!(serde_json::from_str::<Diagnostics>(&whole.to_payload()).unwrap(), whole);
}

#[test]
fn the_log_goes_before_the_message() {
    let whole = diagnostics("s".to_owned(), "\"".repeat(3_900), "\u{1}".repeat(2_048));
    let fitted: Diagnostics = serde_json::from_str(&whole.to_payload()).unwrap();
    assert_eq!(fitted.message, whole.message);
    assert!(fitted.log.len() < whole.log.len());
}

#[test]
fn error_codes_are_the_numbers_0_to_7() {
    for number in 0..=7u8 {
        let code: ErrorCode = serde_json::from_str(&number.to_string()).unwrap();
        assert_eq!(u8::from(code), number);
        assert_eq!(serde_json::to_string(&code).unwrap(), number.to_string());
    }
    for other in ["8", "255", "-1", "256", "\"4\"", "null"] {
        assert!(serde_json::from_str::<ErrorCode>(other).is_err(), "{other}");
    }
}

#[test]
fn a_tail_is_the_end_and_begins_with_a_line_where_it_can() {
    assert_eq!(tail("one\ntwo\nthree\n", 100), "one\ntwo\nthree\n");
    assert_eq!(tail("one\ntwo\nthree\n", 10), "two\nthree\n", "a cut between lines loses no line");
    assert_eq!(tail("one\ntwo\nthree\n", 9), "three\n", "a cut inside of a line drops the line's rest");
    assert_eq!(tail("one\ntwo\nthree\n", 6), "three\n");
    assert_eq!(tail("one\ntwo\nthree\n", 3), "ee\n", "a last line that is too long keeps its end");
    assert_eq!(tail("aaaa😀", 4), "😀");
    assert_eq!(tail("aaaa😀", 3), "", "never half of a character");
    assert_eq!(tail("", 0), "");
    assert_eq!(tail("x", 0), "");
}

#[test]
fn tails_and_heads_of_anything() {
    let mut random = fastrand::Rng::with_seed(1138);
    for _ in 0..2_000 {
        let text = random_text(&mut random, 300);
        let limit = random.usize(0..400);
        let end = tail(&text, limit);
        assert!(end.len() <= limit);
        assert!(text.ends_with(end));
        if text.len() > limit && text[text.len() - end.len()..].len() < limit.saturating_sub(3) {
            let before = &text[..text.len() - end.len()];
            assert!(before.ends_with('\n'), "more than a character was dropped for nothing but a line's start");
        }
        let start = head(&text, limit);
        assert!(start.len() <= limit && text.starts_with(start));
        assert!(start.len() + 3 >= limit.min(text.len()));
    }
}
