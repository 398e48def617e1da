//! `slipway-agent`: a deployment agent for Linux hosts.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = slipway_agent::process::open_to_signals() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    // A runner is one of these for each script; it needs no TLS and is to stay small.
    if let [_, command, directory] = arguments.as_slice()
        && command == "hook-runner"
    {
        return slipway_agent::hooks::runner::main(Path::new(directory));
    }
    slipway_agent::cli::main(arguments)
}
