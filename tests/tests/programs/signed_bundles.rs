//! Hosts that trust keys: what no such key has signed is not unpacked.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Result, ensure};
use minisign::KeyPair;
use slipway_tests::agent::Agent;
use slipway_tests::fleet::{BUCKET, Bundle, Fleet};
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, app};

use crate::expect::{contains, failed_in, names, page, succeeded};

/// Makes a pair of keys, and a file of the public one.
fn keys(place: &Place, name: &str) -> Result<(KeyPair, String)> {
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let file = place.path().join(format!("{name}.pub"));
    fs::write(&file, pair.pk.to_box()?.into_string())?;
    Ok((pair, file.display().to_string()))
}

fn sign(pair: &KeyPair, content: &[u8]) -> Result<String> {
    let comment = Some("release of a test");
    Ok(minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(content), comment, None)?.into_string())
}

/// Puts a bundle in S3 and something as its signature beside it.
fn push(fleet: &Fleet<'_>, name: &str, bytes: &[u8], signature: Option<&str>) -> Result<Bundle> {
    let bundle = fleet.group.push_packed(name, bytes.to_vec(), BundleKind::Tgz)?;
    if let Some(signature) = signature {
        fleet.api.put(BUCKET, &format!("{}.minisig", bundle.key()), signature.as_bytes().to_vec())?;
    }
    Ok(bundle)
}

#[test]
fn only_what_a_trusted_key_has_signed_comes_from_s3() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let (old, old_file) = keys(place, "old")?;
        let (new, new_file) = keys(place, "new")?;
        let (stranger, _) = keys(place, "stranger")?;
        fleet.agent.configure("30-keys.yml", &format!("trusted_bundle_keys: [{old_file}, {new_file}]\n"))?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        for (name, pair) in [("by-the-old-key", &old), ("by-the-new-key", &new)] {
            let bytes = app(&destination, name, &[]).pack(BundleKind::Tgz)?;
            let bundle = push(&fleet, name, &bytes, Some(&sign(pair, &bytes)?))?;
            succeeded(&fleet.group.deploy(&bundle)?)?;
            ensure!(page(&destination)? == name);
        }
        contains(&fleet.agent.log(), &["the bundle's signature is valid", "release of a test"])?;

        let bytes = app(&destination, "evil", &[]).pack(BundleKind::Tgz)?;
        let too_long = "x".repeat(20_000);
        let rows: [(&str, Option<String>, &[&str]); 5] = [
            ("unsigned", None, &["s3://bundles/blue/unsigned.minisig", "no signature"]),
            ("by-a-stranger", Some(sign(&stranger, &bytes)?), &["signed by the key", "old.pub", "new.pub"]),
            ("of-something-else", Some(sign(&new, b"something else")?), &["is not its signature of this content"]),
            ("cut-off", Some(sign(&new, &bytes)?[..200].to_owned()), &["not a signature of minisign"]),
            ("too-long", Some(too_long), &["too-long.minisig", "longer than the 16384 bytes"]),
        ];
        for (name, signature, parts) in rows {
            let bundle = push(&fleet, name, &bytes, signature.as_deref())?;
            let finished = fleet.group.deploy(&bundle)?;
            let message = failed_in(&finished, "DownloadBundle")?;
            contains(&message, &[&format!("s3://bundles/blue/{name}")])?;
            contains(&message, parts)?;
            ensure!(page(&destination)? == "by-the-new-key", "{name} was installed");
            nothing_unpacked(&fleet.agent, &finished.id)?;
        }
        Ok(())
    })
}

/// Nothing but logs is left of a deployment.
fn nothing_unpacked(agent: &Agent<'_>, deployment: &str) -> Result<()> {
    for group in fs::read_dir(agent.root())?.flatten() {
        let left = names(&group.path().join(deployment));
        ensure!(left.iter().all(|name| name == "logs"), "{left:?} is left of {deployment}");
    }
    Ok(())
}

#[test]
fn a_local_bundle_needs_its_signature_beside_it_and_a_directory_is_refused() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let (pair, file) = keys(place, "key")?;
        agent.configure("30-keys.yml", &format!("trusted_bundle_keys: {file}\n"))?;
        let destination = place.path().join("app");
        let bundle = place.path().join("app.tgz");
        let bytes = app(&destination, "signed", &[]).pack(BundleKind::Tgz)?;
        fs::write(&bundle, &bytes)?;
        let location = bundle.display().to_string();
        let deploy = |command: &str| agent.output(&[command, "-l", &location, "-t", "tgz", "-g", "g1"]);
        for command in ["plan", "deploy-local"] {
            let refused = deploy(command)?;
            ensure!(!refused.status.success() && !destination.exists(), "{command}: {refused:?}");
            contains(&String::from_utf8_lossy(&refused.stderr), &["app.tgz is refused", "app.tgz.minisig"])?;
        }
        fs::write(place.path().join("app.tgz.minisig"), sign(&pair, &bytes)?)?;
        for command in ["plan", "deploy-local"] {
            let done = deploy(command)?;
            ensure!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
        }
        ensure!(page(&destination)? == "signed" && bundle.exists());
        let directory = place.directory("revision")?;
        app(&destination, "unsigned", &[]).write(&directory)?;
        let refused = agent.output(&["deploy-local", "-l", &directory.display().to_string(), "-g", "g1"])?;
        ensure!(!refused.status.success() && page(&destination)? == "signed");
        contains(&String::from_utf8_lossy(&refused.stderr), &["cannot be signed", "pack it"])?;
        rolls_back_without_a_signature(&agent, &destination, &pair, place)
    })
}

/// What is on the host was held to the keys when it came.
fn rolls_back_without_a_signature(agent: &Agent<'_>, destination: &Path, pair: &KeyPair, place: &Place) -> Result<()> {
    let bundle = place.path().join("second.tgz");
    let bytes = app(destination, "second", &[]).pack(BundleKind::Tgz)?;
    fs::write(&bundle, &bytes)?;
    fs::write(place.path().join("second.tgz.minisig"), sign(pair, &bytes)?)?;
    let location = bundle.display().to_string();
    let deployed = agent.output(&["deploy-local", "-l", &location, "-t", "tgz", "-g", "g1"])?;
    ensure!(deployed.status.success() && page(destination)? == "second", "{deployed:?}");
    let back = agent.output(&["rollback", "--group", "g1"])?;
    ensure!(back.status.success() && page(destination)? == "signed", "{back:?}");
    Ok(())
}

#[test]
fn a_file_that_is_no_key_keeps_the_agent_from_starting() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let file = place.path().join("key.pub");
        fs::write(&file, "not a key\n")?;
        agent.configure("30-keys.yml", &format!("trusted_bundle_keys: {}\n", file.display()))?;
        let ended = agent.output(&["run"])?;
        ensure!(!ended.status.success());
        contains(&String::from_utf8_lossy(&ended.stderr), &["key.pub", "trusted_bundle_keys", "minisign -G"])
    })
}
