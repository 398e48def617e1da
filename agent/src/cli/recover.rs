//! `recover`: finish or undo what an earlier life left.

use std::process::ExitCode;

use super::settings::Context;
use super::{ConfigFile, FAILED, fail, logging, unreadable};
use crate::install::{self, Ending};

pub(super) fn run(config: &ConfigFile) -> ExitCode {
    let context = match Context::load(config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start(context.verbosity(), context.shape());
    context.warn();
    match install::settle_all_the_same(&context.layout) {
        Ok(settled) if settled.is_empty() => {
            println!("Nothing to recover: no install was cut off.");
            ExitCode::SUCCESS
        }
        Ok(settled) => {
            let waiting = settled.iter().any(|one| matches!(one.ending, Ending::Waiting { .. }));
            for one in settled {
                println!("{one}");
            }
            if waiting { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
        }
        Err(error) => fail(&error.into()),
    }
}
