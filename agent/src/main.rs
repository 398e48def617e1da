//! `slipway-agent`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a runner is one of these for each script, and is to stay small.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|command| command == "hook-runner") {
        return args.next().map_or(ExitCode::from(2), |dir| slipway_agent::hooks::runner::main(Path::new(&dir)));
    }
    ExitCode::from(2)
}
