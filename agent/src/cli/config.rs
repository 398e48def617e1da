//! `config`: the settings in effect, and where each came from.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::output::{print, print_json, visible_text};
use super::settings::Context;
use super::{ConfigFile, fail, unreadable};
use crate::config::{Described, Origin};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    settings: Vec<Row<'a>>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    key: &'static str,
    value: &'a serde_json::Value,
    origin: From<'a>,
}

/// An [`Origin`], for programs.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum From<'a> {
    Default,
    StrictProfile,
    File { file: &'a str, line: usize },
    Environment { variable: &'static str },
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    let described = context.settings.describe();
    let printed = if arguments.json {
        print_json(&report(&context, &described))
    } else {
        context.warn_on_stderr();
        print(&text(&described))
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn report<'a>(context: &Context, described: &'a [Described]) -> Report<'a> {
    let row = |setting: &'a Described| Row { key: setting.key, value: &setting.json, origin: from(&setting.origin) };
    Report { settings: described.iter().map(row).collect(), warnings: context.warnings().collect() }
}

fn from(origin: &Origin) -> From<'_> {
    match origin {
        Origin::Default => From::Default,
        Origin::StrictProfile => From::StrictProfile,
        Origin::File { file, line } => From::File { file, line: *line },
        Origin::Environment(variable) => From::Environment { variable },
    }
}

/// Three columns. A value that is longer than most keeps the others where they are.
fn text(described: &[Described]) -> String {
    const WIDEST: usize = 48;
    let values: Vec<String> = described.iter().map(|setting| visible_text(&setting.value)).collect();
    let key = described.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
    let value = values.iter().map(|value| value.chars().count()).max().unwrap_or(0).min(WIDEST);
    let row = |(setting, shown): (&Described, &String)| {
        format!("{:key$}  {shown:value$}  {}\n", setting.key, visible_text(&setting.origin.to_string()))
    };
    described.iter().zip(&values).map(row).collect()
}
