//! Whether AWS's agent runs on this host, by its pid file.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::settings::Context;
use crate::disk;
use crate::process::{Holder, Row};

/// What became of AWS's agent.
#[derive(Debug)]
pub(super) enum OtherAgent {
    /// Nothing tells of it.
    None,
    /// It has left this file.
    Gone(PathBuf),
    /// It runs.
    Runs(Holder),
}

/// Where it is installed: around its root directory.
pub(super) fn home(context: &Context) -> Option<PathBuf> {
    context.layout.root().parent().map(Path::to_owned)
}

/// Looks at the file, which is left behind when it is killed.
pub(super) fn look(context: &Context) -> anyhow::Result<OtherAgent> {
    let name = context.settings.program_name.as_str();
    let Some(file) = home(context).map(|home| home.join("state/.pid").join(format!("{name}.pid"))) else {
        return Ok(OtherAgent::None);
    };
    let Some(text) = disk::read_if_exists(&file, 4096)? else { return Ok(OtherAgent::None) };
    let row = match String::from_utf8_lossy(&text).trim().parse() {
        Ok(pid) => Row::of(pid)?.filter(|row| !row.ended()),
        Err(_) => None,
    };
    // The number can be somebody else's by now.
    let holder = row.map(|row| row.holder()).filter(|holder| holder.command.contains("codedeploy-agent"));
    Ok(holder.map_or(OtherAgent::Gone(file), OtherAgent::Runs))
}

/// Two agents would take each other's host commands.
pub(super) fn refuse(context: &Context) -> anyhow::Result<()> {
    if let OtherAgent::Runs(Holder { pid, command }) = look(context)? {
        bail!(
            "AWS's agent runs on this host, as process {pid} ({command}): stop it (`systemctl disable --now \
             codedeploy-agent`); `slipway-agent migrate --check` says what else there is to do"
        );
    }
    Ok(())
}
