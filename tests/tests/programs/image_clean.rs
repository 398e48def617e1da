//! `image-clean`: what of a host goes, what of its application stays, and when it is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::control::Control;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::{self, Program};
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, names, page, succeeded};

/// What a command of the command line said, and how it ended.
fn said(agent: &Agent<'_>, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = agent.output(arguments)?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), text))
}

/// What `--check` found, each as `what: path`.
fn left(agent: &Agent<'_>, arguments: &[&str]) -> Result<Vec<String>> {
    let output = agent.output(&[&["image-clean", "--check", "--json"], arguments].concat())?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let rows = report["left"].as_array().context("a list")?;
    ensure!(report["clean"] == rows.is_empty(), "{report}");
    ensure!(output.status.code() == Some(i32::from(!rows.is_empty())), "{:?} for {report}", output.status);
    let text = |row: &Value| {
        format!("{}: {}", row["what"].as_str().unwrap_or_default(), row["path"].as_str().unwrap_or_default())
    };
    Ok(rows.iter().map(text).collect())
}

/// All files below a directory, with what is in them.
fn files(directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let (mut found, mut ahead) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                ahead.push(path);
            } else if path.is_file() {
                found.push((path.clone(), fs::read(&path)?));
            }
        }
    }
    Ok(found)
}

/// The value of a key of the on-premises file.
fn identity(agent: &Agent<'_>, key: &str) -> Result<String> {
    let text = fs::read_to_string(agent.home().join("conf/codedeploy.onpremises.yml"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).context("the key is there")?;
    Ok(line.trim_matches('"').to_owned())
}

#[test]
fn an_image_of_a_host_holds_its_application_and_nothing_of_itself() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let log_dir = place.directory("log")?;
        fs::write(log_dir.join("theirs"), "not the agent's")?;
        let metrics = place.path().join("figures.prom");
        fleet.agent.configure(
            "20-logs.yml",
            &format!("log_dir: {}\nmetrics_file: {}\n", log_dir.display(), metrics.display()),
        )?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        for version in ["one", "two"] {
            let revision = app(&destination, version, &[Hook::new("AfterInstall", "echo spoken by a script")]);
            succeeded(&fleet.group.deploy(&fleet.group.push(version, &revision, BundleKind::Tgz)?)?)?;
        }
        until_true("the figures to be written", PATIENCE, || Ok(metrics.exists()))?;

        // As long as the agent runs, nothing goes.
        let (code, text) = said(&fleet.agent, &["image-clean"])?;
        ensure!(code == Some(1), "{text}");
        contains(&text, &["the agent runs on", "systemctl stop slipway-agent"])?;
        ensure!(left(&fleet.agent, &[])?.iter().any(|row| row.starts_with("the agent runs: ")));
        fleet.agent.stop()?;
        ensure!(said(&fleet.agent, &["pause", "--reason", "an image is made"])?.0 == Some(0));

        let secrets = [
            identity(&fleet.agent, "aws_secret_access_key")?,
            identity(&fleet.agent, "aws_access_key_id")?,
            identity(&fleet.agent, "iam_user_arn")?,
            "spoken by a script".to_owned(),
        ];
        let root = fleet.agent.root();
        let before = left(&fleet.agent, &[])?;
        for (what, path) in [
            ("identity of this host", fleet.agent.home().join("conf/codedeploy.onpremises.yml")),
            ("record of this host", root.join(".slipway/host.json")),
            ("host commands", root.join(".slipway/ledger")),
            ("record of the scripts that ran", root.join(".slipway/audit")),
            ("runs of scripts", root.join(".slipway/hooks")),
            ("requests of operators", root.join(".slipway/requests")),
            ("output of scripts", root.join("deployment-logs")),
            ("log of the agent", log_dir.join("codedeploy-agent.log")),
            ("figures for a monitoring system", metrics.clone()),
        ] {
            let found = before.iter().any(|row| row.starts_with(what) && row.ends_with(&path.display().to_string()));
            ensure!(found, "{what} {} is not in {before:#?}", path.display());
        }

        let group = fleet.agent.status()?["groups"][0]["id"].as_str().unwrap_or_default().to_owned();
        let (code, text) = said(&fleet.agent, &["image-clean"])?;
        ensure!(code == Some(0), "{text}");
        contains(&text, &["removed  identity of this host", "What is deployed was kept"])?;
        let after = left(&fleet.agent, &[])?;
        ensure!(after.is_empty(), "{after:#?}");
        ensure!(fs::read_to_string(log_dir.join("theirs"))? == "not the agent's");
        let config = fleet.agent.home().join("conf");
        for (path, content) in files(&root)?.into_iter().chain(files(&log_dir)?).chain(files(&config)?) {
            // The revision's own script says it.
            if path.components().any(|part| part.as_os_str() == "deployment-archive") {
                continue;
            }
            for secret in &secrets {
                let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                ensure!(!found, "{} holds {secret}", path.display());
            }
        }
        // Again there is nothing to do, and what is deployed is still known.
        ensure!(said(&fleet.agent, &["image-clean"])?.0 == Some(0));
        ensure!(said(&fleet.agent, &["drift"])?.0 == Some(0));
        let (code, text) = said(&fleet.agent, &["rollback", "--group", &group])?;
        ensure!(code == Some(0) && page(&destination)? == "one", "{text}");

        // With --all, what the agent knows of deployments goes too, and what they installed stays.
        ensure!(!left(&fleet.agent, &["--all"])?.is_empty());
        ensure!(said(&fleet.agent, &["image-clean", "--all"])?.0 == Some(0));
        ensure!(left(&fleet.agent, &["--all"])?.is_empty());
        ensure!(page(&destination)? == "one" && !root.join(&group).exists());
        ensure!(
            names(&root.join(".slipway/manifests")).is_empty()
                && names(&root.join("deployment-instructions")).is_empty()
        );
        Ok(())
    })
}

/// The disk of one host, under another's identity.
#[test]
fn a_clone_begins_as_itself() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let bundle = fleet.group.push("v1", &app(&destination, "one", &[]), BundleKind::Tgz)?;
        succeeded(&fleet.group.deploy(&bundle)?)?;
        fleet.agent.stop()?;
        ensure!(said(&fleet.agent, &["image-clean"])?.0 == Some(0));
        give_identity(place, &fleet.control, &fleet.agent, "web-2")?;
        fleet.agent.start()?;
        until_true("the clone to know who it is", PATIENCE, || {
            Ok(fleet.agent.status()?["daemon"].to_string().contains("web-2")
                || fleet.agent.log().contains("user/web-2"))
        })?;
        ensure!(!fleet.agent.log().contains("of another instance"), "its state was another host's");
        Ok(())
    })
}

/// What a first boot does: an on-premises file of the host's own.
fn give_identity(place: &Place, control: &Control<'_>, agent: &Agent<'_>, name: &str) -> Result<()> {
    let directory = place.path().join(format!("identity-{name}"));
    control.host_config(name, &["blue"], &directory)?;
    let file = "codedeploy.onpremises.yml";
    fs::copy(directory.join(file), agent.home().join("conf").join(file))?;
    Ok(())
}

#[test]
fn credentials_that_the_identity_names_are_erased() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let on_premises = agent.home().join("on-premises.yml");
        let (credentials, another) = (place.path().join("credentials"), place.path().join("another name"));
        fs::write(&credentials, "[default]\naws_secret_access_key = geheim\n")?;
        fs::hard_link(&credentials, &another)?;
        fs::write(
            &on_premises,
            format!(
                "iam_session_arn: arn:aws:sts::111122223333:assumed-role/r/web-1\nregion: eu-central-1\n\
                 aws_credentials_file: {}\n",
                credentials.display()
            ),
        )?;
        agent.configure("10-identity.yml", &format!("on_premises_config_file: {}\n", on_premises.display()))?;
        ensure!(left(&agent, &[])?.len() == 2);
        ensure!(said(&agent, &["image-clean"])?.0 == Some(0));
        ensure!(!credentials.exists() && !on_premises.exists());
        ensure!(fs::read(&another)?.iter().all(|byte| *byte == 0), "its blocks hold the secret still");
        ensure!(left(&agent, &[])?.is_empty());
        Ok(())
    })
}

#[test]
fn secrets_in_the_configuration_are_left_to_a_person_and_told() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        agent.configure("30-proxy.yml", "verbose: true\nproxy_uri: http://user:geheim@proxy.example.com:3128\n")?;
        agent.configure("30-proxy.yml.old", "#proxy_uri: http://user:frueher@proxy.example.com:3128\n")?;
        agent.configure("40-key.pem", "-----BEGIN PRIVATE KEY-----\n")?;
        let (code, text) = said(&agent, &["image-clean"])?;
        ensure!(code == Some(0), "{text}");
        contains(&text, &["left     the password of an address in line 2", "has to be removed by hand"])?;
        let (code, text) = said(&agent, &["image-clean", "--check"])?;
        ensure!(code == Some(1), "{text}");
        contains(
            &text,
            &["30-proxy.yml (take it out", "30-proxy.yml.old (take it", "a private key in line 1", "3 things are left"],
        )?;
        ensure!(!text.contains("geheim") && !text.contains("frueher"), "{text}");
        for file in ["30-proxy.yml", "30-proxy.yml.old", "40-key.pem"] {
            fs::remove_file(agent.home().join("conf/conf.d").join(file))?;
        }
        ensure!(left(&agent, &[])?.is_empty());
        // What is too long for a configuration file is not taken to be without secrets.
        agent.configure("dump", &"x".repeat(2 << 20))?;
        ensure!(left(&agent, &[])?.iter().any(|row| row.starts_with("what could not be looked through")));
        agent.configure("50-wrong.yml", "verbose: perhaps\n")?;
        ensure!(said(&agent, &["image-clean", "--check"])?.0 == Some(2), "what cannot be looked at is not clean");
        ensure!(said(&agent, &["image-clean"])?.0 == Some(2));
        Ok(())
    })
}

#[test]
fn nothing_is_removed_under_a_script_that_runs() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::start(place)?;
        let (began, go_on) = (place.path().join("began"), place.path().join("go-on"));
        let script = format!("touch {}\nuntil [ -e {} ]; do sleep 0.05; done", began.display(), go_on.display());
        let revision = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &script)]);
        fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the script to begin", PATIENCE, || Ok(began.exists()))?;
        // The agent hands the script over.
        fleet.agent.stop()?;
        let (code, text) = said(&fleet.agent, &["image-clean"])?;
        ensure!(code == Some(1), "{text}");
        contains(&text, &["a script of a deployment still runs", "AfterInstall-0"])?;
        ensure!(!names(&fleet.agent.root().join(".slipway/ledger")).is_empty(), "host commands were removed");
        fs::write(&go_on, "")?;
        until_true("the script to end", PATIENCE, || Ok(said(&fleet.agent, &["image-clean"])?.0 == Some(0)))?;
        ensure!(left(&fleet.agent, &[])?.is_empty());
        Ok(())
    })
}

#[test]
fn an_install_that_was_cut_off_is_settled_first() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let directory = place.directory("revision")?;
        let appspec = format!(
            "version: 0.0\nos: linux\nfiles:\n  - {{source: content, destination: {}}}\n",
            destination.display()
        );
        let revision = (0..4000).fold(Revision::with_appspec(&appspec), |revision, number| {
            revision.file(&format!("content/{number}"), "content")
        });
        revision.write(&directory)?;
        let mut command = agent.command(&["deploy-local", "-l", &directory.display().to_string(), "-g", "shop"])?;
        let mut deploy = Program::start(place, "deploy-local", &mut command)?;
        let transactions = agent.root().join(".slipway/tx");
        let begun = Instant::now();
        while !names(&transactions).iter().any(|id| transactions.join(id).join("journal").exists()) {
            ensure!(begun.elapsed() < PATIENCE, "no install begins");
            thread::sleep(Duration::from_micros(200));
        }
        deploy.kill()?;
        ensure!(!names(&transactions).is_empty(), "the install was over before it was cut off");
        let (code, text) = said(&agent, &["image-clean"])?;
        ensure!(code == Some(0), "{text}");
        contains(&text, &["was cut off"])?;
        ensure!(names(&transactions).is_empty());
        // The old state or the new one, whole: here there was nothing before.
        let installed = names(&destination).len();
        ensure!(installed == 0 || installed == 4000, "{installed} files are there");
        Ok(())
    })
}

#[test]
fn a_host_on_which_no_agent_was_is_clean() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let (code, text) = said(&agent, &["image-clean", "--check"])?;
        ensure!(code == Some(0), "{text}");
        contains(&text, &["Nothing of this host is left."])?;
        ensure!(said(&agent, &["image-clean"])?.0 == Some(0));
        ensure!(names(&agent.root()).is_empty(), "looking has made {:?}", names(&agent.root()));
        let output = program::output(place, &mut agent.command(&["image-clean", "--json"])?)?;
        ensure!(output.status.code() == Some(2), "{output:?}");
        Ok(())
    })
}
