//! What is to be seen of a host while something happens on it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries;
use slipway_tests::deployment::finish;
use slipway_tests::fleet::{Fleet, PATIENCE};
use slipway_tests::place::scenario;
use slipway_tests::program::Program;
use slipway_tests::revision::{BundleKind, Hook, app};
use slipway_tests::until::until_true;

use crate::expect::{contains, succeeded};

#[test]
fn events_are_told_as_they_come_and_go() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::start(place)?;
        until_true("the daemon to be alive", PATIENCE, || Ok(fleet.agent.status()?["daemon"]["alive"] == true))?;
        let mut watcher = Program::start(place, "watcher", &mut fleet.agent.command(&["status", "--watch"])?)?;
        until_true("the first look", PATIENCE, || Ok(watcher.log_text().contains("slipway-agent")))?;
        let go_on = place.path().join("go-on");
        let hook = format!("echo half way\nuntil [ -e {} ]; do sleep 0.05; done", go_on.display());
        let revision = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &hook)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        until_true("the hook to be told with its output", PATIENCE, || {
            let text = watcher.log_text();
            Ok(text.contains(&format!("AfterInstall of {id} runs")) && text.contains("[stdout]half way"))
        })?;
        std::fs::write(&go_on, "")?;
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)?;
        until_true("the hook's end to be told", PATIENCE, || {
            Ok(watcher.log_text().contains(&format!("AfterInstall of {id} succeeded after")))
        })?;
        ensure!(!watcher.log_text().contains('\x1b'), "nothing is redrawn in a file");
        watcher.must_run()?;
        Ok(())
    })
}

/// A daemon with a socket of systemd's kind is heard there.
#[test]
fn systemd_is_told_what_happens_and_that_the_loop_turns() -> Result<()> {
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let path = place.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let heard = |wanted: &str| -> Result<()> {
            let mut all = String::new();
            let mut buffer = [0; 4096];
            loop {
                let length = socket.recv(&mut buffer).with_context(|| format!("{wanted:?} is not in:\n{all}"))?;
                all.push_str(&String::from_utf8_lossy(&buffer[..length]));
                if all.contains(wanted) {
                    return Ok(());
                }
            }
        };
        let mut command = binaries::agent()?;
        command.arg("run").arg("--config").arg(fleet.agent.config_file());
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000").env_remove("WATCHDOG_PID");
        let mut agent = Program::start(place, "agent-told", &mut command)?;
        heard("READY=1")?;
        heard("STATUS=polling")?;
        heard("WATCHDOG=1")?;
        heard("WATCHDOG=1")?;
        let go_on = place.path().join("go-on");
        let hook = format!("until [ -e {} ]; do sleep 0.05; done", go_on.display());
        let revision = app(&place.path().join("app"), "page", &[Hook::new("AfterInstall", &hook)]);
        let id = fleet.group.begin(&fleet.group.push("v1", &revision, BundleKind::Tgz)?)?;
        heard(&format!("STATUS=running AfterInstall of {id}"))?;
        let paused = fleet.agent.output(&["pause"])?;
        ensure!(paused.status.success());
        heard(&format!("STATUS=paused; running AfterInstall of {id}"))?;
        std::fs::write(&go_on, "")?;
        heard("STATUS=paused")?;
        ensure!(fleet.agent.output(&["resume"])?.status.success());
        heard("STATUS=polling")?;
        succeeded(&finish(&fleet.api, &id, PATIENCE)?)?;
        drop(fleet.control);
        heard("STATUS=cannot reach the service: ")?;
        agent.stop(Duration::from_secs(30))?;
        heard("STOPPING=1")?;
        contains(&agent.log_text(), &["slipway-agent starts"])
    })
}
