//! Symlinks that people and scripts make around what is deployed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::place::{Place, scenario};

use crate::expect::contains;

/// Writes a revision: an AppSpec, one script, and files.
fn revision(place: &Place, appspec: &str, script: &str, files: &[(&str, &str)]) -> Result<String> {
    let directory = place.directory("revision")?;
    fs::remove_dir_all(&directory)?;
    for (path, text) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&directory))?;
        fs::write(path, text)?;
    }
    fs::write(directory.join("appspec.yml"), format!("version: 0.0\nos: linux\n{appspec}"))?;
    fs::write(directory.join("script.sh"), format!("#!/bin/sh\nset -e\n{script}\n"))?;
    fs::set_permissions(directory.join("script.sh"), PermissionsExt::from_mode(0o755))?;
    Ok(directory.display().to_string())
}

fn deploy(host: &Agent<'_>, directory: &str, more: &[&str]) -> Result<()> {
    let deployed = host.output(&[&["deploy-local", "-l", directory, "-g", "shop"], more].concat())?;
    ensure!(deployed.status.success(), "{deployed:?}");
    Ok(())
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    Ok(fs::read_to_string(path)?)
}

#[test]
fn releases_behind_a_link_stay_whole_and_a_rollback_brings_one_back() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let base = place.path().join("srv");
        let shown = base.display();
        let appspec = format!(
            "files:\n- source: content\n  destination: {shown}/current\nhooks:\n  BeforeInstall:\n  - location: script.sh\n"
        );
        for version in ["1", "2", "3"] {
            let script = format!("mkdir -p {shown}/releases/{version}\nln -sfn releases/{version} {shown}/current");
            let own = format!("content/only-{version}");
            let files = [("content/page", version), (own.as_str(), version)];
            deploy(&host, &revision(place, &appspec, &script, &files)?, &[])?;
        }
        for version in ["1", "2", "3"] {
            let release = base.join("releases").join(version);
            ensure!(
                read(release.join("page"))? == version && read(release.join(format!("only-{version}")))? == version
            );
        }
        ensure!(read(base.join("current/page"))? == "3");
        let drift = host.output(&["drift"])?;
        ensure!(drift.status.code() == Some(0), "{drift:?}");

        // The script of the second revision points back to its own release, which is there already.
        let rolled_back = host.output(&["rollback", "--group", "shop"])?;
        ensure!(rolled_back.status.success(), "{rolled_back:?}");
        ensure!(read(base.join("current/page"))? == "2" && read(base.join("releases/3/only-3"))? == "3");
        ensure!(host.output(&["drift"])?.status.code() == Some(0));

        fs::remove_file(base.join("current"))?;
        symlink("releases/1", base.join("current"))?;
        let drift = host.output(&["drift"])?;
        ensure!(drift.status.code() == Some(1), "{drift:?}");
        contains(
            &String::from_utf8_lossy(&drift.stdout),
            &[&format!("{shown}/current: link to {shown}/releases/2 → {shown}/releases/1")],
        )
    })
}

#[test]
fn a_directory_that_a_script_turns_into_a_link_to_shared_storage_deploys_again() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let base = place.path().display();
        fs::create_dir_all(place.path().join("shared/uploads"))?;
        fs::write(place.path().join("shared/uploads/user.jpg"), "precious")?;
        let appspec = format!(
            "files:\n- source: content\n  destination: {base}/app\npermissions:\n- object: {base}/app\n  owner: nobody\n\
             hooks:\n  AfterInstall:\n  - location: script.sh\n"
        );
        let script = format!("cd {base}/app/public\nrm -rf uploads\nln -s {base}/shared/uploads uploads");
        for more in [&[][..], &[], &["-b", "OVERWRITE"]] {
            let files = [("content/public/uploads/user.jpg", "of the revision"), ("content/public/page", "1")];
            deploy(&host, &revision(place, &appspec, &script, &files)?, more)?;
            ensure!(fs::read_link(place.path().join("app/public/uploads"))? == place.path().join("shared/uploads"));
            ensure!(read(place.path().join("shared/uploads/user.jpg"))? == "precious");
        }
        Ok(())
    })
}

#[test]
fn a_source_that_is_a_link_is_told_planned_and_installed() -> Result<()> {
    scenario(|place| {
        let host = Agent::alone(place, "web-1")?;
        let base = place.path().display();
        let appspec = format!("files:\n- source: app\n  destination: {base}/app\n");
        let directory = revision(place, &appspec, "", &[("v2/page", "2\n")])?;
        symlink("v2", Path::new(&directory).join("app"))?;
        let validated = host.output(&["validate", &directory])?;
        ensure!(validated.status.success(), "{validated:?}");
        contains(&String::from_utf8_lossy(&validated.stdout), &["a symlink leads from `app` to `v2`"])?;
        let planned = host.output(&["plan", "-l", &directory, "-g", "shop"])?;
        contains(&String::from_utf8_lossy(&planned.stdout), &["page"])?;
        deploy(&host, &directory, &[])?;
        ensure!(read(place.path().join("app/page"))? == "2\n");

        fs::remove_file(Path::new(&directory).join("app"))?;
        symlink("/etc", Path::new(&directory).join("app"))?;
        let validated = host.output(&["validate", &directory])?;
        ensure!(!validated.status.success(), "{validated:?}");
        contains(
            &String::from_utf8_lossy(&validated.stdout),
            &["`app` leads out of the revision: `app` is a symlink to"],
        )
    })
}
