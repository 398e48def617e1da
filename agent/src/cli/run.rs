//! `run`: the daemon.

use std::process::ExitCode;

use super::logging::Level;
use super::settings::Context;
use super::{ConfigFile, FAILED, fail, logging, unreadable};
use crate::daemon;
use crate::process::{self, Ended, Role};

pub(super) fn run(config: &ConfigFile) -> ExitCode {
    match process::leave_init() {
        Ok(Role::Program) => {}
        Ok(Role::Over(how)) => return ended_like(how),
        Err(error) => return fail(&error.into()),
    }
    let context = match Context::load(config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    let level = logging::start_daemon(&context.logging());
    context.warn();
    match serve(&context, level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log is where a daemon's last words belong; they are not printed a second time.
            tracing::error!("{error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// As a shell tells it.
fn ended_like(how: Ended) -> ExitCode {
    let status = match how {
        Ended::Exit(code) => code,
        Ended::Signal(number) => 128 + number,
    };
    ExitCode::from(u8::try_from(status).unwrap_or(FAILED))
}

fn serve(context: &Context, level: Level) -> anyhow::Result<()> {
    let runtime = context.runtime()?;
    let engine = context.engine(runtime.handle().clone())?;
    let service = context.service()?;
    let options = context.daemon_options(level)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        host = service.identity().host_identifier,
        credentials = %service.identity().access.source,
        endpoint = %service.endpoint(),
        "slipway-agent starts"
    );
    let ended = runtime.block_on(daemon::run(engine, service, context.gate.clone(), options));
    // A download that nobody waits for any more ends with the process.
    runtime.shutdown_background();
    ended
}
