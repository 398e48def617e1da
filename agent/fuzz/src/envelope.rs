//! Signed envelopes that somebody changed, anything else in their place, and what is inside of them.

use std::path::Component;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slipway_agent::deployment::DeploymentSpec;
use slipway_agent::deployment::envelope::{Anchors, Sha1, Trust, verify};

use crate::edits;

const CONTENT: &[u8] = include_bytes!("../genuine/specification.json");
/// By openssl, with and without signed attributes, RSA and ECDSA; the certificates last a hundred years.
const GENUINE: [&str; 3] = [
    include_str!("../genuine/rsa-plain.pem"),
    include_str!("../genuine/ecdsa-attributes.pem"),
    include_str!("../genuine/rsa-issued.pem"),
];
const AUTHORITY: &[u8] = include_bytes!("../genuine/authority.pem");

/// The first byte says what the others are: `E` changes of an envelope's DER and `P` of its text, both
/// followed by the envelope's number; `T` a text in its place; anything else is the JSON of a specification.
pub fn check(data: &[u8]) {
    match data {
        [b'E', which, edits @ ..] => {
            let changed = edits::change(&der(genuine(*which)), edits);
            must_be_genuine(&format!("-----BEGIN PKCS7-----\n{}\n-----END PKCS7-----\n", STANDARD.encode(changed)));
        }
        [b'P', which, edits @ ..] => {
            must_be_genuine(&String::from_utf8_lossy(&edits::change(genuine(*which).as_bytes(), edits)));
        }
        [b'T', text @ ..] => {
            let text = String::from_utf8_lossy(text);
            must_be_genuine(&text);
            must_be_genuine(&format!("-----BEGIN PKCS7-----\n{text}\n-----END PKCS7-----\n"));
            let _ = Anchors::from_pem(text.as_bytes());
        }
        json => specification(json),
    }
}

/// Nobody but the genuine signers can sign here, so nothing else can come out.
fn must_be_genuine(envelope: &str) {
    for trust in trusts() {
        match verify(envelope, trust) {
            Ok(content) => assert_eq!(content, CONTENT),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn trusts() -> &'static [Trust; 2] {
    static TRUSTS: OnceLock<[Trust; 2]> = OnceLock::new();
    TRUSTS.get_or_init(|| {
        let anchors = Anchors::from_pem(AUTHORITY).expect("the authority's certificate");
        let trusts =
            [Trust { anchors: None, sha1: Sha1::Allowed }, Trust { anchors: Some(anchors), sha1: Sha1::Refused }];
        for genuine in GENUINE {
            assert_eq!(verify(genuine, &trusts[0]).expect("a genuine envelope"), CONTENT);
        }
        assert_eq!(verify(GENUINE[2], &trusts[1]).expect("an envelope of the authority"), CONTENT);
        assert!(verify(GENUINE[0], &trusts[1]).is_err(), "signed by somebody else");
        trusts
    })
}

fn genuine(which: u8) -> &'static str {
    GENUINE[usize::from(which) % GENUINE.len()]
}

fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(lines).expect("base64")
}

/// What is accepted is accepted the same again, and its names are safe as parts of a path.
fn specification(json: &[u8]) {
    match DeploymentSpec::from_json(json) {
        Ok(spec) => {
            let again = DeploymentSpec::from_json(json).expect("the same again");
            assert_eq!(format!("{spec:?}"), format!("{again:?}"));
            for id in [spec.deployment_id.as_str(), spec.group_id.as_str()] {
                let parts: Vec<_> = std::path::Path::new(id).components().collect();
                assert!(matches!(parts[..], [Component::Normal(name)] if name == id), "{id:?}");
            }
            let filename = spec.appspec_filename.as_path();
            assert!(filename.components().all(|part| matches!(part, Component::Normal(_))), "{filename:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
