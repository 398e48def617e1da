//! The record of scripts: its entries, changes that it shows, and a place where it cannot be written.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use minisign::KeyPair;
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, Hook, app};

use crate::expect::{contains, failed_in, succeeded};

fn audit(agent: &Agent<'_>, options: &[&str]) -> Result<(Option<i32>, String)> {
    let output = agent.output(&[&["audit"], options].concat())?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), said))
}

fn record(agent: &Agent<'_>) -> PathBuf {
    agent.root().join(".slipway/audit/scripts.jsonl")
}

fn deploy(place: &Place, agent: &Agent<'_>, name: &str, lines: &str) -> Result<bool> {
    let directory = place.directory(name)?;
    app(&place.path().join(format!("app-{name}")), "page", &[Hook::new("AfterInstall", lines)]).write(&directory)?;
    let location = directory.display().to_string();
    Ok(agent.output(&["deploy-local", "-l", &location, "-g", name])?.status.success())
}

#[test]
fn each_script_is_on_record_with_its_user_its_digest_and_who_signed() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let hooks = [Hook::new("AfterInstall", "exit 0"), Hook::new("ValidateService", "exit 3")];
        let revision = app(&place.path().join("app"), "page", &hooks);
        let finished = fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        failed_in(&finished, "ValidateService")?;
        let (code, said) = audit(&fleet.agent, &["--json"])?;
        ensure!(code == Some(0), "{said}");
        let report: Value = serde_json::from_str(&said)?;
        let entries = report["entries"].as_array().context("a list")?;
        ensure!(entries.len() == 4, "{report}");
        let of = |number: usize, name: &str| entries[number][name].as_str().unwrap_or_default().to_owned();
        ensure!((of(0, "what"), of(1, "what"), of(3, "what")) == ("begun".into(), "ended".into(), "ended".into()));
        ensure!((of(1, "result"), of(3, "result")) == ("exit 0".into(), "exit 3".into()), "{report}");
        for (number, entry) in entries.iter().enumerate() {
            ensure!(of(number, "deployment") == finished.id && of(number, "sha256").len() == 64, "{report}");
            contains(&of(number, "signer"), &["certificate "])?;
            ensure!(!of(number, "user").is_empty() && entry["uid"].is_u64());
        }
        let (_, text) = audit(&fleet.agent, &["-d", &finished.id])?;
        contains(&text, &["AfterInstall scripts/AfterInstall.sh begun", "ended with exit 3", "certificate"])?;
        let mode = fs::metadata(record(&fleet.agent))?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{mode:o}");
        Ok(())
    })
}

#[test]
fn the_key_that_signed_the_bundle_is_on_record_for_its_scripts_also_after_a_rollback() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let pair = KeyPair::generate_unencrypted_keypair()?;
        let public = place.path().join("release.pub");
        fs::write(&public, pair.pk.to_box()?.into_string())?;
        let id = public_id(&fs::read_to_string(&public)?)?;
        agent.configure("30-keys.yml", &format!("trusted_bundle_keys: [{}]\n", public.display()))?;
        for version in ["v1", "v2"] {
            let bytes = app(&place.path().join("app"), version, &[Hook::new("AfterInstall", "exit 0")])
                .pack(BundleKind::Tgz)?;
            let bundle = place.path().join(format!("{version}.tgz"));
            fs::write(&bundle, &bytes)?;
            let signature = minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(&bytes), Some(version), None)?;
            fs::write(place.path().join(format!("{version}.tgz.minisig")), signature.into_string())?;
            let output = agent.output(&["deploy-local", "-l", &bundle.display().to_string(), "-g", "shop"])?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        ensure!(agent.output(&["rollback", "--group", "shop"])?.status.success());
        let (_, said) = audit(&agent, &["--json"])?;
        let report: Value = serde_json::from_str(&said)?;
        let keys: Vec<&str> = report["entries"]
            .as_array()
            .context("a list")?
            .iter()
            .map(|entry| entry["bundle_key"].as_str().unwrap_or("none"))
            .collect();
        ensure!(keys.len() == 6 && keys.iter().all(|key| *key == id), "{id}: {report}");
        let (_, said) = audit(&agent, &["-n", "2"])?;
        contains(&said, &[&format!("bundle signed by the key {id}")])?;
        ensure!(said.matches("of group shop").count() == 2, "{said}");
        Ok(())
    })
}

/// The id in the comment of a public key's file.
fn public_id(file: &str) -> Result<String> {
    let comment = file.lines().next().context("a comment")?;
    Ok(comment.rsplit(' ').next().context("an id")?.to_owned())
}

#[test]
fn a_change_of_the_record_is_found_at_its_line() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        for number in 0..3 {
            ensure!(deploy(place, &agent, &format!("group-{number}"), "exit 0")?);
        }
        let (code, said) = audit(&agent, &["--verify"])?;
        ensure!(code == Some(0), "{said}");
        contains(&said, &["is whole from line 1 to 6"])?;
        let file = record(&agent);
        let whole = fs::read_to_string(&file)?;
        contains(&whole, &["by hand: "])?;
        let lines: Vec<&str> = whole.lines().collect();
        let swapped = [&lines[..1], &[lines[2], lines[1]], &lines[3..]].concat().join("\n") + "\n";
        let removed = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
        let changed = whole.replacen("exit 0", "exit 1", 1);
        for (text, line) in [(changed, 3), (removed, 3), (swapped, 2)] {
            fs::write(&file, text)?;
            let (code, said) = audit(&agent, &["--verify"])?;
            ensure!(code == Some(1), "{said}");
            contains(&said, &[&format!("BROKEN {}:{line}:", file.display())])?;
        }
        // A crash in the middle of a line is none.
        fs::write(&file, &whole[..whole.len() - 30])?;
        ensure!(deploy(place, &agent, "later", "exit 0")?);
        let (code, said) = audit(&agent, &["--verify"])?;
        ensure!(code == Some(0), "{said}");
        contains(&said, &["a crash cut this line off"])
    })
}

#[test]
fn script_record_says_what_happens_to_what_cannot_be_recorded() -> Result<()> {
    scenario(|place| {
        for (setting, runs, is_recorded) in [
            ("script_record: on\n", true, false),
            ("script_record: required\n", false, false),
            ("script_record: off\n", true, true),
        ] {
            let name = format!("host-{}", fastrand::u64(..));
            let agent = Agent::alone(place, &name)?;
            agent.configure("30-record.yml", setting)?;
            let ran = place.path().join(format!("ran-{name}"));
            // Something that is no file is in the record's place.
            fs::create_dir_all(record(&agent))?;
            ensure!(deploy(place, &agent, &name, &format!("touch {}", ran.display()))? == runs, "{setting}");
            ensure!(ran.exists() == runs, "{setting}");
            fs::remove_dir(record(&agent))?;
            ensure!(deploy(place, &agent, &format!("{name}-again"), "exit 0")?, "{setting}");
            ensure!(record(&agent).exists() != is_recorded, "{setting}");
        }
        Ok(())
    })
}

#[test]
fn script_record_size_is_where_a_new_file_of_the_record_begins() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("30-record.yml", "script_record_size: 1k\n")?;
        for number in 0..4 {
            ensure!(deploy(place, &agent, &format!("group-{number}"), "exit 0")?);
        }
        let older = record(&agent).with_extension("jsonl.1");
        let length = fs::metadata(&older)?.len();
        ensure!((1 << 10..2 << 10).contains(&length), "{length}");
        let (code, said) = audit(&agent, &["--verify"])?;
        ensure!(code == Some(0), "{said}");
        contains(&said, &["is whole from line 1 to 8"])
    })
}

#[test]
fn what_was_deployed_by_a_service_is_recorded_in_the_agents_next_life_too() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let gate = place.path().join("gate");
        let wait = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
        let revision = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &wait)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Zip)?)?;
        slipway_tests::until::until_true("the script to be on record", slipway_tests::fleet::PATIENCE, || {
            Ok(fs::read_to_string(record(&fleet.agent)).is_ok_and(|text| text.contains("begun")))
        })?;
        fleet.agent.kill()?;
        fs::write(&gate, "")?;
        fleet.agent.start()?;
        succeeded(&slipway_tests::deployment::finish(&fleet.api, &id, slipway_tests::fleet::PATIENCE)?)?;
        let (code, said) = audit(&fleet.agent, &["--verify"])?;
        ensure!(code == Some(0), "{said}");
        contains(&said, &["is whole from line 1 to 2"])
    })
}
