//! Whether AWS's agent works on this root: by its pid file, and by its processes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::settings::Context;
use crate::config_files::DEFAULT_FILE;
use crate::disk::{self, Dir};
use crate::process::{Holder, ProcessTable, Row};

/// The program of its packages, which begins its title.
const PROGRAM: &str = "codedeploy-agent";
/// Where its packages put its pid file, below the directory that holds its root.
const PID_DIRECTORY: &str = "state/.pid";
/// How the name of the file ends that its first process keeps locked as long as it runs, beside its pid file.
const LOCK: &str = ".pid.lock";
/// Below its root, where it keeps the log of all deployments' scripts open.
const LOGS: &str = "deployment-logs";

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

/// Looks at its pid file, which is left behind when it is killed, and at all processes.
pub(super) fn look(context: &Context) -> anyhow::Result<OtherAgent> {
    let name = context.settings.program_name.as_str();
    let mut gone = None;
    for directory in pid_directories(context) {
        let file = directory.join(format!("{name}.pid"));
        let Some(text) = disk::read_if_exists(&file, 4096)? else { continue };
        let row = match String::from_utf8_lossy(&text).trim().parse() {
            Ok(pid) => Row::of(pid)?.filter(|row| !row.ended()),
            Err(_) => None,
        };
        // The number can be somebody else's by now.
        let title = format!("{name}:");
        let is_it = |holder: &Holder| holder.command.contains(PROGRAM) || holder.command.starts_with(&title);
        if let Some(holder) = row.map(|row| row.holder()).filter(is_it) {
            return Ok(OtherAgent::Runs(holder));
        }
        gone.get_or_insert(file);
    }
    Ok(match by_process(context)? {
        Some(holder) => OtherAgent::Runs(holder),
        None => gone.map_or(OtherAgent::None, OtherAgent::Gone),
    })
}

/// Where its pid file may be: where the configuration says, and where its packages put it beside its root.
fn pid_directories(context: &Context) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = context.settings.pid_dir.iter().cloned().collect();
    directories.extend(home(context).map(|home| home.join(PID_DIRECTORY)));
    directories.dedup();
    directories
}

/// A process of it that works on this root, as far as that can be known.
///
/// Its processes have titles, `codedeploy-agent: master 4242`, in place of their arguments, so its configuration cannot
/// be told from them. What tells are the files that they hold open: the lock beside the pid file, and the log of all
/// deployments below the root. Where they tell of no root, the agent is taken for one with its default configuration.
fn by_process(context: &Context) -> anyhow::Result<Option<Holder>> {
    let titles = [PROGRAM, context.settings.program_name.as_str()].map(|name| format!("{name}: "));
    for row in ProcessTable::now()?.running() {
        let holder = row.holder();
        let is_it = titles.iter().any(|title| {
            let work = holder.command.strip_prefix(title.as_str());
            work.is_some_and(|work| work.starts_with("master ") || work.contains(" of master "))
        });
        if is_it && works_here(context, row) {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}

fn works_here(context: &Context, row: &Row) -> bool {
    let root = context.layout.root();
    // A process in a container has files of its own by the same names. The root may not be there yet.
    let there = root.ancestors().find(|above| disk::exists(above).unwrap_or(false)).unwrap_or(root);
    if !is_same_directory(&row.seen_by(there), there) {
        return false;
    }
    let open = row.open_files();
    if open.iter().any(|file| file.starts_with(root)) {
        return true;
    }
    let logs = open.iter().filter_map(|file| file.parent());
    if logs.into_iter().any(|logs| logs.file_name() == Some(OsStr::new(LOGS))) {
        return false;
    }
    let lock = open.iter().find(|file| file.as_os_str().as_encoded_bytes().ends_with(LOCK.as_bytes()));
    let Some(directory) = lock.and_then(|lock| lock.parent()) else { return false };
    if pid_directories(context).iter().any(|known| is_same_directory(known, directory)) {
        return true;
    }
    // It was started with another configuration, or this agent was.
    let is_default = context.path.as_deref().is_none_or(|path| path == Path::new(DEFAULT_FILE));
    let home = directory.ancestors().nth(2).filter(|home| home.join(PID_DIRECTORY) == directory);
    is_default && home.is_none_or(|home| !disk::exists(&home.join("deployment-root")).unwrap_or(false))
}

fn is_same_directory(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| Dir::open(path).and_then(|dir| dir.stat_self()).map(|stat| (stat.device, stat.inode));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
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
