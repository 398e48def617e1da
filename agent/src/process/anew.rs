#![allow(clippy::disallowed_methods, reason = "process owns the starting of programs")]

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::Error;

/// Starts this program anew in this process, with the same arguments and environment; returns only where that fails.
pub fn begin_anew() -> Error {
    // Replaced by an upgrade, it is still to be had by this name.
    let program = std::env::current_exe()
        .ok()
        .filter(|program| crate::disk::exists(program).unwrap_or(false))
        .unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let mut arguments = std::env::args_os();
    let mut command = Command::new(&program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let source = command.args(arguments).exec();
    Error::Start { program, source }
}
