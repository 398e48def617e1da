//! Who runs: this agent's daemon, with the configuration and the identity of the files, and no other agent beside it.

use super::Host;
use super::finding::{Finding, Verdict};
use crate::causes::with_causes;
use crate::cli::cancel::daemon_runs;
use crate::cli::other_agent::{self, OtherAgent};
use crate::cli::settings::Context;
use crate::cli::settings_daemon::Outdated;
use crate::daemon::status::{self, Status};
use crate::identity::Source;
use crate::process::{self, Holder};

const RESTART: &str = "`systemctl restart slipway-agent`: hooks that run go on meanwhile";

/// Whether AWS's agent works on the same root.
pub(super) fn other_agent(host: &Host<'_>) -> Vec<Finding> {
    let finding = |tried: &str, verdict| vec![Finding::new("AWS's agent", tried, verdict)];
    let context = match host.context() {
        Ok(context) => context,
        Err(verdict) => return finding("nothing", verdict),
    };
    let verdict = match other_agent::look(context) {
        Ok(OtherAgent::Runs(Holder { pid, command })) => Verdict::failed(
            format!("it runs beside this agent, as process {pid} ({command}): two agents take each other's commands"),
            "`systemctl disable --now codedeploy-agent`; `slipway-agent migrate --check` says what else there is to do",
        ),
        Ok(OtherAgent::None | OtherAgent::Gone(_)) => Verdict::Passed("does not run on this root".to_owned()),
        Err(error) => Verdict::NotTried(with_causes(&error)),
    };
    finding("looked for its pid file and its processes", verdict)
}

/// Whether the daemon that runs has what the files say.
pub(super) fn daemon(host: &Host<'_>) -> Vec<Finding> {
    let finding =
        |verdict| vec![Finding::new("running daemon", "compared its settings and identity with the files", verdict)];
    let context = match host.context() {
        Ok(context) => context,
        Err(verdict) => return finding(verdict),
    };
    let status = match running(context) {
        Ok(Some(status)) => status,
        Ok(None) => return finding(Verdict::NotTried("no daemon runs on this root".to_owned())),
        Err(_) if !process::is_root() => {
            let reason = "only root can read the agent's state: run `slipway-agent doctor` as root";
            return finding(Verdict::NotTried(reason.to_owned()));
        }
        Err(error) => return finding(Verdict::NotTried(with_causes(&error))),
    };
    let mut wrong: Vec<String> = match context.outdated() {
        Ok(outdated) => outdated.iter().map(setting).collect(),
        Err(error) => return finding(Verdict::NotTried(error.to_string())),
    };
    wrong.extend(identity(host, &status));
    finding(match wrong.is_empty() {
        true => Verdict::Passed(format!("process {} has those of the files", status.pid)),
        false => Verdict::failed(wrong.join("\n"), RESTART),
    })
}

fn running(context: &Context) -> anyhow::Result<Option<Status>> {
    let status = status::read(&context.layout.status())?;
    Ok(if daemon_runs(context)? { status } else { None })
}

fn setting(Outdated { key, running, files }: &Outdated) -> String {
    format!("the daemon runs with {key} = {running}, the files have {files}")
}

/// What differs of who the daemon asks as, as far as both are known.
fn identity(host: &Host<'_>, status: &Status) -> Vec<String> {
    let mut wrong = Vec::new();
    let Ok((_, network)) = host.asked() else { return wrong };
    if let (Some(running), Ok(files)) = (&status.host, &network.host)
        && *running != files.identifier
    {
        wrong.push(format!("the daemon asks as {running}, by the files this host is {}", files.identifier));
    }
    // Other sources give a key for some hours, and each asker its own.
    if let (Some(running), Ok(access)) = (&status.access_key, network.access())
        && let Source::OnPremises(path) = &access.source
        && *running != access.credentials.access_key_id
    {
        let files = &access.credentials.access_key_id;
        wrong.push(format!("the daemon signs with access key {running}, {} has {files}", path.display()));
    }
    wrong
}
