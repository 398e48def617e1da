//! `slipway-agent`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: there is one of these for each script that runs, and it is to stay small.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|command| command == "hook-runner") {
        let Some(dir) = args.next() else {
            eprintln!("usage: slipway-agent hook-runner DIR");
            return ExitCode::from(2);
        };
        return slipway_agent::hooks::runner::main(Path::new(&dir));
    }
    ExitCode::from(2)
}
