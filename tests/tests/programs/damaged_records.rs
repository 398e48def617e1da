//! A file of one group that is damaged: the others are shown in full, and the line that names it says what to do.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::app;

use crate::expect::contains;

const GROUPS: [&str; 2] = ["damaged", "whole"];

fn host(place: &Place) -> Result<Agent<'_>> {
    let agent = Agent::alone(place, "web-1")?;
    for group in GROUPS {
        let directory = place.directory(&format!("revision-{group}"))?;
        app(&place.path().join(group), "page", &[]).write(&directory)?;
        let location = directory.display().to_string();
        let output = agent.output(&["deploy-local", "-l", &location, "-g", group])?;
        ensure!(output.status.success(), "{output:?}");
    }
    Ok(agent)
}

type Damage = Box<dyn Fn() -> Result<()>>;

/// Each way in which a file can be damaged; the last makes it whole again.
fn damages(file: &Path) -> Result<Vec<(&'static str, Damage)>> {
    let whole = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let write = |text: String| {
        let file = file.to_owned();
        Box::new(move || {
            let _ = fs::remove_dir(&file);
            Ok(fs::write(&file, &text)?)
        }) as Damage
    };
    let (half, other) = (whole[..whole.len() / 2].to_owned(), whole.replacen("\"format\":1", "\"format\":99", 1));
    ensure!(other != whole, "{whole}");
    let directory = file.to_owned();
    Ok(vec![
        ("cut off", write(half)),
        ("empty", write(String::new())),
        ("no JSON", write("<html>".to_owned())),
        ("of another format", write(other)),
        (
            "a directory",
            Box::new(move || {
                fs::remove_file(&directory)?;
                Ok(fs::create_dir(&directory)?)
            }),
        ),
        ("whole", write(whole)),
    ])
}

#[test]
fn status_shows_the_other_groups_and_names_the_file() -> Result<()> {
    scenario(|place| {
        let agent = host(place)?;
        let file = agent.root().join(".slipway/groups/damaged.json");
        for (how, damage) in damages(&file)? {
            damage()?;
            let output = agent.output(&["status"])?;
            let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
            let json = agent.status()?;
            let problems = json["problems"].as_array().context("a list")?;
            let mine = problems.iter().find(|problem| problem["problem"] == "record_unreadable");
            contains(&text, &["Group whole", "good"]).with_context(|| format!("{how}: {output:?}"))?;
            let group = json["groups"].as_array().context("a list")?.iter().find(|group| group["id"] == "whole");
            ensure!(group.is_some_and(|group| group["last_successful"].is_object()), "{how}: {json}");
            if how == "whole" {
                ensure!(mine.is_none() && !text.contains("UNREADABLE"), "{text}");
                continue;
            }
            let name = file.display().to_string();
            contains(&text, &["what is kept of group damaged cannot be read", &name, "Group damaged", "UNREADABLE"])
                .with_context(|| how)?;
            let why = mine.and_then(|problem| problem["why"].as_str()).context("the problem is in the JSON too")?;
            contains(why, &[&name])?;
            ensure!(output.status.code().is_some_and(|code| code != 0), "{how}: {output:?}");
        }
        Ok(())
    })
}

#[test]
fn drift_checks_the_other_groups_and_says_what_it_could_not_check() -> Result<()> {
    scenario(|place| {
        let agent = host(place)?;
        let file = agent.root().join(".slipway/manifests/damaged.json");
        for (how, damage) in damages(&file)? {
            damage()?;
            let output = agent.output(&["drift"])?;
            let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if how == "whole" {
                ensure!(output.status.success(), "{output:?}");
                continue;
            }
            contains(&error, &["not checked", &file.display().to_string()]).with_context(|| how)?;
            ensure!(output.status.code() == Some(2), "{how}: {output:?}");
            ensure!(!out.contains("Nothing is installed"), "{how}: {out}");
            let json: Value = serde_json::from_slice(&agent.output(&["drift", "--json"])?.stdout)?;
            ensure!(json["unreadable"].as_array().is_some_and(|list| !list.is_empty()), "{how}: {json}");
        }
        Ok(())
    })
}

/// What the daemon wrote of itself is no reason to hide what is deployed.
#[test]
fn a_damaged_status_file_hides_no_group() -> Result<()> {
    scenario(|place| {
        let agent = host(place)?;
        for text in ["", "{", "[1]"] {
            fs::write(agent.root().join(".slipway/status.json"), text)?;
            let output = agent.output(&["status"])?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            contains(&said, &["status.json", "Group whole", "Group damaged"])?;
            ensure!(!output.status.success(), "{output:?}");
        }
        Ok(())
    })
}
