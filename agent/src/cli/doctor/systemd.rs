//! Whether systemd starts the agent, and has.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::Host;
use super::finding::{Finding, Verdict};
use crate::process::{self, find_program};

const UNIT: &str = "slipway-agent.service";
/// How long systemctl may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn unit(_: &Host<'_>) -> Vec<Finding> {
    let findings = |verdict: Verdict| {
        let untried = |check| Finding::new(check, "nothing", verdict.clone());
        vec![untried("systemd unit enabled"), untried("systemd unit active")]
    };
    let not_tried = |reason: &str| findings(Verdict::NotTried(reason.to_owned()));
    let Some(systemctl) = find_program("systemctl") else {
        return not_tried("this host has no systemctl");
    };
    match ask(&systemctl, "is-system-running", None) {
        Ok(state) if matches!(state.as_str(), "" | "offline" | "unknown") => {
            return not_tried("systemd does not run this host");
        }
        Ok(_) => {}
        Err(trouble) => return not_tried(&trouble),
    }
    let enabled = match ask(&systemctl, "is-enabled", Some(UNIT)) {
        Ok(state) if matches!(state.as_str(), "enabled" | "enabled-runtime" | "alias" | "static") => {
            Verdict::Passed(state)
        }
        Ok(state) if matches!(state.as_str(), "" | "not-found") => {
            Verdict::failed(format!("there is no {UNIT}"), "install it, then `systemctl enable --now slipway-agent`")
        }
        Ok(state) if state.starts_with("masked") => Verdict::failed(
            format!("{UNIT} is {state}: nothing can start it"),
            "`systemctl unmask slipway-agent`, then `systemctl enable --now slipway-agent`",
        ),
        Ok(state) => Verdict::failed(
            format!("{UNIT} is {state}, so the agent does not start with the host"),
            "`systemctl enable slipway-agent`",
        ),
        Err(trouble) => Verdict::NotTried(trouble),
    };
    let active = match ask(&systemctl, "is-active", Some(UNIT)) {
        Ok(state) if state == "active" => Verdict::Passed(state),
        Ok(state) => Verdict::failed(
            format!("{UNIT} is {}", if state.is_empty() { "not there" } else { &state }),
            "`systemctl start slipway-agent`; `journalctl -u slipway-agent -e` says why it ended",
        ),
        Err(trouble) => Verdict::NotTried(trouble),
    };
    vec![
        Finding::new("systemd unit enabled", format!("systemctl is-enabled {UNIT}"), enabled),
        Finding::new("systemd unit active", format!("systemctl is-active {UNIT}"), active),
    ]
}

/// The first line that systemctl prints; its exit status says the same.
fn ask(systemctl: &Path, verb: &str, unit: Option<&str>) -> Result<String, String> {
    let arguments: Vec<&OsStr> = std::iter::once(verb).chain(unit).map(OsStr::new).collect();
    let answer = process::ask(systemctl, &arguments, b"", PATIENCE).map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&answer.stdout);
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}
