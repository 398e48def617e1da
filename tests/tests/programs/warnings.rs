//! What a deployment passes over is told: to the service, in the deployment's log, and at once to an operator by hand.

use std::fs;

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::scenario;
use slipway_tests::revision::{BundleKind, Revision};

use crate::expect::{contains, page, succeeded};

/// An AppSpec that says three things which no agent heeds, and `more` below its hooks.
fn heedless(destination: &str, more: &str) -> Revision {
    let appspec = format!(
        "version: 0.0\nos: linux\nfiles:\n  - source: page\n    destination: {destination}\n    overwrite: true\nhooks:\n  \
         Install:\n    - location: check.sh\n  AfterInstall:\n    - location: check.sh\n      run_as: nobody\n{more}"
    );
    Revision::with_appspec(&appspec).file("page", "new").script("check.sh", "true")
}

const HEEDLESS: [&str; 3] = [
    "appspec.yml:6:5: the unknown key `overwrite`",
    "appspec.yml:8:3: `Install` takes no scripts",
    "`run_as` is ignored",
];

fn scripts_log(agent: &Agent<'_>, deployment: &str) -> Result<String> {
    let status = agent.status()?;
    let group = status["groups"][0]["id"].as_str().context("the group has an id")?;
    Ok(fs::read_to_string(agent.root().join(group).join(deployment).join("logs/scripts.log"))?)
}

#[test]
fn what_is_ignored_reaches_the_service_and_the_deployments_log() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let destination = place.path().join("app");
        let more = "  ValidateServce:\n    - location: check.sh\n  HealthCheck:\n    - location: check.sh\n";
        let revision = heedless(&destination.display().to_string(), more);
        let finished = fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Zip)?)?;
        succeeded(&finished)?;
        ensure!(page(&destination)? == "new");
        let own = [
            "appspec.yml:13:3: `ValidateServce` is none of the events",
            "did you mean `ValidateService`?",
            "15:3: `HealthCheck`",
        ];
        let message = finished.event("DownloadBundle")?.diagnostic("message").to_owned();
        ensure!(message.starts_with("Succeeded\nwarning: appspec.yml:6:5:"), "{message}");
        ensure!(message.lines().count() == 6, "each is told once:\n{message}");
        contains(&message, &HEEDLESS)?;
        contains(&message, &own)?;
        let log = scripts_log(&fleet.agent, &finished.id)?;
        contains(&log, &["Warning - appspec.yml:6:5: the unknown key `overwrite`"])?;
        contains(&log, &own)?;
        contains(&fleet.agent.log(), &own)?;
        // Told once in a deployment, by the command that found it.
        ensure!(!finished.event("Install")?.diagnostic("message").contains("warning"));
        Ok(())
    })
}

#[test]
fn a_local_deployment_shows_what_is_ignored() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let directory = place.directory("revision")?;
        heedless(&place.path().join("app").display().to_string(), "").write(&directory)?;
        let output = host.output(&["deploy-local", "-l", &directory.display().to_string(), "-g", "g1"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}");
        contains(&said, &HEEDLESS)?;
        ensure!(said.matches("`overwrite`").count() == 1, "{said}");
        contains(&String::from_utf8_lossy(&host.output(&["logs"])?.stdout), &HEEDLESS)
    })
}

#[test]
fn a_local_deployment_with_an_event_that_no_order_names_is_refused() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let directory = place.directory("revision")?;
        let location = directory.display().to_string();
        heedless(&destination.display().to_string(), "  HealthCheck:\n    - location: check.sh\n").write(&directory)?;
        let refused = host.output(&["deploy-local", "-l", &location, "-g", "g1"])?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(1), "{said}");
        contains(&said, &["HealthCheck", "BeforeInstall"])?;
        ensure!(!destination.exists(), "nothing is installed of it");
        // An order that names it runs it.
        let asked = host.output(&["deploy-local", "-l", &location, "-g", "g1", "-e", "HealthCheck"])?;
        ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        // One of the service's own orders is no stranger, though a local deployment does not run it.
        heedless(&destination.display().to_string(), "  AfterAllowTraffic:\n    - location: check.sh\n")
            .write(&directory)?;
        let known = host.output(&["deploy-local", "-l", &location, "-g", "g1"])?;
        ensure!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));
        Ok(())
    })
}

#[test]
fn many_warnings_leave_the_report_its_room() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let keys: String = (0..80).map(|n| format!("x_{n}: {{}}\n")).collect();
        let revision = Revision::with_appspec(&format!("version: 0.0\nos: linux\n{keys}"));
        let finished = fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Tar)?)?;
        succeeded(&finished)?;
        let message = finished.event("DownloadBundle")?.diagnostic("message").to_owned();
        ensure!(message.len() < 2_200, "{}", message.len());
        contains(&message, &["`x_0`", "more warnings: see the deployment's log on the host"])?;
        let log = scripts_log(&fleet.agent, &finished.id)?;
        contains(&log, &["`x_49`", "Warning - and 30 more warnings"])
    })
}

/// Deploys by hand, and gives the exit and all that was said.
fn deploy(host: &Agent<'_>, location: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
    let arguments = [&["deploy-local", "-l", location, "-g", "g1"], more].concat();
    let output = host.output(&arguments)?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), said))
}

#[test]
fn a_script_that_an_earlier_one_makes_runs() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let ran = place.path().join("ran");
        let appspec = "version: 0.0\nos: linux\nhooks:\n  BeforeInstall:\n    - location: make.sh\n    - location: link.sh\n  \
                       AfterInstall:\n    - location: late.sh\n";
        let write = format!("printf '#!/bin/sh\\necho late >> {}\\n' > \"$(dirname \"$0\")/late.sh\"", ran.display());
        let revision = Revision::with_appspec(appspec)
            .script("make.sh", &write)
            .file("plain.sh", format!("#!/bin/sh\necho link >> {}\n", ran.display()))
            .symlink("link.sh", "plain.sh");
        let directory = place.directory("revision")?;
        revision.write(&directory)?;
        let (code, said) = deploy(&host, &directory.display().to_string(), &[])?;
        ensure!(code == Some(0), "{said}");
        ensure!(fs::read_to_string(&ran)? == "link\nlate\n", "{said}");
        contains(
            &said,
            &[
                "AfterInstall fails, unless a script that runs before puts that right",
                "the script late.sh was not executable and was made so",
                "the script link.sh was not executable and was made so",
            ],
        )
    })
}

#[test]
fn a_missing_script_of_an_event_that_does_not_run_fails_nothing() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let directory = place.directory("revision")?;
        let location = directory.display().to_string();
        let appspec = "version: 0.0\nos: linux\nhooks:\n  ApplicationStop:\n    - location: gone.sh\n  ApplicationStart:\n    \
                       - location: gone.sh\n";
        Revision::with_appspec(appspec).write(&directory)?;
        let (code, said) = deploy(&host, &location, &["-e", "AfterInstall"])?;
        ensure!(code == Some(0), "{said}");
        contains(&said, &["gone.sh", "ApplicationStart fails, unless"])?;
        // On a host of its own: there is no earlier revision whose script would stop it.
        let host = Agent::alone(place, "web-2")?;
        let (code, said) = deploy(&host, &location, &[])?;
        ensure!(code == Some(1), "{said}");
        contains(&said, &["DownloadBundle       FAILED", "gone.sh", "the first script of this revision"])
    })
}

#[test]
fn all_that_is_wrong_with_a_revision_is_shown_after_one_deployment() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let directory = place.directory("revision")?;
        let appspec = "version: 0.0\nos: linux\nfiles:\n  - source: nowhere\n    destination: /srv/none\nhooks:\n  \
                       BeforeInstall:\n    - location: gone.sh\n  AfterInstall:\n    - location: lost.sh\n";
        Revision::with_appspec(appspec).write(&directory)?;
        let (code, said) = deploy(&host, &directory.display().to_string(), &[])?;
        ensure!(code == Some(1), "{said}");
        contains(&said, &["gone.sh", "`validate`", "appspec.yml:4:13: error: the revision has no `nowhere`", "lost.sh"])
    })
}
