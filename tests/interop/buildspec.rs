//! The build specification of `packaging/image`, command by command as AWS CodeBuild runs it, with AWS's own command
//! line and a real agent.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries;
use slipway_tests::fleet::{APPLICATION, BUCKET, Fleet};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::output;
use slipway_tests::revision::{Hook, app};

use crate::Aws;

/// The commands of all phases, in their order.
fn commands() -> Result<Vec<String>> {
    let text = fs::read_to_string(binaries::repository().join("packaging/image/buildspec.yml"))?;
    let commands: Vec<String> =
        text.lines().filter_map(|line| line.strip_prefix("      - ")).map(str::to_owned).collect();
    ensure!(commands.len() >= 6, "the commands are not where this test looks: {commands:?}");
    Ok(commands)
}

/// Runs them where `make revision` makes that revision; gives what they said, and whether they succeeded.
fn build(place: &Place, aws: &Aws<'_>, revision: &str) -> Result<(String, bool)> {
    let sources = place.directory("sources")?;
    fs::write(
        sources.join("Makefile"),
        format!("revision:\n\trm -rf $@\n\tcp -r ../{revision} $@\n.PHONY: revision\n"),
    )?;
    let mut command = Command::new("bash");
    command.arg("-ec").arg(commands()?.join("\n")).current_dir(&sources);
    command.env_clear().envs(aws.variables.iter().map(|(name, value)| (name, value)));
    let programs = [aws.program.parent().context("aws is in a directory")?.to_owned(), binaries::profile_directory()?];
    let path = std::env::join_paths(
        programs.into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    command.env("PATH", path).env("APPLICATION", APPLICATION).env("DEPLOYMENT_GROUP", "blue").env("BUCKET", BUCKET);
    command
        .env("DEPLOYMENT_CONFIG", "CodeDeployDefault.OneAtATime")
        .env("CODEBUILD_RESOLVED_SOURCE_VERSION", "0123456789abcdef");
    let output = output(place, &mut command)?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((said, output.status.success()))
}

#[test]
fn a_build_ends_as_its_deployment_does() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        let Some(aws) = Aws::find(place, &fleet.control, &fleet.api)? else { return Ok(()) };
        if !std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|path| path.join("make").exists())
        {
            eprintln!("skipped: there is no make");
            return Ok(());
        }
        let destination = place.path().join("app");
        let good = app(&destination, "built", &[Hook::new("AfterInstall", "true")]);
        good.write(&place.directory("good")?)?;
        let (said, succeeded) = build(place, &aws, "good")?;
        ensure!(succeeded, "{said}");
        ensure!(fs::read_to_string(destination.join("page"))? == "built", "{said}");

        // A mistake is found before anything is pushed.
        good.file("scripts/AfterInstall.sh", "#!/bin/sh\r\n").write(&place.directory("mistaken")?)?;
        let (said, succeeded) = build(place, &aws, "mistaken")?;
        ensure!(!succeeded && said.contains("AfterInstall.sh:1:"), "{said}");
        ensure!(!said.contains("deployment d-"), "{said}");

        app(&destination, "failing", &[Hook::new("AfterInstall", "exit 7")]).write(&place.directory("failing")?)?;
        let (said, succeeded) = build(place, &aws, "failing")?;
        ensure!(!succeeded && said.contains("Failed"), "{said}");
        Ok(())
    })
}
