//! A host on which AWS's agent runs: what `migrate --check` says of it before and after, and the first deployment.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_tests::fleet::APPLICATION;
use slipway_tests::revision::{Hook, app};

use crate::app::{self as application, DESTINATION};
use crate::host::{CONFIG, GROUP, Host, UNIT};
use crate::job::Ground;
use crate::report::Report;

/// How many checks there are.
pub const CHECKS: u64 = 4;

const ROOT: &str = "/opt/codedeploy-agent/deployment-root";
const OLD: &str = "d-0LDAGENT1";
const OLD_UNIT: &str = "codedeploy-agent.service";
/// Where its package puts its unit.
const OLD_UNIT_FILE: &str = "usr/lib/systemd/system/codedeploy-agent.service";

/// All of them, on one host.
pub fn test(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::install(ground, "takeover")?;
    lay_out(&host)?;
    host.machine.boot()?;
    host.check(report, "migrate --check says that AWS's agent has to be stopped", |host| {
        let (code, notes) = migrate(host)?;
        ensure!(code == Some(1), "{notes:#?}");
        let its = format!("{OLD_UNIT} is active and enabled");
        ensure!(notes.iter().any(|note| note.starts_with("needs_you service") && note.contains(&its)), "{notes:#?}");
        Ok(())
    });
    host.check(report, "once it is, nothing needs a person, and all is taken over", |host| {
        host.machine.run(&["systemctl", "disable", "--now", OLD_UNIT])?;
        let (code, notes) = migrate(host)?;
        ensure!(code == Some(0), "{notes:#?}");
        for part in
            ["2 paths of what is installed", &format!("deployment {OLD}: its scripts stop"), "max_revisions = 3"]
        {
            ensure!(
                notes.iter().any(|note| note.starts_with("taken_over") && note.contains(part)),
                "{part}: {notes:#?}"
            );
        }
        ensure!(notes.iter().any(|note| note.starts_with("ignored") && note.contains("`children`")), "{notes:#?}");
        Ok(())
    });
    host.check(report, "the first deployment stops the old revision and replaces it", |host| {
        host.machine.run(&["systemctl", "enable", "--now", UNIT])?;
        host.deploy(&host.push("v1", &application::revision("v1"))?)?;
        ensure!(!host.read("/srv/stopped").is_empty(), "the old revision's script did not run");
        ensure!(host.read(&format!("{DESTINATION}/old")).is_empty(), "a file of the old revision is still there");
        ensure!(host.read(&format!("{DESTINATION}/page")) == "v1", "the new revision is not there");
        Ok(())
    });
    host.check(report, "AWS's name of the unit is ours now, and what it had deployed is told as ours", |host| {
        let (code, notes) = migrate(host)?;
        ensure!(code == Some(0), "{notes:#?}");
        for part in ["is another name of slipway-agent.service", "has deployed to 1 of 1 group already"] {
            ensure!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:#?}");
        }
        let status = host.machine.run(&["systemctl", "status", "--no-pager", OLD_UNIT])?;
        ensure!(status.contains("Slipway deployment agent"), "{status}");
        Ok(())
    });
    Ok(())
}

/// The files of AWS's agent after one deployment to the host's group, and a service in its place.
fn lay_out(host: &Host<'_>) -> Result<()> {
    let root = host.machine.root();
    let write = |path: &str, text: &str| -> Result<()> {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    let config = format!("{CONFIG}/codedeployagent.yml");
    write(&config, &format!("{}\n:max_revisions: 3\n:children: 1\n", host.read(&config)))?;
    let described = host
        .group
        .api()
        .call("GetDeploymentGroup", json!({"applicationName": APPLICATION, "deploymentGroupName": GROUP}))?;
    let group = described["deploymentGroupInfo"]["deploymentGroupId"].as_str().context("the group has an id")?;
    let deployment = format!("{ROOT}/{group}/{OLD}");
    let archive = root.join(format!("{deployment}/deployment-archive").trim_start_matches('/'));
    fs::create_dir_all(&archive)?;
    let stop = [Hook::new("ApplicationStop", "echo \"$DEPLOYMENT_ID\" > /srv/stopped")];
    app(Path::new(DESTINATION), "old", &stop).write(&archive)?;
    write(&format!("{DESTINATION}/old"), "old")?;
    let instructions = format!("{ROOT}/deployment-instructions/{group}");
    write(&format!("{instructions}-cleanup"), &format!("{DESTINATION}\n{DESTINATION}/old\n"))?;
    for ending in ["_last_successful_install", "_most_recent_install"] {
        write(&format!("{instructions}{ending}"), &deployment)?;
    }
    let unit = "[Unit]\nDescription=AWS CodeDeploy Host Agent\n[Service]\nExecStart=/bin/sleep infinity\n\
                [Install]\nWantedBy=multi-user.target\n";
    write(OLD_UNIT_FILE, unit)?;
    let wanted = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wanted)?;
    Ok(std::os::unix::fs::symlink(Path::new("/").join(OLD_UNIT_FILE), wanted.join(OLD_UNIT))?)
}

/// How `migrate --check` ends, and what it says, each note as `verdict about: what`.
fn migrate(host: &Host<'_>) -> Result<(Option<i32>, Vec<String>)> {
    let output = host.machine.command(&["slipway-agent", "migrate", "--check", "--json"])?.output()?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let text = |note: &Value, member: &str| note[member].as_str().unwrap_or_default().to_owned();
    let notes = report["notes"].as_array().context("a list of notes")?.iter();
    let line = |note| format!("{} {}: {}", text(note, "verdict"), text(note, "about"), text(note, "what"));
    Ok((output.status.code(), notes.map(line).collect()))
}
