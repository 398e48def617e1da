//! Hosts that trust keys: what no such key has signed is not unpacked.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use minisign::KeyPair;
use slipway_tests::agent::Agent;
use slipway_tests::deployment::{Finished, finish};
use slipway_tests::fleet::{BUCKET, Bundle, Fleet, Group, OnFailure, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::until;

use crate::expect::{contains, failed_in, names, page, succeeded};

/// Makes a pair of keys, and a file of the public one.
fn keys(place: &Place, name: &str) -> Result<(KeyPair, String)> {
    let pair = KeyPair::generate_unencrypted_keypair()?;
    let file = place.path().join(format!("{name}.pub"));
    fs::write(&file, pair.pk.to_box()?.into_string())?;
    Ok((pair, file.display().to_string()))
}

fn sign(pair: &KeyPair, content: &[u8]) -> Result<String> {
    sign_saying(pair, content, "release of a test")
}

/// Signs with a trusted comment.
fn sign_saying(pair: &KeyPair, content: &[u8], comment: &str) -> Result<String> {
    Ok(minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(content), Some(comment), None)?.into_string())
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

/// A fleet that trusts two keys, and the destination of what it is given.
struct Releases<'a> {
    fleet: Fleet<'a>,
    destination: PathBuf,
}

impl Releases<'_> {
    /// Deploys a bundle with that name by one of the keys, with a trusted comment.
    fn deploy(&self, name: &str, pair: &KeyPair, comment: &str) -> Result<Finished> {
        let bytes = app(&self.destination, name, &[]).pack(BundleKind::Tgz)?;
        self.fleet.group.deploy(&push(&self.fleet, name, &bytes, Some(&sign_saying(pair, &bytes, comment)?))?)
    }

    fn is_refused(&self, name: &str, pair: &KeyPair, comment: &str, parts: &[&str]) -> Result<()> {
        let before = page(&self.destination)?;
        let finished = self.deploy(name, pair, comment)?;
        let message = failed_in(&finished, "DownloadBundle")?;
        contains(&message, &[&format!("the bundle s3://bundles/blue/{name} is refused")])?;
        contains(&message, parts)?;
        ensure!(page(&self.destination)? == before, "{name} was installed");
        nothing_unpacked(&self.fleet.agent, &finished.id)
    }
}

#[test]
fn an_old_or_expired_signed_bundle_does_not_come_back() -> Result<()> {
    scenario(|place| {
        let (old, old_file) = keys(place, "old")?;
        let (new, new_file) = keys(place, "new")?;
        let mut releases = Releases { fleet: Fleet::gather(place)?, destination: place.path().join("app") };
        releases.fleet.agent.configure("30-keys.yml", &format!("trusted_bundle_keys: [{old_file}, {new_file}]\n"))?;
        releases.fleet.agent.start()?;
        succeeded(&releases.deploy("unnumbered", &old, "shop 4")?)?;
        let five = releases.deploy("five", &old, "shop 5\tsequence:5 expires:2999-01-31T00:00:00Z")?;
        succeeded(&five)?;
        // The floor is that of all trusted keys.
        releases.is_refused(
            "four",
            &new,
            "sequence:4",
            &["sequence 4", "sequence 5 already", &five.id, "only a rollback"],
        )?;
        releases.is_refused("none", &new, "shop 9", &["has no sequence", "sequence 5 already"])?;
        let expired = &["expired at 2020-01-31T00:00:00Z", "by this host's clock it is 2"];
        releases.is_refused("expired", &new, "sequence:9 expires:2020-01-31T00:00:00Z", expired)?;
        releases.is_refused("unclear", &new, "sequence:nine", &["\"sequence:nine\"", "sequence:42"])?;
        releases.is_refused(
            "too-late",
            &new,
            "expires:soon sequence:9",
            &["expires:soon", "expires:2027-01-31T00:00:00Z"],
        )?;
        // It outlives the agent, and what was refused did not raise it.
        releases.fleet.agent.stop()?;
        releases.fleet.agent.start()?;
        releases.is_refused("four-again", &old, "sequence:4", &["sequence 5 already"])?;
        succeeded(&releases.deploy("five-again", &old, "sequence:5")?)?;
        succeeded(&releases.deploy("six", &new, "sequence:6")?)?;
        releases.is_refused("five-at-last", &old, "sequence:5", &["sequence 6 already"])?;
        // A key that is not trusted any more holds nothing back, and brings nothing.
        releases.fleet.agent.stop()?;
        releases.fleet.agent.configure("30-keys.yml", &format!("trusted_bundle_keys: [{old_file}]\n"))?;
        releases.fleet.agent.start()?;
        let revoked = releases.deploy("seven", &new, "sequence:7")?;
        contains(&failed_in(&revoked, "DownloadBundle")?, &["signed by the key", "old.pub"])?;
        succeeded(&releases.deploy("five-by-the-old-key", &old, "sequence:5")?)
    })
}

#[test]
fn a_rollback_of_the_service_brings_an_older_signed_bundle_back() -> Result<()> {
    scenario(|place| {
        let (pair, file) = keys(place, "key")?;
        let mut fleet = Fleet::gather(place)?;
        fleet.group = Group::create(&fleet.control, &fleet.api, "green", OnFailure::RollBack)?;
        fleet.agent = Agent::register(place, &fleet.control, "web-2", &["green"])?;
        fleet.agent.configure("30-keys.yml", &format!("trusted_bundle_keys: {file}\n"))?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        let deploy = |name: &str, sequence: u64, hooks: &[Hook<'_>]| {
            let bytes = app(&destination, name, hooks).pack(BundleKind::Tgz)?;
            let signature = sign_saying(&pair, &bytes, &format!("sequence:{sequence}"))?;
            fleet.group.deploy(&push(&fleet, name, &bytes, Some(&signature))?)
        };
        succeeded(&deploy("one", 1, &[])?)?;
        let failed = deploy("two", 2, &[Hook::new("ValidateService", "exit 1")])?;
        failed_in(&failed, "ValidateService")?;
        let rollback = until("the rollback to begin", PATIENCE, || {
            let info = slipway_tests::deployment::info(&fleet.api, &failed.id)?;
            Ok(info["rollbackInfo"]["rollbackDeploymentId"].as_str().map(str::to_owned))
        })?;
        succeeded(&finish(&fleet.api, &rollback, PATIENCE)?)?;
        ensure!(page(&destination)? == "one");
        // Without a rollback it stays refused.
        let finished = deploy("one", 1, &[])?;
        contains(&failed_in(&finished, "DownloadBundle")?, &["sequence 2 already"])
    })
}

#[test]
fn a_local_deployment_goes_back_by_its_option_alone_and_a_plan_changes_nothing() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let (pair, file) = keys(place, "key")?;
        let (_, other_file) = keys(place, "other")?;
        agent.configure("30-keys.yml", &format!("trusted_bundle_keys: [{file}, {other_file}]\n"))?;
        let destination = place.path().join("app");
        let bundle = |name: &str, comment: &str| -> Result<String> {
            let path = place.path().join(format!("{name}.tgz"));
            let bytes = app(&destination, name, &[]).pack(BundleKind::Tgz)?;
            fs::write(&path, &bytes)?;
            fs::write(place.path().join(format!("{name}.tgz.minisig")), sign_saying(&pair, &bytes, comment)?)?;
            Ok(path.display().to_string())
        };
        let run = |command: &str, bundle: &str, more: &[&str]| {
            agent.output(&[&[command, "-l", bundle, "-t", "tgz", "-g", "g1"], more].concat())
        };
        let accepted = |command: &str, bundle: &str, more: &[&str]| {
            let output = run(command, bundle, more)?;
            ensure!(output.status.success(), "{command} {bundle}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        let refused = |command: &str, bundle: &str, part: &str| {
            let output = run(command, bundle, &[])?;
            ensure!(!output.status.success(), "{command} {bundle}");
            contains(&String::from_utf8_lossy(&output.stderr), &[part])
        };
        let (one, two, nine) =
            (bundle("one", "sequence:1")?, bundle("two", "sequence:2")?, bundle("nine", "sequence:9")?);
        let expired = bundle("expired", "sequence:3 expires:2020-01-31T00:00:00Z")?;
        accepted("deploy-local", &one, &[])?;
        accepted("plan", &nine, &[])?;
        accepted("deploy-local", &two, &[])?;
        for command in ["plan", "deploy-local"] {
            refused(command, &one, "this group was given sequence 2 already")?;
            refused(command, &expired, "expired at 2020-01-31T00:00:00Z")?;
            accepted(command, &one, &["--allow-older"])?;
        }
        ensure!(page(&destination)? == "one");
        refused("deploy-local", &one, "this group was given sequence 2 already")?;
        accepted("deploy-local", &two, &[])?;
        // What was unpacked while its key was trusted can be gone back to.
        agent.configure("30-keys.yml", &format!("trusted_bundle_keys: {other_file}\n"))?;
        refused("deploy-local", &two, "it is signed by the key")?;
        ensure!(agent.output(&["rollback", "--group", "g1"])?.status.success() && page(&destination)? == "one");
        Ok(())
    })
}
