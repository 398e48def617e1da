//! A user who may read the logs holds locks on them: neither a script's time limit nor the daemon waits for that.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use slipway_tests::agent::Agent;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::place::{Place, scenario, write_private};
use slipway_tests::polled::Polled;
use slipway_tests::program::Program;
use slipway_tests::revision::{Hook, app};
use slipway_tests::until::{until, until_true};

use crate::expect::contains;

/// Size at which a log is set aside, in bytes.
const FULL: u64 = 64 << 20;

/// As nobody: holds locks on files for as long as it lives, and tells once it has them.
const HOLDER: &str = "
import fcntl, os, sys, time
os.setgroups([]); os.setgid(65534); os.setuid(65534)
kind = {'exclusive': fcntl.LOCK_EX, 'shared': fcntl.LOCK_SH}[sys.argv[1]]
files = [open(path) for path in sys.argv[2:]]
for file in files:
    fcntl.flock(file, kind)
print('held', flush=True)
time.sleep(3600)
";

fn hold(place: &Place, kind: &str, logs: &[&Path]) -> Result<Program> {
    let mut python = Command::new("python3");
    let holder = Program::start(place, &format!("holder-{kind}"), python.args(["-c", HOLDER, kind]).args(logs))?;
    until_true("the locks to be held", PATIENCE, || Ok(holder.log_text().contains("held")))?;
    Ok(holder)
}

/// A log that is full: the next write sets it aside.
fn full(path: &Path) -> Result<PathBuf> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    File::create(path)?.set_len(FULL)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    Ok(path.to_owned())
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can be somebody else, too");
    }
    is_root
}

#[test]
fn a_lock_on_a_full_log_stops_no_time_limit() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    for kind in ["exclusive", "shared"] {
        scenario(|place| {
            let agent = Agent::alone(place, "web-1")?;
            let log = full(&agent.root().join("deployment-logs/codedeploy-agent-deployments.log"))?;
            let _holder = hold(place, kind, &[&log])?;
            let endless = "while :; do echo a line; sleep 0.1; done";
            let hook = Hook { timeout: 2, ..Hook::new("AfterInstall", endless) };
            let directory = place.directory("revision")?;
            app(&place.path().join("app"), "page", &[hook]).write(&directory)?;
            let mut command = agent.command(&["deploy-local", "-g", "g1", "-l", &directory.display().to_string()])?;
            let mut deployment = Program::start(place, "deployment", &mut command)?;
            let ended = until("the script to be ended at its limit", PATIENCE, || deployment.ended())?;
            ensure!(!ended.success());
            contains(&deployment.log_text(), &["AfterInstall", "2 s"])?;
            // What it said is there, in a new file.
            contains(&fs::read_to_string(&log)?, &["a line"])
        })?;
    }
    Ok(())
}

#[test]
fn a_lock_on_a_full_log_stops_no_daemon() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    scenario(|place| {
        let service = Polled::start()?;
        let mut agent = Agent::alone(place, "web-1")?;
        let identity = agent.home().join("identity.yml");
        write_private(
            &identity,
            "region: us-east-1\niam_user_arn: arn:aws:iam::111122223333:user/web-1\naws_access_key_id: AKIA1\n\
             aws_secret_access_key: geheim\n",
        )?;
        let logs = place.path().join("agent-logs");
        let log = full(&logs.join("codedeploy-agent.log"))?;
        agent.configure(
            "20-host.yml",
            &format!(
                "on_premises_config_file: {}\ndeploy_control_endpoint: {}\nwait_between_runs: 0\nlog_dir: {}\n\
                 log_aws_wire: true\n",
                identity.display(),
                service.endpoint(),
                logs.display()
            ),
        )?;
        let _holder = hold(place, "exclusive", &[&log])?;
        agent.start()?;
        until_true("polls, each of which is logged", PATIENCE, || Ok(service.polls().len() >= 5))?;
        until_true("the log to go on in a new file", PATIENCE, || {
            Ok(fs::read_to_string(&log).is_ok_and(|text| text.contains("PollHostCommand")))
        })?;
        agent.stop()
    })
}
