//! `drift`, and what `status` says of it.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::place::scenario;
use slipway_tests::revision::app;

use crate::expect::contains;

#[test]
fn drift_is_found_told_and_remembered() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let directory = place.directory("revision")?;
        let nothing = host.output(&["drift"])?;
        ensure!(nothing.status.code() == Some(0), "{nothing:?}");
        for group in ["shop", "other"] {
            app(&destination.join(group), "page", &[]).write(&directory)?;
            let deployed = host.output(&["deploy-local", "-l", &directory.display().to_string(), "-g", group])?;
            ensure!(deployed.status.success(), "{deployed:?}");
        }
        ensure!(host.status()?["groups"][0]["drift"].is_null());
        let clean = host.output(&["drift"])?;
        let text = String::from_utf8_lossy(&clean.stdout).into_owned();
        ensure!(clean.status.code() == Some(0), "{clean:?}");
        contains(&text, &["Group shop", "Group other", "all as they were installed"])?;

        let page = destination.join("shop/page");
        fs::write(&page, "tampered with")?;
        fs::write(destination.join("shop/extra"), "x")?;
        let drifted = host.output(&["drift"])?;
        let text = String::from_utf8_lossy(&drifted.stdout).into_owned();
        ensure!(drifted.status.code() == Some(1), "{drifted:?}");
        contains(&text, &[&format!("{}: content, 4 → 13 bytes", page.display()), "Group other", "1 drifted"])?;
        ensure!(!text.contains("extra"), "{text}");

        let json = host.output(&["drift", "--group", "shop", "--json", "--added"])?;
        ensure!(json.status.code() == Some(1), "{json:?}");
        let json: Value = serde_json::from_slice(&json.stdout)?;
        let drift = &json["groups"][0]["drift"];
        ensure!(json["groups"].as_array().is_some_and(|groups| groups.len() == 1), "{json}");
        ensure!(
            drift[0]["differences"][0]["what"] == "added" && drift[1]["differences"][0]["what"] == "content",
            "{json}"
        );
        ensure!(host.output(&["drift", "-g", "other"])?.status.code() == Some(0));

        let status = host.status()?;
        let groups = status["groups"].as_array().cloned().unwrap_or_default();
        let counts: Vec<_> = groups.iter().map(|group| (&group["id"], &group["drift"]["drifted"])).collect();
        ensure!(groups.len() == 2 && groups.iter().all(|group| group["drift"]["at"].is_string()), "{counts:?}");
        let shown = host.output(&["status"])?;
        contains(&String::from_utf8_lossy(&shown.stdout), &["drift     2 paths, checked", "drift     none, checked"])
    })
}

#[test]
fn a_check_that_cannot_be_made_is_not_taken_for_one_that_found_nothing() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let unknown = host.output(&["drift", "-g", "nobody"])?;
        ensure!(unknown.status.code() == Some(2), "{unknown:?}");
        contains(&String::from_utf8_lossy(&unknown.stderr), &["nobody", "nothing has been deployed"])?;
        let directory = place.directory("revision")?;
        app(&place.path().join("app"), "page", &[]).write(&directory)?;
        host.output(&["deploy-local", "-l", &directory.display().to_string(), "-g", "shop"])?;
        let manifest = host.root().join(".slipway/manifests/shop.json");
        let text = fs::read_to_string(&manifest)?;
        fs::write(&manifest, &text[..text.len() / 2])?;
        let broken = host.output(&["drift"])?;
        ensure!(broken.status.code() == Some(2), "{broken:?}");
        contains(&String::from_utf8_lossy(&broken.stderr), &["shop.json", "cannot be read"])
    })
}
