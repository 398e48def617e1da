//! Lines of the agent itself among the output of a deployment's scripts.

use jiff::Timestamp;

use super::HookSettings;
use super::log::{DEPLOYMENTS_LOG, SCRIPTS_LOG, deployments_lines, scripts_lines};
use crate::disk::{self, AppendFile, Dir};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;
use crate::outcome::Warnings;

/// Appends a command's warnings to the deployment's log, and to that of all deployments: one line for each.
pub fn log_warnings(
    layout: &Layout,
    settings: &HookSettings,
    (group, deployment): (&GroupId, &DeploymentId),
    warnings: &Warnings,
) -> disk::Result<()> {
    let lines: Vec<String> = warnings.lines().map(|line| format!("Warning - {line}")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let logs = settings.logs(layout, group, deployment);
    let now = Timestamp::now();
    if let Some(parent) = logs.scripts.parent() {
        Dir::open_or_create(parent, 0o755)?;
    }
    AppendFile::open(logs.scripts, 0o644, SCRIPTS_LOG)?.append(scripts_lines(now, &lines).as_bytes())?;
    if let Some(path) = logs.deployments {
        let text = deployments_lines(now, deployment.as_str(), &lines);
        AppendFile::open(path, 0o644, DEPLOYMENTS_LOG)?.append(text.as_bytes())?;
    }
    Ok(())
}
