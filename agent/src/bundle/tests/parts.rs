//! Checksums over the checksums of parts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::super::*;
use super::origin::{Asked, Origin, Reply};
use super::{CONTENT, answer, failure, sha256_of, source};

/// The checksum of an object in parts of these lengths, as S3 writes it.
fn composite(lengths: &[usize]) -> String {
    let mut rest = CONTENT;
    let mut joined = Sha256::new();
    for length in lengths {
        let (part, later) = rest.split_at(*length);
        joined.update(Sha256::digest(part));
        rest = later;
    }
    assert!(rest.is_empty());
    format!("{}-{}", STANDARD.encode(joined.finalize()), lengths.len())
}

/// A checksum that another S3 writes without the number of parts, of an object in three.
fn bare(checksum: &str) -> Origin {
    let checksum = checksum.to_owned();
    Origin::start(move |asked| {
        let headers = [("x-amz-checksum-sha256", checksum.as_str()), ("x-amz-mp-parts-count", "3")];
        Reply::Bytes(match part_number(asked) {
            None => asked.answer(CONTENT, "\"25f9e794323b453885f5181f1b624d0b-3\"", &headers),
            Some(_) => answer("206 Partial Content", &headers, 8, b""),
        })
    })
}

/// An object in parts: with its checksum, and the lengths that it tells when it is asked for them.
fn object(checksum: &str, told: &'static [usize]) -> Origin {
    let checksum = checksum.to_owned();
    Origin::start(move |asked| {
        let Some(number) = part_number(asked) else {
            return Reply::Bytes(asked.answer(CONTENT, "\"x-3\"", &[("x-amz-checksum-sha256", &checksum)]));
        };
        assert!(asked.head.starts_with("head /bucket/"), "{}", asked.head);
        let Some(length) = told.get(number - 1) else {
            return Reply::Bytes(failure("501 Not Implemented", "NotImplemented", ""));
        };
        let count = told.len().to_string();
        Reply::Bytes(answer("206 Partial Content", &[("x-amz-mp-parts-count", &count)], *length, b""))
    })
}

fn part_number(asked: &Asked) -> Option<usize> {
    let (_, rest) = asked.head.split_once("?partnumber=")?;
    rest.split_once(' ')?.0.parse().ok()
}

fn requests_for_parts(origin: &Origin) -> usize {
    origin.asked().iter().filter_map(part_number).count()
}

#[test]
fn equal_parts_are_verified_by_the_length_of_the_first() {
    let origin = object(&composite(&[8, 8, 4]), &[8, 8, 4]);
    let fetched = origin.fetch(source()).unwrap();
    assert_eq!((fetched.verified_by, fetched.sha256), (vec!["x-amz-checksum-sha256"], sha256_of(CONTENT)));
    assert_eq!(requests_for_parts(&origin), 1);
}

#[test]
fn a_checksum_without_the_number_of_parts_is_over_them_or_over_the_whole() {
    let over_parts = composite(&[8, 8, 4]).trim_end_matches("-3").to_owned();
    let over_all = STANDARD.encode(Sha256::digest(CONTENT));
    for right in [&over_parts, &over_all] {
        assert_eq!(bare(right).fetch(source()).unwrap().verified_by, ["x-amz-checksum-sha256"]);
    }
    let error = bare(&STANDARD.encode([7; 32])).refused(source());
    assert!(matches!(error, BundleError::Mismatch { .. }), "{error}");
}

#[test]
fn a_single_part_needs_no_question() {
    let origin = object(&composite(&[20]), &[]);
    assert_eq!(origin.fetch(source()).unwrap().verified_by, ["x-amz-checksum-sha256"]);
    assert_eq!(requests_for_parts(&origin), 0);
}

#[test]
fn parts_of_any_length_are_verified() {
    for told in [&[6, 8, 6][..], &[8, 6, 6], &[8, 1, 11], &[20, 0]] {
        let origin = object(&composite(told), told);
        assert_eq!(origin.fetch(source()).unwrap().verified_by, ["x-amz-checksum-sha256"], "{told:?}");
        assert!(requests_for_parts(&origin) > 1);
    }
}

#[test]
fn another_content_is_refused_whatever_its_parts() {
    for (said, told) in [(&[6, 8, 6][..], &[8, 8, 4][..]), (&[8, 8, 4], &[8, 6, 6]), (&[20], &[])] {
        let right = composite(said);
        let wrong = format!("{}{}", if right.starts_with('A') { 'B' } else { 'A' }, &right[1..]);
        let origin = object(&wrong, told);
        let error = origin.fetch(source()).unwrap_err();
        let BundleError::Mismatch { expected, computed, .. } = &error else { panic!("{error}") };
        assert_eq!(*expected, wrong);
        assert!(computed != expected && computed.ends_with(&format!("-{}", said.len())), "{error}");
        assert!(!origin.destination().exists());
    }
}

/// An object in parts, whose lengths are asked for in vain.
fn refusing(status: &'static str) -> Origin {
    let checksum = composite(&[8, 8, 4]);
    Origin::start(move |asked| {
        Reply::Bytes(match part_number(asked) {
            None if asked.head.starts_with("get ") => {
                asked.answer(CONTENT, "\"x-3\"", &[("x-amz-checksum-sha256", &checksum)])
            }
            _ => answer(status, &[], 0, b""),
        })
    })
}

#[test]
fn whatever_keeps_the_lengths_from_being_told_keeps_the_object_from_being_taken_unverified() {
    for (status, said) in [("403 Forbidden", "HEAD for the length"), ("401 Unauthorized", "HEAD for the length")] {
        let error = refusing(status).refused(source()).to_string();
        assert!(error.contains(said) && error.contains("s3:GetObject"), "{error}");
    }
    for status in ["408 Request Timeout", "503 Service Unavailable", "412 Precondition Failed"] {
        let error = refusing(status).refused(source());
        assert!(matches!(error, BundleError::Unreachable { .. }), "{status}: {error}");
    }
    let origin = object(&composite(&[8, 8, 4]), &[8, 8, 4]);
    origin.fetch(source()).unwrap();
    let asked = origin.asked();
    let head = asked.iter().find(|asked| part_number(asked).is_some()).unwrap();
    assert_eq!(head.header("if-match"), Some("\"x-3\""), "the parts of another object would be of no use");
}

#[test]
fn parts_are_told_by_a_service_that_compares_their_own_etags() {
    let checksum = composite(&[8, 8, 4]);
    let origin = Origin::start(move |asked| {
        Reply::Bytes(match part_number(asked) {
            None => asked.answer(CONTENT, "\"x-3\"", &[("x-amz-checksum-sha256", &checksum)]),
            Some(_) if asked.header("if-match").is_some() => answer("412 Precondition Failed", &[], 0, b""),
            Some(_) => answer("206 Partial Content", &[("x-amz-mp-parts-count", "3")], 8, b""),
        })
    });
    assert_eq!(origin.fetch(source()).unwrap().verified_by, ["x-amz-checksum-sha256"]);
    let of_all = origin.asked().iter().filter(|asked| asked.head.starts_with("head ")).count();
    assert_eq!((of_all, requests_for_parts(&origin)), (3, 2));
}

#[test]
fn parts_that_nobody_tells_of_verify_nothing() {
    let origin = object(&composite(&[8, 8, 4]), &[]);
    assert_eq!(origin.fetch(source()).unwrap().verified_by, [""; 0]);
    let error = origin.acquire(RevisionSource::S3(source()), Requirement::Sha256, None).unwrap_err();
    assert!(matches!(error, BundleError::NoSha256 { .. }), "{error}");
    let origin = object(&composite(&[8, 8, 4]), &[8, 8, 4]);
    origin.acquire(RevisionSource::S3(source()), Requirement::Sha256, None).unwrap();
}
