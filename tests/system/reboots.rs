//! The host is rebooted, in order or by a power cut, in each state of a deployment; and by a hook itself.
//! The deployment ends, each command is reported once, and no script runs twice.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use slipway_tests::deployment::{Event, Finished, events};
use slipway_tests::revision::{Hook, Revision, app};
use slipway_tests::until::{until, until_true};

use crate::app::{self, DESTINATION, Order};
use crate::host::{Host, PATIENCE, UNIT, succeeded};
use crate::job::Ground;
use crate::report::Report;

/// How many checks [`each_state`] makes.
pub const EACH_STATE: u64 = 8;
/// How many checks [`asked_by_a_hook`] makes.
pub const ASKED: u64 = 3;

/// Enough files for an install to be cut off in the middle.
const FILES: usize = 4000;
/// How often an install that was over too early is tried again.
const ATTEMPTS: usize = 5;

/// How the host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reboot {
    InOrder,
    PowerCut,
}

impl Reboot {
    fn carry_out(self, host: &mut Host<'_>) -> Result<()> {
        match self {
            Self::InOrder => host.machine.reboot(),
            Self::PowerCut => {
                host.machine.cut_power()?;
                host.machine.boot()
            }
        }
    }
}

/// Both kinds of reboot in a hook, in DownloadBundle, in Install and between two commands.
pub fn each_state(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "reboots")?;
    host.deploy(&host.push("v0", &app::revision("v0"))?)?;
    for reboot in [Reboot::InOrder, Reboot::PowerCut] {
        let mut check = |name: &str, state: fn(&mut Host<'_>, Reboot) -> Result<()>| {
            host.check(report, &format!("{reboot:?} {name}"), |host| state(host, reboot));
        };
        check("while a hook runs", in_hook);
        check("in DownloadBundle", in_download);
        check("in Install", in_install);
        check("between two commands", between);
    }
    Ok(())
}

fn in_hook(host: &mut Host<'_>, reboot: Reboot) -> Result<()> {
    let bundle = host.push("hook", &app::revision("hook"))?;
    let order = Order::wait(host.machine.root(), "AfterInstall")?;
    let deployment = host.begin(&bundle)?;
    order.begun()?;
    reboot.carry_out(host)?;
    interrupted(host, &host.finish(&deployment)?, "AfterInstall", reboot)?;
    let runs = order.runs();
    ensure!(runs.len() == 1, "the hook ran {} times: {runs:?}", runs.len());
    Ok(())
}

fn in_download(host: &mut Host<'_>, reboot: Reboot) -> Result<()> {
    let bundle = host.push("download", &app::revision("download"))?;
    host.wire.refuse_bundles();
    let deployment = host.begin(&bundle)?;
    until_true("the bundle to be asked for", PATIENCE, || Ok(host.wire.bundles_refused() > 0))?;
    match reboot {
        // The agent is told to end and the download still goes on; it can succeed before the host is down.
        Reboot::InOrder => {
            host.machine.go_down()?;
            until_true("the agent to be asked to end", PATIENCE, || {
                let state = host.machine.try_run(&["systemctl", "is-active", UNIT])?;
                Ok(state.trim() != "active")
            })?;
            host.wire.let_pass();
            host.machine.boot_again()?;
        }
        Reboot::PowerCut => {
            host.machine.cut_power()?;
            host.wire.let_pass();
            host.machine.boot()?;
        }
    }
    whole(host, &host.finish(&deployment)?, "download")
}

fn in_install(host: &mut Host<'_>, reboot: Reboot) -> Result<()> {
    let root = host.machine.root().to_owned();
    for attempt in 0..ATTEMPTS {
        let page = format!("install-{reboot:?}-{attempt}");
        let bundle = host.push(&page, &many_files(&page))?;
        let deployment = host.begin(&bundle)?;
        until_true("an install to be under way, or over", PATIENCE, || {
            Ok(is_installing(&root)? || events(host.group.api(), &deployment)?.iter().any(is_installed))
        })?;
        let in_time = is_installing(&root)?;
        match reboot {
            Reboot::InOrder => host.machine.reboot()?,
            Reboot::PowerCut => host.machine.cut_power()?,
        }
        let is_cut_off = is_installing(&root)?;
        if reboot == Reboot::PowerCut {
            host.machine.boot()?;
        }
        whole(host, &host.finish(&deployment)?, &page)?;
        // An orderly shutdown lets an install come to its end; a power cut has to find one that runs.
        if in_time && (is_cut_off || reboot == Reboot::InOrder) {
            return Ok(());
        }
    }
    anyhow::bail!("none of {ATTEMPTS} installs ran long enough to be cut off")
}

/// Whether there is the journal of an install that was neither finished nor undone.
fn is_installing(root: &Path) -> Result<bool> {
    let transactions = root.join("opt/codedeploy-agent/deployment-root/.slipway/tx");
    Ok(transactions.exists()
        && fs::read_dir(transactions)?.flatten().any(|entry| entry.path().join("journal").exists()))
}

fn is_installed(event: &Event) -> bool {
    event.name == "Install" && event.is_terminal()
}

fn between(host: &mut Host<'_>, reboot: Reboot) -> Result<()> {
    let bundle = host.push("between", &app::revision("between"))?;
    host.wire.hold_polls_after("BeforeInstall");
    let deployment = host.begin(&bundle)?;
    until_true("a poll after BeforeInstall", PATIENCE, || Ok(host.wire.polls_held() > 0))?;
    reboot.carry_out(host)?;
    host.wire.let_pass();
    whole(host, &host.finish(&deployment)?, "between")
}

/// A hook asks for the reboot: and ends, or waits for it, or has left that to the background.
pub fn asked_by_a_hook(ground: &Ground, report: &mut Report) -> Result<()> {
    let mut host = Host::start(ground, "asked")?;
    host.deploy(&host.push("v0", &app::revision("v0"))?)?;
    host.check(report, "a hook that asks for a reboot and ends", asks_and_ends);
    host.check(report, "a hook that asks for a reboot and waits for it", asks_and_waits);
    host.check(report, "a hook that leaves the reboot to the background", asks_later);
    Ok(())
}

/// Its end and the shutdown run against each other: it is a success, or a failure that tells of the reboot.
fn asks_and_ends(host: &mut Host<'_>) -> Result<()> {
    let deployment = host.begin(&host.push("ends", &asking("ends", "systemctl reboot"))?)?;
    host.machine.boot_again()?;
    let finished = host.finish(&deployment)?;
    ran_once(host, "ends")?;
    if finished.status() == "Succeeded" {
        succeeded(&finished)
    } else {
        interrupted(host, &finished, "AfterInstall", Reboot::InOrder)
    }
}

fn asks_and_waits(host: &mut Host<'_>) -> Result<()> {
    let lines = "systemctl reboot\nsleep infinity";
    let deployment = host.begin(&host.push("waits", &asking("waits", lines))?)?;
    host.machine.boot_again()?;
    interrupted(host, &host.finish(&deployment)?, "AfterInstall", Reboot::InOrder)?;
    ran_once(host, "waits")
}

fn asks_later(host: &mut Host<'_>) -> Result<()> {
    let lines = "mkfifo /srv/go\n( read -r go < /srv/go; rm /srv/go; systemctl reboot ) >/dev/null 2>&1 &";
    let deployment = host.begin(&host.push("later", &asking("later", lines))?)?;
    until("the event after the hook's", PATIENCE, || {
        let events = events(host.group.api(), &deployment)?;
        Ok(events.into_iter().find(|event| event.name == "AfterInstall" && event.is_terminal()))
    })?;
    host.machine.run(&["sh", "-c", "echo go > /srv/go"])?;
    host.machine.boot_again()?;
    ran_once(host, "later")?;
    whole(host, &host.finish(&deployment)?, "later")
}

fn asking(page: &str, lines: &str) -> Revision {
    let lines = format!("echo \"$$\" >> /srv/ran-{page}\n{lines}");
    app(Path::new(DESTINATION), page, &[Hook::new("AfterInstall", &lines)])
}

fn ran_once(host: &Host<'_>, page: &str) -> Result<()> {
    let runs = host.read(&format!("/srv/ran-{page}")).lines().count();
    ensure!(runs == 1, "the hook ran {runs} times");
    Ok(())
}

fn many_files(page: &str) -> Revision {
    (0..FILES).fold(app::revision(page), |revision, number| {
        revision.file(&format!("content/many/{number}"), format!("{page} {number}"))
    })
}

/// Holds that a deployment succeeded, and that its page is what the host has.
fn whole(host: &Host<'_>, finished: &Finished, page: &str) -> Result<()> {
    succeeded(finished)?;
    host.one_result_each()?;
    let found = host.read(&format!("{DESTINATION}/page"));
    ensure!(found == page, "the page is {found:?}");
    Ok(())
}

/// Holds that a deployment failed in that event, with the reboot as the reason.
fn interrupted(host: &Host<'_>, finished: &Finished, event: &str, reboot: Reboot) -> Result<()> {
    host.one_result_each()?;
    let failed = finished.failed_event()?;
    ensure!(failed.name == event, "{} failed instead: {}", failed.name, failed.diagnostics);
    let message = failed.diagnostic("message");
    ensure!(message.contains("interrupted"), "{}", failed.diagnostics);
    let words: &[&str] = if reboot == Reboot::InOrder { &["shutdown", "reboot"] } else { &["reboot"] };
    ensure!(words.iter().any(|word| message.contains(word)), "none of {words:?} is told: {}", failed.diagnostics);
    Ok(())
}
