//! AWS's agent itself: whether it runs, is started with the host, or comes back.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::note::{Note, Verdict};
use crate::cli::other_agent::{self, OtherAgent};
use crate::cli::settings::Context;
use crate::disk;
use crate::process::{self, find_program};

const SERVICE: &str = "service";
/// The unit of AWS's agent, and its script on older systems.
const UNIT: &str = "codedeploy-agent.service";
/// The unit of this agent, which has the other one's name as an alias.
const OWN: &str = "slipway-agent.service";
/// Installs and starts newer versions of AWS's agent.
const UPDATER: &str = "/etc/cron.d/codedeploy-agent-update";
/// How long systemctl may take.
const PATIENCE: Duration = Duration::from_secs(20);

const STOP: &str = "`systemctl disable --now codedeploy-agent`; a deployment that runs is cut off by that";

pub(super) fn look(context: &Context) -> anyhow::Result<Vec<Note>> {
    let mut notes = Vec::new();
    notes.extend(process(context)?);
    notes.extend(unit());
    if disk::exists(Path::new(UPDATER))? {
        let what = format!("{UPDATER} installs AWS's agent again when a newer version of it comes out");
        notes.push(Note::new(Verdict::NeedsYou, SERVICE, what).with_remedy(format!("`rm {UPDATER}`")));
    }
    if let Some(home) = other_agent::home(context) {
        let library = home.join("lib");
        if disk::exists(&library.join("codedeploy-agent.rb"))? || disk::exists(&library.join("instance_agent"))? {
            let what = format!("AWS's program is in {}: it is not used", home.display());
            let todo = "remove the package codedeploy-agent once you do not want to go back; packages of slipway-agent replace it";
            notes.push(Note::new(Verdict::Ignored, SERVICE, what).with_remedy(todo));
        }
    }
    Ok(notes)
}

/// By its pid file, which it leaves behind when it is killed.
fn process(context: &Context) -> anyhow::Result<Option<Note>> {
    Ok(match other_agent::look(context)? {
        OtherAgent::None => None,
        OtherAgent::Gone(file) => {
            Some(Note::new(Verdict::Ignored, SERVICE, format!("{} names no agent that runs", file.display())))
        }
        OtherAgent::Runs(holder) => {
            let what = format!("AWS's agent runs, as process {}: {}", holder.pid, holder.command);
            Some(Note::new(Verdict::NeedsYou, SERVICE, what).with_remedy(STOP))
        }
    })
}

/// By systemd, where that runs the host.
fn unit() -> Option<Note> {
    let state = State::ask()?;
    if state.id == OWN {
        let what = format!("{UNIT} is another name of {OWN}: scripts and runbooks that use it go on working");
        return Some(Note::new(Verdict::TakenOver, SERVICE, what));
    }
    if state.load != "loaded" {
        return None;
    }
    let is_up = matches!(state.active.as_str(), "active" | "activating" | "reloading");
    let comes_back = matches!(state.enabled.as_str(), "enabled" | "enabled-runtime" | "generated" | "indirect");
    let what = format!("{UNIT} is {} and {} ({})", state.active, state.enabled, state.file);
    Some(match is_up || comes_back {
        true => Note::new(Verdict::NeedsYou, SERVICE, what + ": two agents would take each other's commands")
            .with_remedy(STOP),
        false => Note::new(Verdict::Ignored, SERVICE, what),
    })
}

/// What systemd knows of the unit.
struct State {
    id: String,
    load: String,
    active: String,
    enabled: String,
    file: String,
}

impl State {
    /// Nothing where systemd does not run the host.
    fn ask() -> Option<Self> {
        let systemctl = find_program("systemctl")?;
        let words = ["show", "--property=Id,LoadState,ActiveState,UnitFileState,FragmentPath", UNIT].map(OsStr::new);
        let answer = process::ask(&systemctl, &words, b"", PATIENCE).ok().filter(|answer| answer.failure.is_none())?;
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        let field = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        Some(Self {
            id: field("Id"),
            load: field("LoadState"),
            active: field("ActiveState"),
            enabled: field("UnitFileState"),
            file: field("FragmentPath"),
        })
    }
}
