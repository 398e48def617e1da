//! The files in `tests/` were made by minisign 0.11: keys by `-G -W`, signatures by `-S`, the legacy one by `-S -l`.
#![allow(clippy::disallowed_methods, reason = "the tests lay out what the agent finds")]

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::bundle::local;
use crate::deployment::BundleType;
use crate::deployment::revision::GitHubSource;
use crate::process::StopSignal;

const BUNDLE: &[u8] = include_bytes!("tests/bundle");
const PREHASHED: &str = include_str!("tests/prehashed.minisig");
const LEGACY: &str = include_str!("tests/legacy.minisig");
const OF_ANOTHER_FILE: &str = include_str!("tests/of-another-file.minisig");
const BY_ANOTHER_KEY: &str = include_str!("tests/by-another-key.minisig");
const FIRST: &str = include_str!("tests/first.pub");
const SECOND: &str = include_str!("tests/second.pub");

/// A host's directory with a bundle, and what lies beside it.
struct Bench {
    dir: tempfile::TempDir,
    keys: TrustedKeys,
}

impl Bench {
    fn trusting(keys: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..keys.len()).map(|n| dir.path().join(format!("{n}.pub"))).collect();
        for (path, key) in paths.iter().zip(keys) {
            fs::write(path, key).unwrap();
        }
        fs::write(dir.path().join("app.tgz"), BUNDLE).unwrap();
        Self { keys: TrustedKeys::read(&paths).unwrap(), dir }
    }

    fn destination(&self) -> PathBuf {
        self.dir.path().join("root/bundle.tar")
    }

    fn acquire(&self, source: &RevisionSource) -> Result<Acquired, BundleError> {
        let destination = self.destination();
        let requirement = Requirement::None;
        let request = Request {
            source,
            destination: &destination,
            limit: 1 << 20,
            requirement,
            github_token: None,
            stop: &StopSignal::default(),
        };
        let acquire = |request: &Request<'_>| match request.source {
            RevisionSource::LocalFile { path, bundle_type } => local::file(path, *bundle_type, request.requirement),
            other => panic!("{other:?} is not to be asked for"),
        };
        self.keys.acquire(&request, acquire, |_| Ok(()))
    }

    fn local(&self) -> RevisionSource {
        RevisionSource::LocalFile { path: self.dir.path().join("app.tgz"), bundle_type: BundleType::Tgz }
    }

    fn with(&self, signature: impl AsRef<[u8]>) -> Result<Acquired, BundleError> {
        fs::write(self.dir.path().join("app.tgz.minisig"), signature).unwrap();
        self.acquire(&self.local())
    }

    /// The message of a refusal, after which nothing is left.
    fn refusal(&self, signature: impl AsRef<[u8]>) -> String {
        let message = self.with(signature).unwrap_err().to_string();
        assert!(!self.destination().exists());
        message
    }
}

#[test]
fn both_forms_of_a_signature_are_accepted_and_a_copy_is_what_was_verified() {
    for (keys, signature) in [
        (&[FIRST] as &[&str], PREHASHED),
        (&[FIRST], LEGACY),
        (&[SECOND, FIRST], PREHASHED),
        (&[FIRST, SECOND], BY_ANOTHER_KEY),
        (&[FIRST.lines().nth(1).unwrap()], PREHASHED),
    ] {
        let bench = Bench::trusting(keys);
        let acquired = bench.with(signature).unwrap();
        assert_eq!(acquired, Acquired::InPlace { path: bench.destination(), bundle_type: BundleType::Tgz });
        assert_eq!(fs::read(bench.destination()).unwrap(), BUNDLE);
        // Whoever may write to the original cannot change what is unpacked any more.
        fs::write(bench.dir.path().join("app.tgz"), "other").unwrap();
        assert_eq!(fs::read(bench.destination()).unwrap(), BUNDLE);
    }
}

#[test]
fn without_keys_nothing_needs_a_signature() {
    let bench = Bench::trusting(&[]);
    let path = bench.dir.path().join("app.tgz");
    let acquired = bench.acquire(&bench.local()).unwrap();
    assert_eq!(acquired, Acquired::InPlace { path, bundle_type: BundleType::Tgz });
}

#[test]
fn a_bundle_without_a_signature_is_refused() {
    let bench = Bench::trusting(&[FIRST]);
    let message = bench.acquire(&bench.local()).unwrap_err().to_string();
    assert!(message.contains("app.tgz is refused") && message.contains("app.tgz.minisig beside it"), "{message}");
    assert!(!bench.destination().exists());
}

#[test]
fn the_signature_of_another_file_or_of_another_key_is_refused() {
    let bench = Bench::trusting(&[FIRST]);
    let message = bench.refusal(OF_ANOTHER_FILE);
    assert!(message.contains("77F7F4D79003A13F") && message.contains("belong to something else"), "{message}");
    let message = bench.refusal(BY_ANOTHER_KEY);
    let named = format!("77F7F4D79003A13F ({})", bench.dir.path().join("0.pub").display());
    assert!(message.contains("by the key 8BDD3B38C4BFDDC7") && message.contains(&named), "{message}");
}

#[test]
fn a_key_that_only_has_the_trusted_ones_id_is_refused() {
    // The second key's signature under the first one's id: the line's bytes 2 to 10.
    let id = |line: &str| STANDARD.decode(line).unwrap()[2..10].to_vec();
    let lines: Vec<&str> = BY_ANOTHER_KEY.lines().collect();
    let mut forged = STANDARD.decode(lines[1]).unwrap();
    forged[2..10].copy_from_slice(&id(FIRST.lines().nth(1).unwrap()));
    let forged = [lines[0], &STANDARD.encode(forged), lines[2], lines[3]].join("\n");
    let message = Bench::trusting(&[FIRST]).refusal(forged);
    assert!(message.contains("is not its signature of this content"), "{message}");
}

#[test]
fn a_bundle_or_a_trusted_comment_that_was_changed_is_refused() {
    for signature in [PREHASHED, LEGACY] {
        let bench = Bench::trusting(&[FIRST]);
        let message = bench.refusal(signature.replace("release 7", "release 8"));
        assert!(message.contains("is not its signature"), "{message}");
        // The untrusted comment is anybody's.
        bench.with(signature.replace("signature from minisign", "whatever")).unwrap();
        let mut changed = BUNDLE.to_vec();
        changed[0] ^= 1;
        fs::write(bench.dir.path().join("app.tgz"), changed).unwrap();
        let message = bench.refusal(signature);
        assert!(message.contains("is not its signature"), "{message}");
    }
}

#[test]
fn every_truncation_and_every_changed_character_is_refused() {
    let bench = Bench::trusting(&[FIRST]);
    for text in [PREHASHED, LEGACY] {
        let text = text.trim_end();
        for length in 0..text.len() {
            let message = bench.refusal(&text[..length]);
            assert!(message.contains("app.tgz is refused"), "{length}: {message}");
        }
        let secured = text.find('\n').unwrap() + 1;
        for at in secured..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] ^= 1;
            bench.refusal(changed);
        }
    }
    assert!(bench.refusal([0xff; 40]).contains("it is no text"));
}

#[test]
fn an_oversized_signature_is_refused_before_it_is_in_memory() {
    let bench = Bench::trusting(&[FIRST]);
    let message = bench.refusal(format!("{PREHASHED}{}", "\n".repeat(MAX_SIGNATURE as usize)));
    assert!(message.contains("longer than the 16384 bytes"), "{message}");
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let bench = Bench::trusting(&[FIRST]);
    let directory = RevisionSource::LocalDirectory { path: bench.dir.path().to_owned() };
    let message = bench.acquire(&directory).unwrap_err().to_string();
    assert!(message.contains("the directory") && message.contains("sign the bundle"), "{message}");
    let text = |text: &str| text.to_owned();
    let github = RevisionSource::GitHub(GitHubSource {
        account: text("acme"),
        repository: text("shop"),
        commit: text("abc"),
        bundle_type: BundleType::Tar,
    });
    let message = bench.acquire(&github).unwrap_err().to_string();
    assert!(message.contains("acme/shop at abc on GitHub is refused"), "{message}");
}

#[test]
fn a_file_that_holds_no_key_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pub");
    let read = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        TrustedKeys::read(std::slice::from_ref(&path)).map(|_| ()).map_err(|error| error.to_string())
    };
    let twice = format!("{FIRST}{SECOND}");
    let cut = &FIRST[..FIRST.len() - 8];
    for wrong in ["", "untrusted comment: only\n", "not a key\n", &twice, cut, PREHASHED] {
        let message = read(wrong.as_bytes()).unwrap_err();
        assert!(message.contains("key.pub") && message.contains("trusted_bundle_keys"), "{wrong}: {message}");
    }
    read(&[0xff, 0xfe]).unwrap_err();
    read(FIRST.replace('\n', "\r\n").as_bytes()).unwrap();
    let missing = dir.path().join("missing.pub");
    assert!(TrustedKeys::read(&[missing]).unwrap_err().to_string().contains("missing.pub"));
}

#[test]
fn a_signature_that_was_not_fetched_says_whether_it_is_there() {
    let refused = |refusal| BundleError::Refused { object: "o".to_owned(), caller: "c".to_owned(), refusal };
    let said =
        |error| SignatureError::unfetched("s3://b/k".to_owned(), "s3://b/k.minisig".to_owned(), error).to_string();
    let missing = said(refused(crate::bundle::Refusal::NoKey));
    assert!(missing.contains("there is no signature s3://b/k.minisig beside it"), "{missing}");
    // Without the permission to list, S3 does not tell what is not there from what may not be read.
    let denied = said(refused(crate::bundle::Refusal::Reading("AccessDenied".to_owned())));
    assert!(denied.contains("was not given") && denied.contains("may not list the bucket"), "{denied}");
    let other = said(refused(crate::bundle::Refusal::NoBucket));
    assert!(other.contains("was not fetched") && other.contains("no such bucket"), "{other}");
}
