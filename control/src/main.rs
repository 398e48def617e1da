//! `slipway-control`: see [`slipway_control`].

use std::process::ExitCode;

use clap::Parser;
use slipway_control::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Libraries that ask for the process's provider find the one that everything here uses.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("slipway-control: another cryptographic provider was installed before");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("slipway-control: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slipway-control: {error:#}");
            ExitCode::FAILURE
        }
    }
}
