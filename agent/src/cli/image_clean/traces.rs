//! What of a host must not be in an image of it. The same list is what is removed and what is looked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::secrets;
use crate::cli::settings::Context;
use crate::config::OnPremises;
use crate::config_files;
use crate::disk::{self, Dir};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;

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
        if exists(&path)? {
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
        Err(error) => tracing::warn!(%error, "if this file names a file of credentials, that one is not known"),
    }
    Ok(found.file("identity of this host", path, Way::Erased)?)
}

fn state(layout: &Layout, found: &mut Found) -> Result<(), disk::Error> {
    found.file("record of this host", layout.host(), Way::Removed)?;
    found.file("state of the agent", layout.status(), Way::Removed)?;
    found.file("name of the object that was fetched last", layout.last_object(), Way::Removed)?;
    for (what, directory) in [
        ("host commands", layout.ledger()),
        ("results for the service", layout.outbox()),
        ("runs of scripts", layout.hooks()),
        ("requests of operators", layout.requests()),
        ("deployments under way, of AWS's agent", layout.root().join(ONGOING)),
    ] {
        found.content(what, directory)?;
    }
    Ok(())
}

fn logs(context: &Context, found: &mut Found) -> Result<(), disk::Error> {
    let (layout, settings) = (&context.layout, &context.settings);
    if let Some(directory) = layout.deployments_log().parent() {
        found.content("output of scripts", directory.to_owned())?;
    }
    for (group, deployment) in revisions(layout)? {
        if let Some(directory) = layout.scripts_log(&group, &deployment).parent() {
            found.content("output of scripts", directory.to_owned())?;
        }
    }
    // The directory can be others' too, as /var/log is.
    for name in names(&settings.log_dir)? {
        if name.starts_with(settings.program_name.as_str()) && name.contains(".log") {
            found.file("log of the agent", settings.log_dir.join(name), Way::Removed)?;
        }
    }
    Ok(())
}

/// What is on the disk of deployments, but for the files that they have installed.
fn deployments(layout: &Layout, found: &mut Found) -> Result<(), disk::Error> {
    let groups: BTreeSet<GroupId> = revisions(layout)?.into_iter().map(|(group, _)| group).collect();
    for group in groups {
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

/// All deployments that have a directory.
fn revisions(layout: &Layout) -> Result<Vec<(GroupId, DeploymentId)>, disk::Error> {
    let mut all = Vec::new();
    for group in names(layout.root())?.iter().filter_map(|name| GroupId::parse(name).ok()) {
        for deployment in names(&layout.group(&group))? {
            all.extend(DeploymentId::parse(&deployment).ok().map(|deployment| (group.clone(), deployment)));
        }
    }
    Ok(all)
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

fn exists(path: &Path) -> Result<bool, disk::Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    match Dir::open(parent).and_then(|parent| parent.stat_if_exists(name)) {
        Ok(stat) => Ok(stat.is_some()),
        Err(error) if error.is_not_found() || error.is_not_a_directory() => Ok(false),
        Err(error) => Err(error),
    }
}
