//! `run`: the daemon.

use std::process::ExitCode;

use super::logging::Level;
use super::settings::Context;
use super::{ConfigFile, FAILED, doctor, fail, logging, other_agent, unreadable};
use crate::causes::with_causes;
use crate::daemon;
use crate::identity::Caller;
use crate::process::{self, Ended, Role};
use crate::service::CommandsService;

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
    for warning in doctor::exposed(&context) {
        tracing::warn!("{warning}");
    }
    match serve(&context, level).and_then(|ended| match ended {
        daemon::Ended::Stopped => Ok(()),
        daemon::Ended::Outdated => Err(process::begin_anew().into()),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log is where a daemon's last words belong; they are not printed a second time.
            tracing::error!("{}", with_causes(&error));
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

/// A start fails at once by what only a change of files or settings can mend. What may come by itself, as the
/// metadata service's answer does, is waited for.
async fn refuse_what_stays_wrong(service: &CommandsService) -> anyhow::Result<()> {
    match service.provider().look().await {
        Ok(Some(host)) => Ok(service.endpoint(&host).map(drop)?),
        Ok(None) => Ok(()),
        Err(error) if error.is_of_configuration() => Err(error.into()),
        Err(_) => Ok(()),
    }
}

fn serve(context: &Context, level: Level) -> anyhow::Result<daemon::Ended> {
    other_agent::refuse(context)?;
    let runtime = context.runtime()?;
    let provider = context.provider(Caller::Host);
    let engine = context.engine(runtime.handle().clone(), provider.clone())?;
    let service = context.service(provider)?;
    let options = context.daemon_options(level)?;
    runtime.block_on(refuse_what_stays_wrong(&service))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "slipway-agent starts");
    let ended = runtime.block_on(daemon::run(engine, service, context.gate.clone(), options));
    // A download that nobody waits for any more ends with the process.
    runtime.shutdown_background();
    ended
}
