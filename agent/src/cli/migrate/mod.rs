//! `migrate --check`: what becomes of AWS's agent's configuration and state once this agent runs in its place. There
//! is nothing to convert: both read the same files.

mod note;
mod running;
mod settings;
mod state;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::note::{Note, Verdict};
use super::output::{print, print_json, visible_text};
use super::settings::Context;
use super::terminal::{Terminal, Tone};
use super::{ConfigFile, FAILED, logging, unreadable};

/// What to do.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Look, and change nothing; this agent takes over by itself when it is started
    #[arg(long, required = true)]
    check: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Whether nothing needs a person first.
    ready: bool,
    notes: Vec<Note>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start_quiet(context.shape());
    check(&context, arguments).unwrap_or_else(|error| unreadable(&error))
}

fn check(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut notes = settings::look(context);
    notes.extend(running::look(context)?);
    notes.extend(state::look(&context.layout, context.refusals().links)?);
    notes.sort_by_key(|note| note.verdict);
    let report = Report { ready: notes.iter().all(|note| note.verdict != Verdict::NeedsYou), notes };
    match arguments.json {
        true => print_json(&report)?,
        false => print(&text(&report, Terminal::stdout()))?,
    }
    Ok(if report.ready { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn text(report: &Report, terminal: Terminal) -> String {
    let mut out = String::new();
    let width = report.notes.iter().map(|note| note.about.len()).max().unwrap_or(0);
    for Note { verdict, about, what, todo } in &report.notes {
        // Writing to a string cannot fail.
        let word = verdict.word();
        let line = terminal.wrap(&format!("{word:<10}  {about:<width$}  "), &visible_text(what));
        let tone = if *verdict == Verdict::NeedsYou { Tone::Bad } else { Tone::Strong };
        let _ = writeln!(out, "{}{}", terminal.paint(tone, word), line.strip_prefix(word).unwrap_or(&line));
        if let Some(todo) = todo {
            let _ = writeln!(out, "{}", terminal.wrap("            to do: ", &visible_text(todo)));
        }
    }
    let count = |verdict| report.notes.iter().filter(|note| note.verdict == verdict).count();
    let _ = writeln!(
        out,
        "{} taken over, {} different, {} ignored, {} to be done by a person before slipway-agent is started",
        count(Verdict::TakenOver),
        count(Verdict::Different),
        count(Verdict::Ignored),
        count(Verdict::NeedsYou)
    );
    out
}
