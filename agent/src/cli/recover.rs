//! `recover`: finish or undo what an earlier life left, or give it up.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;

use super::output::{print, shown};
use super::settings::Context;
use super::{ConfigFile, FAILED, fail, logging, unreadable};
use crate::ids::TransactionId;
use crate::install::{self, AbandonError, Abandonment};
use crate::layout::Layout;

/// How many paths are shown of each kind.
const SHOWN: usize = 50;

/// What to recover, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Give up this install, which cannot be settled: its paths stay as they are, and its group is free again
    #[arg(long, value_name = "TRANSACTION", value_parser = parse_transaction)]
    abandon: Option<TransactionId>,
    /// Give it up without asking
    #[arg(long, requires = "abandon")]
    yes: bool,
    #[command(flatten)]
    config: ConfigFile,
}

fn parse_transaction(text: &str) -> Result<TransactionId, String> {
    TransactionId::parse(text).map_err(|error| error.to_string())
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start(context.verbosity(), context.shape());
    context.warn();
    let done = match &arguments.abandon {
        Some(transaction) => abandon(&context.layout, transaction, Consent::of(arguments)),
        None => settle(&context.layout),
    };
    match done {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn settle(layout: &Layout) -> anyhow::Result<ExitCode> {
    let settled = install::settle_all_the_same(layout)?;
    if settled.is_empty() {
        print("Nothing to recover: no install was cut off.\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    for one in settled.iter().filter(|one| !one.is_unsettled()) {
        print(&format!("{one}\n"))?;
    }
    let left: Vec<_> = settled.iter().filter(|one| one.is_unsettled()).collect();
    for one in &left {
        eprintln!("slipway-agent: {one}");
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Whether the operator agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consent {
    Given,
    Asked,
}

impl Consent {
    fn of(arguments: &Arguments) -> Self {
        if arguments.yes { Self::Given } else { Self::Asked }
    }

    /// Asks on the terminal; without one nobody agrees.
    fn is_given(self) -> anyhow::Result<bool> {
        if self == Self::Given {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            eprintln!("slipway-agent: nothing was given up: say --yes, or run this on a terminal");
            return Ok(false);
        }
        print("Give it up? Type `yes`: ")?;
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        let agrees = answer.trim() == "yes";
        if !agrees {
            eprintln!("slipway-agent: nothing was given up");
        }
        Ok(agrees)
    }
}

fn abandon(layout: &Layout, transaction: &TransactionId, consent: Consent) -> anyhow::Result<ExitCode> {
    let left = match install::look_before_abandoning(layout, transaction) {
        Err(AbandonError::Settled(settled)) => {
            print(&format!("Nothing to give up: it could be settled after all. {settled}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(AbandonError::Done { record }) => {
            print(&format!("It is given up already; its record is kept in {}.\n", shown(&record)))?;
            return Ok(ExitCode::SUCCESS);
        }
        other => other?,
    };
    print(&text(&left))?;
    if !consent.is_given()? {
        return Ok(ExitCode::from(FAILED));
    }
    let left = install::abandon(layout, transaction)?;
    print(&format!("Transaction {transaction} is given up; its record is kept in {}.\n", shown(&left.record)))?;
    if let Some((group, _)) = &left.install {
        print(&format!("Group {group} can be deployed to again; that replaces what the group owns.\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(left: &Abandonment) -> String {
    let whose = match &left.install {
        Some((group, deployment)) => format!(" is the install of deployment {deployment} in group {group}"),
        None => " is an install of which the journal does not tell the group".to_owned(),
    };
    let Abandonment { transaction, old, new, neither, kept, .. } = left;
    let mut text = format!(
        "Transaction {transaction}{whose}. Given up, it leaves every path as it is now:\n  {} as before the install\n  {} as \
         the install wants\n  {} neither old nor new\n",
        counted(*old),
        counted(*new),
        counted(neither.len())
    );
    for one in neither.iter().take(SHOWN) {
        text.push_str(&format!("    {}: {}\n", shown(&one.path), super::output::visible_text(&one.found)));
    }
    text.push_str(&more(neither.len()));
    if !kept.is_empty() {
        text.push_str("Old states that are not put back stay beside their targets:\n");
        for path in kept.iter().take(SHOWN) {
            text.push_str(&format!("    {}\n", shown(path)));
        }
        text.push_str(&more(kept.len()));
    }
    text
}

fn counted(count: usize) -> String {
    if count == 1 { "1 path is".to_owned() } else { format!("{count} paths are") }
}

fn more(count: usize) -> String {
    match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("    and {more} more\n"),
    }
}
