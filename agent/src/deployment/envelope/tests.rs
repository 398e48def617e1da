#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

const CONTENT: &[u8] = br#"{"DeploymentId":"d-ABC123DEF","Revision":{"RevisionType":"S3"}}"#;

/// A place where the openssl tool makes keys, certificates and envelopes, as other services do.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("content"), CONTENT).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A self-signed certificate `<name>.pem` with its key, as `-newkey` describes it.
    fn self_signed(&self, name: &str, key: &str, extra: &str) -> &Self {
        self.openssl(&format!(
            "req -x509 -newkey {key} -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} -days 30{extra}"
        ));
        self
    }

    /// A leaf `<name>.pem` under the authority `ca`.
    fn issued(&self, name: &str, key: &str, extensions: &str) -> &Self {
        std::fs::write(self.path().join("extensions"), extensions).unwrap();
        self.openssl(&format!("req -newkey {key} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        self.openssl(&format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile extensions -out {name}.pem"));
        self
    }

    fn sign(&self, tool: &str, signer: &str, extra: &str) -> String {
        self.openssl(&format!(
            "{tool} -sign -nodetach -binary -in content -signer {signer}.pem -inkey {signer}.key -outform PEM -out envelope{extra}"
        ));
        std::fs::read_to_string(self.path().join("envelope")).unwrap()
    }

    fn trust(&self, name: &str) -> Trust {
        let pem = std::fs::read(self.path().join(format!("{name}.pem"))).unwrap();
        Trust { anchors: Some(Anchors::from_pem(&pem).unwrap()), sha1: Sha1::Refused }
    }
}

const RSA: &str = "rsa:2048";
const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const LEAF: &str = "keyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n";

fn any() -> Trust {
    Trust::default()
}

#[test]
fn what_openssl_signs_is_opened() {
    let shop = Workshop::new();
    shop.self_signed("rsa", RSA, "").self_signed("p256", P256, "");
    shop.self_signed("p384", "ec -pkeyopt ec_paramgen_curve:P-384", "");
    for (tool, signer, extra) in [
        ("smime", "rsa", " -md sha256"),
        ("smime", "rsa", " -md sha256 -noattr"),
        ("smime", "rsa", " -md sha512"),
        ("cms", "rsa", " -md sha256"),
        ("cms", "rsa", " -md sha256 -keyid"),
        ("cms", "p256", " -md sha256"),
        ("cms", "p256", " -md sha256 -noattr"),
        ("cms", "p384", " -md sha256"),
        ("smime", "p384", " -md sha384"),
    ] {
        let pem = shop.sign(tool, signer, extra);
        let opened = verify(&pem, &any()).unwrap_or_else(|error| panic!("{tool} {signer}{extra}: {error}"));
        assert_eq!(opened, CONTENT, "{tool} {signer}{extra}");
    }
}

#[test]
fn lines_of_any_length_are_read() {
    let shop = Workshop::new();
    shop.self_signed("ec", P256, "");
    let pem = shop.sign("cms", "ec", " -md sha256").replace("CMS-----", "PKCS7-----");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let one_line = format!("-----BEGIN PKCS7-----\r\n{body}\r\n-----END PKCS7-----");
    assert_eq!(verify(&one_line, &any()).unwrap(), CONTENT);
    assert!(matches!(verify(&one_line.replace("PKCS7", "CERTIFICATE"), &any()), Err(EnvelopeError::Pem(_))));
    assert!(matches!(verify(&format!("{one_line}more"), &any()), Err(EnvelopeError::Pem(_))));
}

#[test]
fn a_changed_byte_is_refused_or_changes_nothing() {
    let shop = Workshop::new();
    shop.self_signed("rsa", RSA, "").self_signed("ec", P256, "");
    for (signer, extra) in [("rsa", " -md sha256 -noattr"), ("ec", " -md sha256")] {
        let pem = shop.sign("smime", signer, extra);
        for at in 0..pem.len() {
            let mut changed = pem.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            if let Ok(content) = verify(&changed, &any()) {
                assert_eq!(content, CONTENT, "character {at}");
            }
        }
        let der = pem::envelope(&pem).unwrap();
        let mut refused = 0;
        for at in 0..der.len() {
            for mask in [0x01, 0x80] {
                let mut changed = der.clone();
                changed[at] ^= mask;
                let text = format!("-----BEGIN PKCS7-----\n{}\n-----END PKCS7-----\n", STANDARD.encode(&changed));
                match verify(&text, &any()) {
                    Ok(content) => assert_eq!(content, CONTENT, "byte {at} ^ {mask}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > der.len() / 2, "only {refused} of {} changes were noticed", der.len() * 2);
        let start = der.windows(CONTENT.len()).position(|window| window == CONTENT).unwrap();
        for at in start..start + CONTENT.len() {
            let mut changed = der.clone();
            changed[at] ^= 0x20;
            let text = format!("-----BEGIN PKCS7-----\n{}\n-----END PKCS7-----\n", STANDARD.encode(&changed));
            assert!(matches!(verify(&text, &any()), Err(EnvelopeError::Signature(_))), "content byte {at}");
        }
    }
}

#[test]
fn the_signer_must_chain_to_the_authority_that_is_set() {
    let shop = Workshop::new();
    shop.self_signed("ca", P256, "").self_signed("stranger", P256, "");
    shop.issued("signer", P256, LEAF);
    shop.issued("server", P256, "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n");
    shop.issued("mailer", P256, "basicConstraints=CA:FALSE\nextendedKeyUsage=emailProtection\n");
    let signed = shop.sign("cms", "signer", " -md sha256");
    assert_eq!(verify(&signed, &shop.trust("ca")).unwrap(), CONTENT);
    let mailed = shop.sign("cms", "mailer", " -md sha256");
    assert_eq!(verify(&mailed, &shop.trust("ca")).unwrap(), CONTENT);

    let untrusted = |result| matches!(result, Err(EnvelopeError::Untrusted { .. }));
    assert!(untrusted(verify(&signed, &shop.trust("stranger"))), "signed under another authority");
    let strangers = shop.sign("cms", "stranger", " -md sha256");
    assert!(untrusted(verify(&strangers, &shop.trust("ca"))), "self-signed by a stranger");
    let servers = shop.sign("cms", "server", " -md sha256");
    assert!(untrusted(verify(&servers, &shop.trust("ca"))), "the TLS certificate of the same authority");

    let later = UnixTime::since_unix_epoch(Duration::from_secs(4_000_000_000));
    assert!(untrusted(verify_at(&signed, &shop.trust("ca"), later)), "expired");
}

#[test]
fn a_signer_that_is_named_itself_needs_no_authority() {
    let shop = Workshop::new();
    shop.self_signed("own", RSA, "").self_signed("ca", P256, "");
    shop.issued("leaf", P256, LEAF);
    let untrusted = |result| matches!(result, Err(EnvelopeError::Untrusted { .. }));
    for name in ["own", "leaf"] {
        let signed = shop.sign("smime", name, " -md sha256");
        assert_eq!(verify(&signed, &shop.trust(name)).unwrap(), CONTENT);
        for moment in [0, 4_000_000_000] {
            let moment = UnixTime::since_unix_epoch(Duration::from_secs(moment));
            assert!(untrusted(verify_at(&signed, &shop.trust(name), moment)), "{name} outside of its validity");
        }
    }
    // Another certificate of the same name is another one.
    let signed = shop.sign("smime", "own", " -md sha256");
    shop.self_signed("own", RSA, "");
    assert!(untrusted(verify(&signed, &shop.trust("own"))));
}

#[test]
fn sha1_needs_permission() {
    let shop = Workshop::new();
    shop.self_signed("rsa", RSA, "");
    for extra in [" -md sha1", " -md sha1 -noattr"] {
        let pem = shop.sign("smime", "rsa", extra);
        assert!(matches!(verify(&pem, &any()), Err(EnvelopeError::Sha1)));
        assert_eq!(verify(&pem, &Trust { anchors: None, sha1: Sha1::Allowed }).unwrap(), CONTENT);
    }
}

#[test]
fn weak_keys_are_refused() {
    let shop = Workshop::new();
    shop.self_signed("weak", "rsa:1024", "");
    let error = verify(&shop.sign("smime", "weak", " -md sha256"), &any()).unwrap_err().to_string();
    for part in ["RSA key of 1024 bits", "too weak", "2048 bits or more"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn detached_and_certless_envelopes_are_refused() {
    let shop = Workshop::new();
    shop.self_signed("ec", P256, "");
    shop.openssl("cms -sign -binary -in content -signer ec.pem -inkey ec.key -outform PEM -out detached -md sha256");
    let detached = std::fs::read_to_string(shop.path().join("detached")).unwrap();
    assert!(matches!(verify(&detached, &any()), Err(EnvelopeError::Form(_))));
    let certless = shop.sign("cms", "ec", " -md sha256 -nocerts");
    assert!(matches!(verify(&certless, &any()), Err(EnvelopeError::Form(_))));
}

#[test]
fn two_signers_are_refused() {
    let shop = Workshop::new();
    shop.self_signed("one", P256, "").self_signed("two", P256, "");
    let pem = shop.sign("cms", "one", " -signer two.pem -inkey two.key -md sha256");
    assert!(matches!(verify(&pem, &any()), Err(EnvelopeError::Form(_))));
}

#[test]
fn only_the_signed_format_is_opened() {
    use slipway_protocol::commands::Envelope;
    let text = String::from_utf8(CONTENT.to_vec()).unwrap();
    let unsigned = Envelope::new("TEXT/JSON", text);
    assert!(matches!(open(&unsigned, &any()), Err(EnvelopeError::Format(_))));
    assert!(matches!(open(&Envelope { format: None, payload: None }, &any()), Err(EnvelopeError::Format(_))));
    let shop = Workshop::new();
    shop.self_signed("ec", P256, "");
    let signed = Envelope::new("PKCS7/JSON", shop.sign("cms", "ec", " -md sha256"));
    assert_eq!(open(&signed, &any()).unwrap().content, CONTENT);
}

#[test]
fn an_endless_envelope_is_not_read() {
    assert!(matches!(verify(&"A".repeat(MAX_ENVELOPE + 1), &any()), Err(EnvelopeError::TooLong(_))));
}

#[test]
fn a_file_without_certificates_is_no_anchor() {
    assert!(Anchors::from_pem(b"").is_err());
    assert!(Anchors::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
}
