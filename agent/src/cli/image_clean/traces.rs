//! What of a host must not be in an image of it. The same list is what is removed and what is looked for.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::secrets;
use crate::cli::logging;
use crate::cli::settings::Context;
use crate::config::OnPremises;
use crate::config_files;
use crate::disk::{self, Dir};
use crate::layout::Layout;
use crate::store;

/// How much is a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// What is of one host.
    Host,
    /// What belongs to deployments too.
    All,
}

/// Something that must not be in an image.
#[derive(Debug, Serialize)]
pub(super) struct Trace {
    /// What it is, in words.
    pub(super) what: String,
    pub(super) path: PathBuf,
    #[serde(rename = "removed_by")]
    pub(super) way: Way,
}

/// How it is removed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// A file is written over and removed.
    #[serde(rename = "image-clean")]
    Erased,
    /// It is removed with all below it.
    #[serde(rename = "image-clean")]
    Removed,
    /// What is in the directory is removed.
    #[serde(rename = "image-clean")]
    Emptied,
    /// By a person, for whom this says how.
    #[serde(rename = "a_person")]
    ByHand(&'static str),
}

/// Where AWS's agent remembers what it is in the middle of, below the root.
const ONGOING: &str = "ongoing-deployment";
/// The machine's own id.
const MACHINE_ID: &str = "/etc/machine-id";
/// Where the journal is kept over a restart.
const JOURNAL: &str = "/var/log/journal";

/// All of them, secrets first: what is cut off has removed these.
pub(super) fn traces(context: &Context, extent: Extent) -> anyhow::Result<Vec<Trace>> {
    let mut found = Found::default();
    identity(context, &mut found)?;
    secrets::find(context, &mut found)?;
    state(&context.layout, &mut found)?;
    logs(context, &mut found)?;
    if let Some(metrics) = &*context.settings.metrics_file {
        found.file("figures for a monitoring system", metrics.clone(), Way::Removed)?;
    }
    if extent == Extent::All {
        deployments(&context.layout, &mut found)?;
    }
    Ok(found.0)
}

/// What is not the agent's, and tells one host from another all the same.
pub(super) fn warnings() -> Result<Vec<String>, disk::Error> {
    let mut warnings = Vec::new();
    let id = disk::read_if_exists(Path::new(MACHINE_ID), 4096)?.unwrap_or_default();
    if !matches!(id.trim_ascii(), b"" | b"uninitialized") {
        warnings.push(format!(
            "{MACHINE_ID} is not empty, so all clones have the same: `truncate --size 0 {MACHINE_ID}` lets each make its own"
        ));
    }
    if !names(Path::new(JOURNAL))?.is_empty() {
        warnings.push(format!(
            "{JOURNAL} holds this host's journal, the agent's messages too: `journalctl --rotate --vacuum-time=1s` empties it"
        ));
    }
    Ok(warnings)
}

/// Traces that were found.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<Trace>);

impl Found {
    pub(super) fn push(&mut self, what: impl Into<String>, path: PathBuf, way: Way) {
        self.0.push(Trace { what: what.into(), path, way });
    }

    /// If there is something of that name, a link to nothing too.
    fn file(&mut self, what: &str, path: PathBuf, way: Way) -> Result<(), disk::Error> {
        if disk::exists(&path)? {
            self.push(what, path, way);
        }
        Ok(())
    }

    /// If something is in it.
    fn content(&mut self, what: &str, path: PathBuf) -> Result<(), disk::Error> {
        match names(&path)?.len() {
            0 => {}
            entries => self.push(format!("{what} ({entries})"), path, Way::Emptied),
        }
        Ok(())
    }
}

fn identity(context: &Context, found: &mut Found) -> anyhow::Result<()> {
    let path = context.settings.on_premises_config_file.to_path_buf();
    // The file that names another one goes last.
    match config_files::on_premises(&path) {
        Ok(Some(parsed)) => {
            if let OnPremises::IamSession { credentials_file, .. } = parsed.identity {
                found.file("credentials of this host's session", credentials_file, Way::Erased)?;
            }
        }
        Ok(None) => {}
        Err(error) => {
            // It may name a file of credentials, and nothing else does.
            tracing::warn!(%error, "the identity of this host cannot be read");
            let way = Way::ByHand("it cannot be read: remove the file of credentials that it may name, then this one");
            return Ok(found.file("identity of this host", path, way)?);
        }
    }
    Ok(found.file("identity of this host", path, Way::Erased)?)
}

fn state(layout: &Layout, found: &mut Found) -> Result<(), disk::Error> {
    found.file("state of the agent", layout.status(), Way::Removed)?;
    found.file("settings of the daemon", layout.running_settings(), Way::Removed)?;
    found.file("name of the object that was fetched last", layout.last_object(), Way::Removed)?;
    for (what, directory) in [
        ("host commands", layout.ledger()),
        ("results for the service", layout.outbox()),
        ("runs of scripts", layout.hooks()),
        ("requests of operators", layout.requests()),
        ("installs that were given up", layout.abandoned()),
        ("deployments under way, of AWS's agent", layout.root().join(ONGOING)),
    ] {
        found.content(what, directory)?;
    }
    // Last: where this was cut off, the next host knows by it that what is left is another one's.
    found.file("record of this host", layout.host(), Way::Removed)
}

fn logs(context: &Context, found: &mut Found) -> Result<(), disk::Error> {
    let (layout, settings) = (&context.layout, &context.settings);
    if let Some(directory) = layout.deployments_log().parent() {
        found.content("output of scripts", directory.to_owned())?;
    }
    if let Some(directory) = layout.audit().parent() {
        found.content("record of the scripts that ran", directory.to_owned())?;
    }
    for (group, deployments) in store::deployed(layout)? {
        for deployment in deployments {
            if let Some(directory) = layout.scripts_log(&group, &deployment).parent() {
                found.content("output of scripts", directory.to_owned())?;
            }
        }
    }
    // The directory can be others' too, as /var/log is.
    let program = logging::file_name(&settings.program_name);
    for name in names(&settings.log_dir)? {
        if name.strip_prefix(&program).is_some_and(is_log_ending) {
            found.file("log of the agent", settings.log_dir.join(name), Way::Removed)?;
        }
    }
    Ok(())
}

/// What comes after a program's name in that of its log: `.log`, what rotation puts after that, and the day that AWS's
/// agent puts before it.
fn is_log_ending(ending: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let dated = ending.strip_suffix(".log").and_then(|rest| rest.strip_prefix('.'));
    ending == ".log"
        || ending
            .strip_prefix(".log.")
            .is_some_and(|rest| rest.split(['.', '-']).all(|part| is_number(part) || part == "gz"))
        || dated.is_some_and(|day| day.len() == 8 && is_number(day))
}

/// What is on the disk of deployments, but for the files that they have installed.
fn deployments(layout: &Layout, found: &mut Found) -> Result<(), disk::Error> {
    for (group, _) in store::deployed(layout)? {
        found.push("revisions of a deployment group", layout.group(&group), Way::Removed);
    }
    let own = layout.own();
    for (what, directory) in [
        ("lists of what is installed", layout.manifests()),
        ("records of the last deployments", own.join("groups")),
        ("digests of what is installed", own.join("digests")),
        ("checks for drift", own.join("drift")),
        ("installs on record", layout.transactions()),
        ("files for AWS's agent", layout.instructions()),
    ] {
        found.content(what, directory)?;
    }
    Ok(())
}

/// What is in a directory; nothing where there is none.
fn names(directory: &Path) -> Result<Vec<String>, disk::Error> {
    match Dir::open(directory) {
        Ok(directory) => {
            Ok(directory.entries()?.into_iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect())
        }
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_known_by_its_ending() {
        for ours in [".log", ".log.1", ".log.12", ".log.1.gz", ".20261121.log", ".log.2026-11-21"] {
            assert!(is_log_ending(ours), "{ours}");
        }
        for others in ["", "-x.log", "s.log", ".login", ".log.d", ".log.", ".2026.log", ".logrotate"] {
            assert!(!is_log_ending(others), "{others}");
        }
    }
}
