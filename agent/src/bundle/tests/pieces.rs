//! Large objects: in pieces, over several connections, whatever happens to them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::*;
use super::origin::{Asked, Origin, Reply};
use super::{failure, sha256_of, source};
use crate::deployment::revision::S3Source;

/// More than is fetched over one connection.
const SIZE: usize = (20 << 20) + 12_345;
const ONE: &str = "\"one\"";
const TWO: &str = "\"two\"";

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Fetches from whoever answers so for an object with a checksum, and looks at what came.
fn arrives(answers: impl Fn(&Asked, &[u8]) -> Reply + Send + Sync + 'static) -> Origin {
    let content = noise(1, SIZE);
    let expected = sha256_of(&content);
    let origin = Origin::start(move |asked| answers(asked, &content));
    let fetched = origin.fetch(S3Source { sha256: Some(expected.clone()), ..source() }).unwrap();
    assert_eq!((fetched.size, fetched.sha256), (SIZE as u64, expected.clone()));
    let there = std::fs::read(fetched.path).unwrap();
    assert!(sha256_of(&there) == expected, "{} bytes are there", there.len());
    origin
}

/// The pieces that were asked for, in the order of the object.
fn pieces(origin: &Origin) -> Vec<std::ops::Range<usize>> {
    let mut pieces: Vec<_> = origin.asked().iter().filter_map(Asked::range).collect();
    pieces.sort_by_key(|piece| (piece.start, piece.end));
    pieces
}

#[test]
fn a_large_object_comes_in_pieces_and_each_byte_once() {
    let origin = arrives(|asked, content| Reply::Bytes(asked.answer(content, ONE, &[])));
    let pieces = pieces(&origin);
    assert!(pieces.len() > 1, "{pieces:?}");
    assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (0, SIZE));
    assert!(pieces.windows(2).all(|two| two[0].end == two[1].start), "{pieces:?}");
    for asked in origin.asked().iter().filter(|asked| asked.range().is_some()) {
        assert_eq!((asked.header("if-match"), asked.header("if-range")), (Some(ONE), Some(ONE)));
    }
}

#[test]
fn the_version_is_asked_for_with_each_piece() {
    let content = noise(1, SIZE);
    let origin = Origin::start(move |asked| Reply::Bytes(asked.answer(&content, ONE, &[])));
    let wanted = S3Source { version: Some("v/1".into()), etag: Some("one".into()), ..source() };
    origin.fetch(wanted.clone()).unwrap();
    assert!(origin.asked().len() > 2);
    assert!(origin.asked().iter().all(|asked| asked.head.lines().next().unwrap().contains("?versionid=v%2f1 ")));
    let error = origin.refused(S3Source { etag: Some("other".into()), ..wanted });
    assert!(matches!(error, BundleError::Changed { .. }), "{error}");
}

#[test]
fn each_piece_goes_on_where_its_connection_broke_off() {
    let (sent, random) = (Arc::new(AtomicUsize::new(0)), Mutex::new(fastrand::Rng::with_seed(5)));
    let counted = Arc::clone(&sent);
    let origin = arrives(move |asked, content| {
        let mut answer = asked.answer(content, ONE, &[]);
        if let Some(range) = asked.range() {
            let length = range.len();
            let kept = if length < 500_000 { length } else { random.lock().unwrap().usize(1..length) };
            answer.truncate(answer.len() - (length - kept));
            counted.fetch_add(kept, Ordering::Relaxed);
        }
        Reply::Bytes(answer)
    });
    assert!(origin.asked().len() > 6, "nothing was broken");
    assert_eq!(sent.load(Ordering::Relaxed), SIZE, "what had come was asked for again");
}

#[test]
fn failures_in_the_middle_are_tried_again() {
    arrives(|asked, content| match asked.number {
        1 => Reply::Bytes(failure("500 Internal Server Error", "InternalError", "")),
        2 => Reply::Bytes(failure("503 Slow Down", "SlowDown", "")),
        3 => Reply::Bytes(Vec::new()),
        4 => Reply::Bytes(failure("307 Temporary Redirect", "TemporaryRedirect", "")),
        _ => Reply::Bytes(asked.answer(content, ONE, &[])),
    });
}

#[test]
fn a_service_that_gives_no_pieces_gives_the_whole() {
    let origin = arrives(|asked, content| {
        let whole = Asked { head: "get /\r\n".to_owned(), ..asked.clone() };
        Reply::Bytes(whole.answer(content, ONE, &[]))
    });
    assert!(origin.asked().len() >= 2);
}

#[test]
fn an_object_without_an_etag_comes_as_one() {
    let origin = arrives(|_, content| Reply::Bytes(super::answer("200 OK", &[], content.len(), content)));
    assert!(pieces(&origin).is_empty());
}

/// Answers for one object to the first requests, and then for another one.
fn replaced(asked: &Asked, objects: &[Vec<u8>; 2]) -> Reply {
    let [one, two] = objects;
    Reply::Bytes(if asked.number < 3 { asked.answer(one, ONE, &[]) } else { asked.answer(two, TWO, &[]) })
}

#[test]
fn an_object_that_is_replaced_meanwhile_is_fetched_anew() {
    let objects = [noise(1, SIZE), noise(2, SIZE + 99)];
    let expected = sha256_of(&objects[1]);
    let origin = Origin::start(move |asked| replaced(asked, &objects));
    let fetched = origin.fetch(source()).unwrap();
    assert_eq!((fetched.size, fetched.sha256), (SIZE as u64 + 99, expected));
    let objects = [noise(1, SIZE), noise(2, SIZE)];
    let origin = Origin::start(move |asked| replaced(asked, &objects));
    let error = origin.refused(S3Source { etag: Some("one".into()), ..source() });
    assert!(matches!(error, BundleError::Changed { .. }), "{error}");
}

#[test]
fn more_than_was_asked_for_is_left() {
    arrives(|asked, content| {
        let answer = asked.answer(content, ONE, &[]);
        let Some(range) = asked.range() else { return Reply::Bytes(answer) };
        let bounds = format!("bytes {}-{}/{SIZE}", range.start, range.end - 1);
        let longer = &content[range.start..];
        let headers = [("etag", ONE), ("content-range", bounds.as_str())];
        Reply::Bytes(super::answer("206 Partial Content", &headers, longer.len(), longer))
    });
}

#[test]
fn pieces_of_something_else_are_refused() {
    for wrong in ["bytes 0-9/20", "bytes 0-8388607/99999999", "nonsense"] {
        let content = noise(1, SIZE);
        let origin = Origin::start(move |asked| {
            let answer = asked.answer(&content, ONE, &[]);
            if asked.range().is_none() {
                return Reply::Bytes(answer);
            }
            let headers = [("etag", ONE), ("content-range", wrong)];
            Reply::Bytes(super::answer("206 Partial Content", &headers, 10, &content[..10]))
        });
        let error = origin.refused(source());
        assert!(matches!(error, BundleError::Unreachable { .. }), "{error}");
    }
}

#[test]
fn pieces_that_never_come_whole_are_truncated() {
    let content = noise(1, SIZE);
    let origin = Origin::start(move |asked| {
        let mut answer = asked.answer(&content, ONE, &[]);
        if let Some(range) = asked.range() {
            let beyond = range.end.saturating_sub(range.start.max(SIZE - 1000));
            answer.truncate(answer.len() - beyond);
        }
        Reply::Bytes(answer)
    });
    let BundleError::Truncated { expected, received, tries: 6, .. } = origin.refused(source()) else { panic!() };
    assert!(expected == SIZE as u64 && received <= expected - 1000);
}

#[test]
fn a_piece_that_is_refused_ends_it_all() {
    let content = noise(1, SIZE);
    let origin = Origin::start(move |asked| match asked.number {
        2 => Reply::Bytes(failure("403 Forbidden", "ExpiredToken", "The provided token has expired.")),
        _ => Reply::Bytes(asked.answer(&content, ONE, &[])),
    });
    let error = origin.refused(source()).to_string();
    assert!(error.contains("credentials have expired") && error.contains("AKIATEST"), "{error}");
}

#[test]
fn connections_that_fall_silent_are_given_up() {
    let content = noise(1, SIZE);
    let expected = sha256_of(&content);
    let mut origin = Origin::start(move |asked| match asked.number {
        1 | 2 => Reply::Silence,
        _ => Reply::Bytes(asked.answer(&content, ONE, &[])),
    });
    origin.silence = Duration::from_millis(300);
    assert_eq!(origin.fetch(source()).unwrap().sha256, expected);
}

#[test]
fn damage_to_a_piece_is_found_and_removed() {
    let content = noise(1, SIZE);
    let expected = sha256_of(&content);
    let origin = Origin::start(move |asked| {
        let mut answer = asked.answer(&content, ONE, &[]);
        if asked.range().is_some_and(|range| range.start > 0) {
            let middle = answer.len() / 2;
            answer[middle] ^= 1;
        }
        Reply::Bytes(answer)
    });
    let error = origin.refused(S3Source { sha256: Some(expected.clone()), ..source() });
    let BundleError::Mismatch { expected: said, computed, .. } = error else { panic!("{error}") };
    assert!(said == expected && computed != expected);
}
