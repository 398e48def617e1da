//! Commits on GitHub.

use super::super::*;
use super::origin::{Origin, Reply};
use super::{CONTENT, answer, sha256_of};
use crate::deployment::revision::GitHubSource;

const COMMIT: &str = "4af3fd4af3fd4af3fd4af3fd4af3fd4af3fd4af3";

fn commit(bundle_type: BundleType) -> GitHubSource {
    GitHubSource { account: "acme".into(), repository: "shop".into(), commit: COMMIT.into(), bundle_type }
}

fn says(status: &str, message: &str) -> Reply {
    let body = format!("{{\"message\": \"{message}\", \"documentation_url\": \"https://docs.github.com\"}}");
    Reply::Bytes(answer(status, &[], body.len(), body.as_bytes()))
}

/// As GitHub packs a commit: of unknown length.
fn archive() -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = [format!("{:x}\r\n", CONTENT.len()).as_bytes(), CONTENT, b"\r\n0\r\n\r\n"].concat();
    [head.as_bytes(), &chunks].concat()
}

#[test]
fn a_commit_is_fetched_in_the_kind_that_was_asked_for() {
    for (bundle_type, kind) in
        [(BundleType::Tar, "tarball"), (BundleType::Tgz, "tarball"), (BundleType::Zip, "zipball")]
    {
        let origin = Origin::start(|_| Reply::Bytes(archive()));
        let fetched = origin.fetch_from_github(commit(bundle_type), None).unwrap();
        assert_eq!(std::fs::read(&fetched.path).unwrap(), CONTENT);
        assert_eq!((fetched.size, fetched.sha256, fetched.bundle_type), (20, sha256_of(CONTENT), bundle_type));
        let asked = &origin.asked()[0];
        assert!(asked.head.starts_with(&format!("get /repos/acme/shop/{kind}/{COMMIT} ")), "{}", asked.head);
        assert!(asked.header("user-agent").is_some_and(|agent| agent.starts_with("slipway-agent/")));
        assert_eq!(asked.header("authorization"), None);
    }
}

#[test]
fn the_token_is_for_the_api_alone() {
    let codeload = Origin::start(|_| Reply::Bytes(archive()));
    let elsewhere = codeload.url.join("acme/shop/legacy.tar.gz?token=door").unwrap().to_string();
    let api = Origin::start(move |asked| match asked.number {
        // A repository that was renamed, and then the archive.
        0 => Reply::Bytes(answer("301 Moved Permanently", &[("location", "/repositories/7")], 0, b"")),
        _ => Reply::Bytes(answer("302 Found", &[("location", &elsewhere)], 0, b"")),
    });
    api.fetch_from_github(commit(BundleType::Tar), Some("ghp_secret")).unwrap();
    for asked in api.asked() {
        assert_eq!(asked.header("authorization"), Some("bearer ghp_secret"));
    }
    let asked = &codeload.asked()[0];
    assert!(asked.head.starts_with("get /acme/shop/legacy.tar.gz?token=door "), "{}", asked.head);
    assert_eq!(asked.header("authorization"), None);
}

#[test]
fn a_page_in_the_place_of_an_archive_is_told() {
    let page = b"<html><title>Log in to the guest network</title></html>";
    let origin = Origin::start(|_| Reply::Bytes(answer("200 OK", &[("content-type", "text/html")], page.len(), page)));
    let error = origin.fetch_from_github(commit(BundleType::Tar), None).unwrap_err().to_string();
    assert!(error.contains("Log in to the guest network") && error.contains("captive portal"), "{error}");
    assert!(!origin.destination().exists());
}

#[test]
fn what_passes_is_tried_again() {
    let origin = Origin::start(|asked| match asked.number {
        0 => says("500 Internal Server Error", "Server Error"),
        1 => says("429 Too Many Requests", "slow down"),
        2 => says("502 Bad Gateway", ""),
        // It breaks off in the middle, and what came is of no use.
        3 => Reply::Bytes(archive()[..100].to_vec()),
        _ => Reply::Bytes(archive()),
    });
    let fetched = origin.fetch_from_github(commit(BundleType::Tar), None).unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), CONTENT);
    assert_eq!(origin.asked().len(), 5);
    let origin = Origin::start(|_| says("503 Service Unavailable", "unicorns"));
    let error = origin.fetch_from_github(commit(BundleType::Tar), None).unwrap_err().to_string();
    assert!(error.contains("unicorns") && error.contains("6 tries"), "{error}");
    assert!(!origin.destination().exists());
}

#[test]
fn a_fleet_that_asks_too_fast_waits_as_it_is_told() {
    let origin = Origin::start(|asked| match asked.number {
        0 => says("403 Forbidden", "You have exceeded a secondary rate limit"),
        1 => Reply::Bytes(answer("403 Forbidden", &[("retry-after", "1")], 0, b"")),
        _ => Reply::Bytes(archive()),
    });
    origin.fetch_from_github(commit(BundleType::Tar), None).unwrap();
    assert_eq!(origin.asked().len(), 3);
}

#[test]
fn refusals_are_told_at_once() {
    for (status, token, parts) in [
        ("401 Unauthorized", Some("ghp_old"), ["the deployment's token", "not accepted", "acme/shop"]),
        ("404 Not Found", None, ["whoever has no token", "private repository", COMMIT]),
        ("404 Not Found", Some("ghp_new"), ["the deployment's token", "Bad thing", "token may read"]),
        ("403 Forbidden", Some("ghp_new"), ["HTTP status 403", "Bad thing", "may read"]),
    ] {
        let origin = Origin::start(move |_| says(status, "Bad thing"));
        let error = origin.fetch_from_github(commit(BundleType::Zip), token).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} in {error}");
        }
        assert!(!error.contains("ghp_"), "{error}");
        assert_eq!(origin.asked().len(), 1, "{error}");
        assert!(!origin.destination().exists());
    }
    let exhausted = answer("403 Forbidden", &[("x-ratelimit-remaining", "0")], 0, b"");
    let origin = Origin::start(move |_| Reply::Bytes(exhausted.clone()));
    let error = origin.fetch_from_github(commit(BundleType::Zip), None).unwrap_err().to_string();
    assert!(error.contains("limit of requests"), "{error}");
}

#[test]
fn redirects_that_lead_nowhere_or_never_end_are_not_followed() {
    let around = Origin::start(|_| Reply::Bytes(answer("302 Found", &[("location", "/again")], 0, b"")));
    let error = around.fetch_from_github(commit(BundleType::Tar), None).unwrap_err().to_string();
    assert!(error.contains("redirected more than 5 times"), "{error}");
    for location in ["ftp://127.0.0.1/x", "http://["] {
        let origin = Origin::start(move |_| Reply::Bytes(answer("302 Found", &[("location", location)], 0, b"")));
        let error = origin.fetch_from_github(commit(BundleType::Tar), None).unwrap_err();
        assert!(matches!(error, BundleError::Address { .. }), "{error}");
    }
}

#[test]
fn a_commit_without_a_known_digest_is_refused_where_one_is_required() {
    let origin = Origin::start(|_| Reply::Bytes(archive()));
    let source = RevisionSource::GitHub(commit(BundleType::Tar));
    let error = origin.acquire(source, Requirement::Sha256, None).unwrap_err();
    assert!(matches!(error, BundleError::NoSha256 { .. }), "{error}");
    assert_eq!(origin.asked().len(), 0);
}
