//! `validate`, as a person or a CI job calls it.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Result, ensure};
use serde_json::Value;
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};
use slipway_tests::revision::{BundleKind, Revision};
use slipway_tests::{binaries, program};

use crate::expect::{contains, names};

/// Runs `validate`, with a temporary directory of the place's own.
fn validate(place: &Place, path: &Path, options: &[&str]) -> Result<Output> {
    let temporary = place.directory("tmp")?;
    let mut command = binaries::agent()?;
    let output = program::output(place, command.arg("validate").arg(path).args(options).env("TMPDIR", &temporary))?;
    ensure!(names(&temporary).is_empty(), "something is left: {:?}", names(&temporary));
    Ok(output)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn exit(output: &Output, code: i32) -> Result<String> {
    ensure!(output.status.code() == Some(code), "it ended with {}, not {code}:\n{}", output.status, said(output));
    Ok(said(output))
}

fn broken() -> Revision {
    Revision::with_appspec(
        "version: 0.0\nos: linux\nfiles:\n  - source: gone\n    destination: /srv/app\n    mode: 0644\n\
         hooks:\n  AfterInstall:\n    - location: run.sh\n      timeout: never\n    - location: run.sh\n",
    )
    .file("run.sh", "#!/bin/sh\r\ntrue\r\n")
}

#[test]
fn a_bundle_of_any_kind_and_a_directory_have_the_same_findings() -> Result<()> {
    scenario(|place| {
        let directory = place.directory("revision")?;
        broken().write(&directory)?;
        let mut targets = vec![directory];
        for kind in BundleKind::ALL {
            let bundle = place.path().join(format!("{kind:?}"));
            fs::write(&bundle, broken().pack(kind)?)?;
            targets.push(bundle);
        }
        for path in targets {
            let text = exit(&validate(place, &path, &[])?, 1)?;
            let at = |rest: &str| format!("{}/{rest}", path.display());
            contains(
                &text,
                &[
                    &at("appspec.yml:4:13: error: the revision has no `gone`"),
                    "    4 |   - source: gone\n      |             ^^^^\n",
                    &at("appspec.yml:6:5: warning: the unknown key `mode` is ignored"),
                    &at("appspec.yml:9:17: warning: the script `run.sh` is not executable"),
                    &at("appspec.yml:10:16: error: expected `timeout` as whole seconds"),
                    &at("appspec.yml:11:17: warning: the script `run.sh` is not executable"),
                    &at("run.sh:1:10: error: this line ends in a carriage return"),
                    "3 errors, 3 warnings",
                ],
            )?;
        }
        Ok(())
    })
}

#[test]
fn the_exit_status_tells_sound_from_wrong_from_unreadable() -> Result<()> {
    scenario(|place| {
        let directory = place.directory("revision")?;
        Revision::with_appspec("version: 0.0\nos: linux\n").write(&directory)?;
        let appspec = directory.join("appspec.yml");
        contains(&exit(&validate(place, &directory, &[])?, 0)?, &["no mistakes found"])?;
        exit(&validate(place, &directory, &["--strict"])?, 0)?;
        fs::write(&appspec, "version: 0.0\nos: linux\nhoks:\n")?;
        for path in [&directory, &appspec] {
            contains(&exit(&validate(place, path, &[])?, 0)?, &["did you mean `hooks`?", "1 warning"])?;
            exit(&validate(place, path, &["--strict"])?, 1)?;
        }
        fs::write(&appspec, "version: 0.0\n")?;
        exit(&validate(place, &appspec, &[])?, 1)?;
        fs::remove_file(&appspec)?;
        contains(&exit(&validate(place, &directory, &[])?, 1)?, &["the revision has no AppSpec"])?;
        exit(&validate(place, &place.path().join("nothing"), &[])?, 2)?;
        let truncated = place.path().join("truncated.tgz");
        let whole = broken().pack(BundleKind::Tgz)?;
        fs::write(&truncated, &whole[..whole.len() / 2])?;
        contains(&exit(&validate(place, &truncated, &[])?, 2)?, &["truncated.tgz", "truncated"])?;
        let foreign = place.path().join("bundle.xz");
        fs::write(&foreign, b"\xfd7zXZ\0 and more")?;
        contains(&exit(&validate(place, &foreign, &[])?, 2)?, &["compressed by xz", "pack it with gzip"])?;
        Ok(())
    })
}

#[test]
fn what_the_agent_would_refuse_of_a_bundle_is_a_finding() -> Result<()> {
    scenario(|place| {
        let bundle = place.path().join("bundle.tar");
        let hostile = Revision::with_appspec("version: 0.0\nos: linux\n").file("../escaped", "x");
        fs::write(&bundle, hostile.pack(BundleKind::Tar)?)?;
        contains(&exit(&validate(place, &bundle, &[])?, 1)?, &["../escaped", "refused"])?;
        fs::write(&bundle, hostile.pack(BundleKind::Zip)?)?;
        contains(&exit(&validate(place, &bundle, &[])?, 0)?, &["../escaped", "`..`"])?;
        let strict = place.path().join("strict.yml");
        fs::write(&strict, "reject_path_traversal_in_bundle: true\n")?;
        let refused = validate(place, &bundle, &["--config", &strict.display().to_string()])?;
        contains(&exit(&refused, 1)?, &["../escaped", "refused"])?;
        ensure!(!place.path().join("escaped").exists());
        Ok(())
    })
}

#[test]
fn programs_get_the_findings_as_json() -> Result<()> {
    scenario(|place| {
        let directory = place.directory("revision")?;
        broken().write(&directory)?;
        let output = validate(place, &directory, &["--json"])?;
        exit(&output, 1)?;
        let json: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(json["errors"] == 3 && json["warnings"] == 3 && json["omitted"] == 0, "{json}");
        let first = &json["findings"][0];
        ensure!(first["severity"] == "error" && first["line"] == 4 && first["column"] == 13, "{first}");
        ensure!(first["source"]["line"] == "  - source: gone" && first["source"]["caret"] == 12, "{first}");
        Ok(())
    })
}

#[test]
fn an_archive_like_githubs_is_looked_at_below_its_one_directory() -> Result<()> {
    scenario(|place| {
        let bundle = place.path().join("archive.tgz");
        let revision = Revision::default()
            .file("shop-1.0/appspec.yml", "version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n    - location: run.sh\n")
            .script("shop-1.0/run.sh", "true");
        fs::write(&bundle, revision.pack(BundleKind::Tgz)?)?;
        exit(&validate(place, &bundle, &["--strict"])?, 0)?;
        Ok(())
    })
}

#[test]
fn the_repositorys_examples_are_sound() -> Result<()> {
    scenario(|place| {
        let examples = binaries::repository().join("appspec-examples");
        for example in names(&examples) {
            let example = examples.join(example);
            let versions: Vec<_> = names(&example).into_iter().filter(|name| name != "README.md").collect();
            ensure!(versions.len() >= 2 && example.join("README.md").exists(), "{}: {versions:?}", example.display());
            for version in versions {
                exit(&validate(place, &example.join(version), &["--strict"])?, 0)?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() -> Result<()> {
    scenario(|place| {
        let directory = place.directory("revision")?;
        broken().write(&directory)?;
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = binaries::agent()?;
        let status = command.arg("validate").arg(&directory).stdout(writer).status()?;
        ensure!(status.code() == Some(1), "it ended with {status}");
        Ok(())
    })
}

/// With the configuration of the hosts, what they refuse is found where bundles are built.
#[test]
fn what_the_hosts_refuse_is_found_with_their_configuration() -> Result<()> {
    scenario(|place| {
        let destination = place.path().join("app");
        let revision = Revision::with_appspec(&format!(
            "version: 0.0\nos: linux\nfiles:\n  - {{source: content, destination: {0}}}\n\
             permissions:\n  - object: {0}/tool\n    mode: 4755\n",
            destination.display()
        ))
        .file("content/tool", "x");
        let (directory, bundle) = (place.directory("revision")?, place.path().join("bundle.tgz"));
        revision.write(&directory)?;
        fs::write(&bundle, revision.pack(BundleKind::Tgz)?)?;
        let host = Agent::alone(place, "web-1")?;
        let config = host.config_file().display().to_string();
        let refused = "the mode 4755 has set-id bits, which the configuration refuses";
        for path in [&directory, &bundle, &directory.join("appspec.yml")] {
            exit(&validate(place, path, &["--config", &config])?, 0)?;
        }
        host.configure("10-strict.yml", "profile: strict\n")?;
        for path in [&directory, &bundle, &directory.join("appspec.yml")] {
            exit(&validate(place, path, &[])?, 0)?;
            let text = exit(&validate(place, path, &["--config", &config])?, 1)?;
            contains(&text, &[refused, "appspec.yml:7:11: error"])?;
        }
        // The host itself says so before it changes anything.
        let location = directory.display().to_string();
        let planned = host.output(&["plan", "-l", &location])?;
        contains(&exit(&planned, 3)?, &["app/tool would have the mode 4755", "reject_unsafe_permissions_in_bundle"])?;
        let deployed = host.output(&["deploy-local", "-l", &location])?;
        contains(&exit(&deployed, 1)?, &["app/tool would have the mode 4755", "nothing was changed"])?;
        ensure!(!destination.exists(), "something was installed");
        let missing = validate(place, &directory, &["--config", "/no/such/file.yml"])?;
        contains(&exit(&missing, 2)?, &["/no/such/file.yml"])?;
        Ok(())
    })
}
