//! Files that others can change: a key is not used, as ssh does not use one, and for the rest each start warns.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::place::{Place, scenario, write_private};
use slipway_tests::polled::Polled;
use slipway_tests::until::until_true;

use crate::expect::contains;

fn mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| path.display().to_string())
}

/// A host with a key of its own, in a directory of its own.
fn host<'a>(place: &'a Place, service: &Polled) -> Result<Agent<'a>> {
    let agent = Agent::alone(place, "web-1")?;
    let keys = place.directory("keys")?;
    write_private(
        &keys.join("identity.yml"),
        "region: us-east-1\niam_user_arn: arn:aws:iam::111122223333:user/web-1\naws_access_key_id: AKIA1\n\
         aws_secret_access_key: geheim\n",
    )?;
    let text = format!(
        "on_premises_config_file: {}\ndeploy_control_endpoint: {}\nwait_between_runs: 0\n",
        keys.join("identity.yml").display(),
        service.endpoint()
    );
    agent.configure("20-host.yml", &text)?;
    Ok(agent)
}

#[test]
fn a_key_that_others_can_change_is_not_used() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return Ok(());
    }
    scenario(|place| {
        let service = Polled::start()?;
        let agent = host(place, &service)?;
        let (keys, key) = (place.path().join("keys"), place.path().join("keys/identity.yml"));
        let refused = |remedy: &str| -> Result<()> {
            for command in [&["run"][..], &["whoami"]] {
                let output = agent.output(command)?;
                let said =
                    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                ensure!(!output.status.success(), "{command:?}: {said}");
                contains(&said, &[&key.display().to_string(), "others could change whose host this is", remedy])?;
                ensure!(!said.contains("geheim"), "{said}");
            }
            ensure!(service.polls().is_empty(), "the key was used");
            Ok(())
        };
        mode(&key, 0o666)?;
        refused(&format!("chmod go-w {}", key.display()))?;
        mode(&key, 0o600)?;
        mode(&keys, 0o777)?;
        refused(&format!("chmod go-w {}", keys.display()))?;
        mode(&keys, 0o755)?;
        chown(&key, Some(12_345), None)?;
        refused(&format!("chown root {}", key.display()))
    })
}

#[test]
fn a_running_daemon_keeps_its_key_while_others_can_change_the_file() -> Result<()> {
    scenario(|place| {
        let service = Polled::start()?;
        let mut agent = host(place, &service)?;
        let key = place.path().join("keys/identity.yml");
        // As AWS's tools leave it: everybody can read it, which is said and no more.
        mode(&key, 0o644)?;
        agent.start()?;
        until_true("polls with the key", PATIENCE, || Ok(service.last_key() == "AKIA1"))?;
        if nix::unistd::geteuid().is_root() {
            contains(&agent.log(), &[&key.display().to_string(), "chmod"])?;
        }
        let text = fs::read_to_string(&key)?.replace("AKIA1", "AKIASTOLEN");
        fs::write(&key, text)?;
        mode(&key, 0o666)?;
        until_true("the daemon to say so", PATIENCE, || {
            Ok(agent.log().contains("others could change whose host this is"))
        })?;
        let so_far = service.polls().len();
        until_true("more polls", PATIENCE, || Ok(service.polls().len() > so_far + 3))?;
        agent.stop()
    })
}

#[test]
fn each_start_warns_of_what_else_others_can_change() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root is warned, who alone can look at all of it");
        return Ok(());
    }
    scenario(|place| {
        let service = Polled::start()?;
        let mut agent = host(place, &service)?;
        let authority = place.path().join("authority.pem");
        fs::copy("/etc/ssl/certs/ca-certificates.crt", &authority)?;
        let profile = place.path().join("profile");
        fs::write(&profile, "X=1\n")?;
        agent.configure(
            "30-more.yml",
            &format!("ca_bundle: {}\nhook_profile: {}\n", authority.display(), profile.display()),
        )?;
        let fragment = agent.home().join("conf/conf.d/30-more.yml");
        let exposed = [agent.config_file(), fragment, authority, profile];
        for path in &exposed {
            mode(path, 0o666)?;
        }
        mode(&agent.root(), 0o777)?;
        for _ in 0..2 {
            agent.start()?;
            let so_far = service.polls().len();
            until_true("a poll", PATIENCE, || Ok(service.polls().len() > so_far))?;
            agent.stop()?;
        }
        let log = agent.log();
        for path in exposed.iter().chain([&agent.root()]) {
            let said =
                log.lines().filter(|line| line.contains("WARN") && line.contains(&path.display().to_string())).count();
            ensure!(said == 2, "{} is named {said} times:\n{log}", path.display());
        }
        Ok(())
    })
}
