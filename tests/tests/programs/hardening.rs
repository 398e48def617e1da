//! Each hardening, seen on real processes and files; and `profile: strict`, which turns them on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use slipway_tests::agent::Agent;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;
use slipway_tests::revision::{BundleKind, Hook, Revision, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, succeeded};

/// Deploys a revision with one script on a host alone, with something in the agent's environment.
fn deploy(
    place: &Place,
    agent: &Agent<'_>,
    revision: &Revision,
    prepare: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<()> {
    let directory = place.directory(&format!("revision-{}", fastrand::u64(..)))?;
    revision.write(&directory)?;
    let mut command = agent.command(&["deploy-local", "-l", &directory.display().to_string(), "-g", "g1"])?;
    program::run(place, prepare(&mut command)).map(drop)
}

/// Runs a script with that configuration and gives the variables that it had.
fn environment(place: &Place, configuration: &str) -> Result<Vec<String>> {
    let agent = Agent::alone(place, &format!("host-{}", fastrand::u64(..)))?;
    agent.configure("30-hardening.yml", configuration)?;
    let seen = agent.home().join("environment");
    let script = format!("env > {}", seen.display());
    let revision = app(&agent.home().join("app"), "page", &[Hook::new("AfterInstall", &script)]);
    deploy(place, &agent, &revision, |command| {
        // A library that is not there is only a complaint of the loader.
        let library = "/nowhere/of-a-test.so";
        command.env("LD_PRELOAD", library).env("GLIBC_TUNABLES", "").env("FROM_AGENT", "yes").env("LC_TIME", "C")
    })?;
    Ok(fs::read_to_string(&seen)?.lines().map(str::to_owned).collect())
}

fn has(environment: &[String], name: &str) -> bool {
    environment.iter().any(|line| line.split_once('=').is_some_and(|(found, _)| found == name))
}

#[test]
fn a_hooks_environment_is_what_the_settings_leave_of_it() -> Result<()> {
    scenario(|place| {
        let profile = place.path().join("profile");
        fs::write(&profile, "FROM_PROFILE=plain\nexport LD_LIBRARY_PATH=/opt/lib\nPATH=$PATH:/opt/of-a-test\n")?;
        let base = format!("hook_profile: {}\n", profile.display());
        let with = |more: &str| environment(place, &format!("{base}{more}"));
        let all = ["LD_PRELOAD", "LD_LIBRARY_PATH", "GLIBC_TUNABLES", "FROM_AGENT", "FROM_PROFILE", "LC_TIME"];
        let loader = &all[..3];

        let compatible = with("")?;
        ensure!(all.iter().all(|name| has(&compatible, name)), "{compatible:?}");
        let bare = environment(place, "hook_profile: none\n")?;
        ensure!(has(&bare, "FROM_AGENT") && !has(&bare, "FROM_PROFILE"), "{bare:?}");

        let stripped = with("strip_loader_env_in_hooks: true\n")?;
        ensure!(loader.iter().all(|name| !has(&stripped, name)), "{stripped:?}");
        ensure!(has(&stripped, "FROM_AGENT") && has(&stripped, "FROM_PROFILE"), "{stripped:?}");

        for hardened in ["restrict_hook_env_to_allowlist: true\n", "profile: strict\n"] {
            let listed = with(hardened)?;
            ensure!(all[..5].iter().all(|name| !has(&listed, name)), "{hardened}: {listed:?}");
            ensure!(has(&listed, "LC_TIME") && has(&listed, "DEPLOYMENT_ID"), "{listed:?}");
            ensure!(
                listed.iter().any(|line| line.starts_with("PATH=") && line.contains("/opt/of-a-test")),
                "{listed:?}"
            );
        }
        let partly = with("profile: strict\nrestrict_hook_env_to_allowlist: false\n")?;
        ensure!(has(&partly, "FROM_AGENT") && !has(&partly, "LD_PRELOAD"), "{partly:?}");
        Ok(())
    })
}

/// The limit of core dumps in a process's `limits`.
fn core_limit(limits: &str) -> Result<(&str, &str)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).context("there is a limit")?;
    let mut words = line.split_whitespace();
    Ok((words.next().context("a soft limit")?, words.next().context("a hard limit")?))
}

#[test]
fn neither_agent_nor_hook_leaves_a_core_dump() -> Result<()> {
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        fleet.agent.configure("30-hardening.yml", "disable_core_dumps: true\n")?;
        // With the highest limit to begin with, so that there would be cores.
        fleet.agent.start_with(|command| {
            use std::os::unix::process::CommandExt;
            let raise = || {
                let all = rustix::process::Rlimit { current: None, maximum: None };
                // Whoever may not raise it keeps what there is.
                let _ = rustix::process::setrlimit(rustix::process::Resource::Core, all);
                Ok(())
            };
            // SAFETY: between fork and exec it only makes a system call.
            unsafe { command.pre_exec(raise) };
        })?;
        let seen = place.path().join("limits");
        // The script's parent is the runner, which holds the environment of the script.
        let script = format!("cat /proc/self/limits > {0}; cat /proc/$PPID/limits > {0}-runner", seen.display());
        let revision = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &script)]);
        succeeded(&fleet.group.deploy(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?)?;
        let id = fleet.agent.program().context("it runs")?.id();
        let agent = fs::read_to_string(format!("/proc/{id}/limits"))?;
        for limits in [agent, fs::read_to_string(&seen)?, fs::read_to_string(seen.with_file_name("limits-runner"))?] {
            ensure!(core_limit(&limits)? == ("0", "0"), "{limits}");
        }
        no_core_of_a_crash(&mut fleet)
    })
}

/// The agent crashes, and its parent is told whether it left a core.
fn no_core_of_a_crash(fleet: &mut Fleet<'_>) -> Result<()> {
    use nix::sys::signal::{Signal, kill};
    let program = fleet.agent.program().context("it runs")?;
    kill(nix::unistd::Pid::from_raw(program.id().cast_signed()), Signal::SIGABRT)?;
    until_true("the agent to crash", PATIENCE, || Ok(program.must_run().is_err()))?;
    let ended = program.must_run().err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(ended.contains("SIGABRT") && !ended.contains("core dumped"), "{ended}");
    Ok(())
}

#[test]
fn without_the_setting_the_limit_of_core_dumps_is_the_hosts() -> Result<()> {
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let seen = place.path().join("limits");
        let script = format!("cat /proc/self/limits > {}", seen.display());
        deploy(place, &agent, &app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &script)]), |c| c)?;
        let own = fs::read_to_string("/proc/self/limits")?;
        ensure!(core_limit(&fs::read_to_string(&seen)?)? == core_limit(&own)?);
        Ok(())
    })
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.permissions().mode() & 0o777)
}

/// The directory of the group's one deployment that is called in none of `known`.
fn newest(agent: &Agent<'_>, known: &[PathBuf]) -> Result<PathBuf> {
    let all = fs::read_dir(agent.root().join("g1"))?.flatten().map(|entry| entry.path());
    all.into_iter().find(|path| !known.contains(path)).context("there is a deployment")
}

/// A revision whose script runs as `nobody` and reads what is beside it.
fn as_nobody(destination: &Path) -> Revision {
    let appspec = format!(
        "version: 0.0\nos: linux\nfiles:\n  - source: page\n    destination: {}\nhooks:\n  AfterInstall:\n    \
         - location: scripts/look.sh\n      runas: nobody\n      timeout: 60\n",
        destination.display()
    );
    let script = "id -u && test \"$(cat \"$(dirname \"$0\")/beside\")\" = seen";
    Revision::with_appspec(&appspec)
        .file("page", "page")
        .file("scripts/beside", "seen")
        .script("scripts/look.sh", script)
}

#[test]
fn the_root_directory_is_closed_and_scripts_of_other_users_still_run() -> Result<()> {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can run scripts as another user");
        return Ok(());
    }
    scenario(|place| {
        let agent = Agent::alone(place, "web-1")?;
        let destination = place.path().join("app");
        let plain = app(&destination, "page", &[Hook::new("AfterInstall", "true")]);
        deploy(place, &agent, &plain, |command| command)?;
        let before = newest(&agent, &[])?;
        ensure!(mode(&agent.root())? == 0o755 && mode(&before)? == 0o755 && mode(&before.join("logs"))? == 0o755);

        agent.configure("30-hardening.yml", "restrict_agent_dir_permissions: true\n")?;
        deploy(place, &agent, &plain, |command| command)?;
        let closed = newest(&agent, std::slice::from_ref(&before))?;
        deploy(place, &agent, &as_nobody(&destination), |command| command)?;
        let passed = newest(&agent, &[before.clone(), closed.clone()])?;
        let root = agent.root();
        let rows = [
            (root.clone(), 0o711),
            (root.join("g1"), 0o711),
            (root.join(".slipway"), 0o700),
            (root.join("deployment-instructions"), 0o700),
            (root.join("deployment-logs"), 0o700),
            (before.clone(), 0o711),
            (before.join("logs"), 0o700),
            (closed.clone(), 0o700),
            (closed.join("logs"), 0o700),
            (passed.clone(), 0o711),
            (passed.join("logs"), 0o700),
        ];
        for (path, expected) in rows {
            ensure!(mode(&path)? == expected, "{} is {:o}, expected {expected:o}", path.display(), mode(&path)?);
        }
        contains(&fs::read_to_string(passed.join("logs/scripts.log"))?, &["[stdout]65534"])
    })
}
