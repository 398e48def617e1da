//! Why the system would not execute a script, in words that lead to the remedy.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::disk::{self, Dir, Stat};
use crate::hooks::record::{End, RunnerSpec};
use crate::outcome::ErrorCode;
use crate::process::{Account, is_root};

/// The result of a script that the system would not execute.
pub(super) fn explain(spec: &RunnerSpec, error: &io::Error) -> End {
    let program = &spec.program;
    let (code, why) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) => (ErrorCode::ScriptNotExecutable, denied(&program.path, program.account.as_ref())),
        Some(Errno::EPERM) if program.account.is_some() && !is_root() => {
            (ErrorCode::UnknownError, "slipway-agent must run as root to become another user".to_owned())
        }
        Some(Errno::ENOENT) if Dir::open(&program.directory).is_err() => (
            ErrorCode::UnknownError,
            format!(
                "the directory {} that scripts start in does not exist: correct hook_directory",
                program.directory.display()
            ),
        ),
        Some(Errno::ENOENT) if program.path == Path::new("sudo") => (
            ErrorCode::ScriptNotExecutable,
            "sudo is not installed: install it, or run slipway-agent as root".to_owned(),
        ),
        Some(Errno::ENOENT) => (
            ErrorCode::ScriptNotExecutable,
            "its interpreter, or the loader that its binary names, is not on this host: install it, or correct the \
             script's first line"
                .to_owned(),
        ),
        Some(Errno::ENOEXEC) => (
            ErrorCode::ScriptNotExecutable,
            "it is neither a script nor a program for this machine's processor".to_owned(),
        ),
        Some(Errno::EAGAIN | Errno::ENOMEM) => (
            ErrorCode::UnknownError,
            format!(
                "the host has no room for another process ({error}): look at its memory and its limit of processes, then deploy again"
            ),
        ),
        _ => (ErrorCode::UnknownError, format!("the system refused: {error}")),
    };
    End::NotStarted {
        code,
        message: format!("Script at specified location: {} could not be executed: {why}", spec.subject.name),
    }
}

fn denied(path: &Path, account: Option<&Account>) -> String {
    if disk::is_mounted_noexec(path).unwrap_or(false) {
        return format!(
            "the file system that holds {} is mounted noexec: mount it without, or move root_dir to another one",
            path.display()
        );
    }
    let who = account.map_or("the agent's user", |account| account.name.as_str());
    match account.and_then(|account| closed_directory(path, account)) {
        Some((directory, stat)) => format!(
            "the user {who} may not pass {} (mode {:04o}, owner {}:{}): open it with `chmod o+x`, or run the script as \
             another user",
            directory.display(),
            stat.mode,
            stat.uid,
            stat.gid
        ),
        None => format!(
            "the user {who} may not execute {}: give the file a mode with x for that user in the bundle, or in the \
             AppSpec's permissions",
            path.display()
        ),
    }
}

/// The first directory on the way to `path` that the account may not pass.
fn closed_directory(path: &Path, account: &Account) -> Option<(PathBuf, Stat)> {
    let mut directories: Vec<&Path> = path.ancestors().skip(1).collect();
    directories.reverse();
    directories.into_iter().find_map(|directory| {
        let stat = Dir::open(directory).and_then(|dir| dir.stat_self()).ok()?;
        let bit = if stat.uid == account.uid {
            0o100
        } else if account.groups.contains(&stat.gid) {
            0o010
        } else {
            0o001
        };
        let closed = account.uid != 0 && stat.mode & bit == 0;
        closed.then(|| (directory.to_owned(), stat))
    })
}
