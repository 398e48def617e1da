//! The control service on a disk that is full for a while.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slipway_tests::api::Api;
use slipway_tests::control::Control;
use slipway_tests::fleet::PATIENCE;
use slipway_tests::place::scenario;
use slipway_tests::until::until_true;

use crate::space::SmallDisk;

/// How often the disk fills up.
const ROUNDS: usize = 10;
/// Writes one after the other that have to succeed once there is space again.
const IN_A_ROW: usize = 30;

/// Takes all that is left of a disk.
fn fill(directory: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::File::create(directory.join("filler"))?;
    let mut size = 1 << 20;
    while size > 0 {
        match file.write(&vec![0; size]) {
            Ok(written) if written == size => {}
            _ => size /= 2,
        }
    }
    Ok(())
}

fn create(api: &Api, name: &str) -> Result<()> {
    api.call("CreateApplication", json!({"applicationName": name})).map(drop)
}

/// Writes on and on, and remembers what was accepted.
struct Writer {
    accepted: Vec<String>,
    refused: usize,
}

#[test]
fn writes_succeed_again_once_there_is_space_and_nothing_that_was_accepted_is_lost() -> Result<()> {
    for writers in [1, 8] {
        scenario(|place| {
            let Some(_disk) = SmallDisk::mount(place, &place.path().join("control"))? else { return Ok(()) };
            let mut control = Control::start(place)?;
            let id = control.id();
            let api = Arc::new(control.administrator("tests")?);
            let mut accepted = Vec::new();
            for round in 0..ROUNDS {
                let (ends, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
                let at_work: Vec<_> = (0..writers)
                    .map(|writer| {
                        let (api, ends, all) = (Arc::clone(&api), Arc::clone(&ends), Arc::clone(&refused));
                        thread::spawn(move || {
                            let mut own = Writer { accepted: Vec::new(), refused: 0 };
                            for number in 0.. {
                                if ends.load(Ordering::Acquire) {
                                    break;
                                }
                                let name = format!("app-{round}-{writer}-{number}");
                                match create(&api, &name) {
                                    Ok(()) => own.accepted.push(name),
                                    Err(_) => {
                                        own.refused += 1;
                                        all.fetch_add(1, Ordering::AcqRel);
                                    }
                                }
                            }
                            own
                        })
                    })
                    .collect();
                fill(control.data())?;
                until_true("writes to be refused", PATIENCE, || Ok(refused.load(Ordering::Acquire) >= 3 * writers))?;
                fs::remove_file(control.data().join("filler"))?;
                ends.store(true, Ordering::Release);
                for writer in at_work {
                    let Writer { accepted: own, refused } =
                        writer.join().map_err(|_| anyhow::anyhow!("a writer ended badly"))?;
                    ensure!(refused > 0);
                    accepted.extend(own);
                }
                for number in 0..IN_A_ROW {
                    let name = format!("after-{round}-{number}");
                    create(&api, &name).with_context(|| format!("write {number} after round {round}"))?;
                    accepted.push(name);
                }
            }
            control.program().context("it runs")?.must_run()?;
            ensure!(control.id() == id, "it was restarted");
            control.kill()?;
            control.restart()?;
            for name in &accepted {
                api.call("GetApplication", json!({"applicationName": name}))
                    .with_context(|| format!("{name} is lost"))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Asks for the service's health without a key; gives status and body.
fn health(control: &Control<'_>) -> Result<(String, String)> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--write-out", "%{http_code}", "--cacert"]).arg(control.ca_file());
    let output = command.arg(format!("{}/health", control.endpoint())).output().context("start curl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.split_at_checked(text.len().saturating_sub(3)).context("a status")?;
    Ok((status.to_owned(), body.to_owned()))
}

#[test]
fn it_starts_on_a_full_disk_answers_reads_and_says_what_is_wrong() -> Result<()> {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl to ask for the health; `make test` installs it");
        return Ok(());
    }
    scenario(|place| {
        let disk = SmallDisk::of_mebibytes(128, place, &place.path().join("control"))?;
        let Some(_disk) = disk else { return Ok(()) };
        let mut control = Control::start(place)?;
        let api = control.administrator("tests")?;
        create(&api, "kept")?;
        until_true("the reserve to be taken", PATIENCE, || Ok(control.data().join("reserve").exists()))?;
        ensure!(health(&control)?.0 == "200", "{:?}", health(&control)?);
        // However it ended: what a clean end removes has to be made again.
        for round in 0..2 {
            if round == 0 {
                control.stop()?;
            } else {
                control.kill()?;
            }
            fill(control.data())?;
            control.restart()?;
            fill(control.data())?;
            api.call("GetApplication", json!({"applicationName": "kept"}))?;
            until_true("the health to say it", PATIENCE, || {
                let (status, body) = health(&control)?;
                Ok(status == "503" && body.contains("failing") && body.contains("control"))
            })?;
            until_true("the log to say it", PATIENCE, || {
                let log = control.program().context("it runs")?.log_text();
                Ok(log.contains("nothing can be written in") || log.contains("is full"))
            })?;
            fs::remove_file(control.data().join("filler"))?;
            until_true("the health to be good again", PATIENCE, || Ok(health(&control)?.0 == "200"))?;
            create(&api, &format!("after-{round}"))?;
            until_true("the reserve to be taken again", PATIENCE, || {
                health(&control)?;
                Ok(control.data().join("reserve").exists())
            })?;
        }
        Ok(())
    })
}
