#![allow(clippy::disallowed_methods, reason = "tests run the programs that operators use")]

use std::path::Path;
use std::process::Command;

use super::*;
use crate::envelope::SpecSigner;

fn name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap()
}

fn data() -> (tempfile::TempDir, DataDir) {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::create(directory.path()).unwrap();
    (directory, data)
}

/// Whether there is an `openssl` to judge; said aloud if not.
fn openssl_is_there() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !found {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: there is no `openssl` command on the PATH\n"),
        );
    }
    found
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> (bool, String) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn openssl_verifies_an_envelope_and_gives_its_content_back() {
    if !openssl_is_there() {
        return;
    }
    let (directory, data) = data();
    let pki = open(&data, &[]).unwrap();
    let content: Vec<u8> = (0..=255u8).cycle().take(5_000).chain(*b"\r\nline\n\n\r").collect();
    let pem = SpecSigner::new(pki.signer).sign(&content).unwrap();
    assert!(pem.starts_with("-----BEGIN PKCS7-----\n") && pem.ends_with("-----END PKCS7-----\n"));
    assert_eq!(pem.lines().nth(1).unwrap().len(), 64);
    std::fs::write(directory.path().join("spec.pem"), &pem).unwrap();

    let verify =
        ["smime", "-verify", "-binary", "-CAfile", "pki/ca.pem", "-inform", "PEM", "-in", "spec.pem", "-out", "out"];
    let (verified, text) = run("openssl", &verify, directory.path());
    assert!(verified, "{text}");
    assert_eq!(std::fs::read(directory.path().join("out")).unwrap(), content);

    // One changed content byte (its base64 is somewhere in the middle) must be refused.
    let der = openssl_der(&pem, directory.path());
    let at = der.windows(16).position(|window| window == &content[1000..1016]).unwrap();
    let mut changed = der;
    changed[at] ^= 1;
    std::fs::write(directory.path().join("changed.der"), &changed).unwrap();
    let verify =
        ["smime", "-verify", "-binary", "-CAfile", "pki/ca.pem", "-inform", "DER", "-in", "changed.der", "-out", "out"];
    assert!(!run("openssl", &verify, directory.path()).0);
}

fn openssl_der(pem: &str, directory: &Path) -> Vec<u8> {
    std::fs::write(directory.join("any.pem"), pem).unwrap();
    let (converted, text) =
        run("openssl", &["pkcs7", "-in", "any.pem", "-outform", "DER", "-out", "any.der"], directory);
    assert!(converted, "{text}");
    std::fs::read(directory.join("any.der")).unwrap()
}

#[test]
fn the_servers_certificate_is_good_for_its_names_and_not_for_signing_specifications() {
    if !openssl_is_there() {
        return;
    }
    let (directory, data) = data();
    open(&data, &[name("deploy.example.org"), name("192.0.2.7")]).unwrap();
    let verify = |extra: &[&str]| {
        let mut arguments = vec!["verify", "-CAfile", "pki/ca.pem", "-purpose", "sslserver"];
        arguments.extend(extra);
        arguments.push("pki/server.pem");
        run("openssl", &arguments, directory.path()).0
    };
    assert!(verify(&["-verify_hostname", "deploy.example.org"]));
    assert!(verify(&["-verify_hostname", "bucket.deploy.example.org"]));
    assert!(verify(&["-verify_hostname", "localhost"]));
    assert!(verify(&["-verify_ip", "192.0.2.7"]));
    assert!(verify(&["-verify_ip", "127.0.0.1"]));
    assert!(verify(&["-verify_ip", "::1"]));
    assert!(!verify(&["-verify_hostname", "other.example.org"]));
    let purpose = ["verify", "-CAfile", "pki/ca.pem", "-purpose", "smimesign", "pki/server.pem"];
    assert!(!run("openssl", &purpose, directory.path()).0);
}

#[test]
fn certificates_stay_until_the_names_change_and_the_authority_stays_always() {
    let (_directory, data) = data();
    let first = open(&data, &[name("a.example.org")]).unwrap();
    let same = open(&data, &[name("a.example.org")]).unwrap();
    assert_eq!(first.server.chain, same.server.chain);
    assert_eq!(first.ca_pem, same.ca_pem);
    let signer = std::fs::read(data.pki().join("spec-signer.pem")).unwrap();
    let other = open(&data, &[name("b.example.org")]).unwrap();
    assert_ne!(first.server.chain, other.server.chain);
    assert_eq!(first.ca_pem, other.ca_pem);
    assert_eq!(std::fs::read(data.pki().join("spec-signer.pem")).unwrap(), signer);
    assert_eq!(ca_certificate(&data).unwrap(), first.ca_pem);
}

#[test]
fn leaves_of_another_authority_are_replaced_and_a_lost_key_is_an_error() {
    let (_directory, data) = data();
    let first = open(&data, &[]).unwrap();
    std::fs::remove_file(data.pki().join("ca-key.pem")).unwrap();
    assert!(matches!(open(&data, &[]), Err(PkiError::KeyMissing)));
    std::fs::remove_file(data.pki().join("ca.pem")).unwrap();
    let second = open(&data, &[]).unwrap();
    assert_ne!(first.ca_pem, second.ca_pem);
    assert_ne!(first.server.chain, second.server.chain);
    std::fs::write(data.pki().join("ca-key.pem"), "no PEM at all").unwrap();
    assert!(matches!(open(&data, &[]), Err(PkiError::Damaged { file: "ca-key.pem", .. })));
}

/// The agents' own judge of chains. It must take the signer for any use, and the server for its own only.
#[test]
fn webpki_takes_the_signer_and_refuses_the_servers_certificate_as_one() {
    let (_directory, data) = data();
    let pki = open(&data, &[]).unwrap();
    let read = |file: &str| {
        let content = std::fs::read(data.pki().join(file)).unwrap();
        leaf::certificate_in(&content).unwrap().der
    };
    let ca = read("ca.pem");
    let anchor = [webpki::anchor_from_trusted_cert(&ca).unwrap()];
    let now = rustls_pki_types::UnixTime::now();
    /// id-kp-emailProtection
    const SIGNS_MAIL: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x04];
    let usage = webpki::KeyUsage::required_if_present(SIGNS_MAIL);
    let takes = |der: &CertificateDer<'_>, usage| {
        let certificate = webpki::EndEntityCert::try_from(der).unwrap();
        certificate.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchor, &[], now, usage, None, None).is_ok()
    };
    let signer = read("spec-signer.pem");
    assert!(takes(&signer, usage));
    assert!(!takes(&pki.server.chain[0], usage));
    assert!(takes(&pki.server.chain[0], webpki::KeyUsage::server_auth()));
    let other = tempfile::tempdir().unwrap();
    let other = open(&DataDir::create(other.path()).unwrap(), &[]).unwrap();
    assert!(!takes(&other.server.chain[0], webpki::KeyUsage::server_auth()), "another authority's");
}

#[test]
fn a_certificate_that_nears_its_end_is_renewed() {
    let (_directory, data) = data();
    let first = open(&data, &[]).unwrap();
    let path = data.pki().join("server.pem");
    for (days, renewed) in [(300, false), (100, true)] {
        let authority = Authority::open(&data).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["localhost", "*.localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        leaf::set_term(&mut params, days);
        let certificate = params.signed_by(&key, authority.issuer()).unwrap();
        std::fs::write(&path, key.serialize_pem() + &certificate.pem()).unwrap();
        let opened = open(&data, &[]).unwrap();
        assert_eq!(opened.server.chain[0] != *certificate.der(), renewed, "{days} days left");
        assert_eq!(opened.ca_pem, first.ca_pem);
    }
}
