//! The template for machine images, held to Packer itself, where that is there.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries::repository;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;

use crate::expect::contains;

const TEMPLATE: &str = "base-ami.pkr.hcl";

fn packer(place: &Place) -> Command {
    let mut command = Command::new("packer");
    // It asks its makers for newer versions otherwise, and keeps notes in the home directory.
    command.env("CHECKPOINT_DISABLE", "1").env("HOME", place.path()).env("PACKER_CONFIG_DIR", place.path());
    command
}

/// Major and minor version; nothing where it is not installed.
fn version(place: &Place) -> Option<(u32, u32)> {
    let output = program::output(place, packer(place).arg("version")).ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split_once('v')?.1.split('.').map(|number| number.trim().parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Without what the versions before 1.7 do not know; they have the plugin built in, later ones would have to fetch it.
fn for_old_versions(template: &str) -> Result<String> {
    let (before, rest) = template.split_once("  imds_support = ").context("the setting is there")?;
    let (block, after) = rest.split_once("\n  }\n").context("a block follows it")?;
    ensure!(block.contains("metadata_options {") && block.lines().count() < 8, "{block}");
    Ok(format!("{before}{after}"))
}

#[test]
fn packer_takes_the_template() -> Result<()> {
    scenario(|place| {
        let Some(version) = version(place) else {
            eprintln!("skipped: there is no packer; `make test` installs it where the distribution has it");
            return Ok(());
        };
        let directory = place.directory("image")?;
        for entry in fs::read_dir(repository().join("packaging/image"))? {
            let path = entry?.path();
            fs::copy(&path, directory.join(path.file_name().context("a file")?))?;
        }
        for file in [TEMPLATE, "plugins.pkr.hcl"] {
            program::run(place, packer(place).args(["fmt", "-check", "-diff"]).arg(directory.join(file)))?;
        }
        let template = directory.join(TEMPLATE);
        let text = fs::read_to_string(&template)?;
        let old = version < (1, 7);
        if old {
            fs::write(&template, for_old_versions(&text)?)?;
        }
        let validate = |template: &std::path::Path| {
            let mut command = packer(place);
            command.arg("validate");
            if !old {
                command.arg("-syntax-only");
            }
            let package = format!("agent_package={}", directory.join("install.sh").display());
            command.args(["-var", &package, "-var", "agent_sha256=00"]).arg(template);
            command
        };
        program::run(place, &mut validate(&template))?;
        if old {
            // It is looked at as deeply as that.
            let wrong = directory.join("wrong.pkr.hcl");
            fs::write(&wrong, fs::read_to_string(&template)?.replace("encrypt_boot", "encrypt_boots"))?;
            let output = program::output(place, &mut validate(&wrong))?;
            ensure!(!output.status.success(), "a setting that does not exist is taken");
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            contains(&said, &["encrypt_boots"])?;
        }
        Ok(())
    })
}

#[test]
fn its_scripts_are_scripts() -> Result<()> {
    scenario(|place| {
        for script in ["install.sh", "finish.sh"] {
            let path = repository().join("packaging/image").join(script);
            program::run(place, Command::new("sh").arg("-n").arg(&path))?;
            ensure!(fs::read_to_string(repository().join("packaging/image").join(TEMPLATE))?.contains(script));
        }
        Ok(())
    })
}
