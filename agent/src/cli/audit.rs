//! `audit`: shows the record of the scripts that were run on this host, and checks that it was not changed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::output::{print, print_json, visible_text};
use super::settings::Context;
use super::when::when;
use super::{ConfigFile, FAILED, fail, unreadable};
use crate::store::audit::{self, Line, Verified};

/// Selection of scripts, and the form of the report.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Check that no line was changed, removed or put in, and exit with 1 if one was
    #[arg(long)]
    verify: bool,
    /// Show the scripts of this deployment alone
    #[arg(short = 'd', long, value_name = "DEPLOYMENT")]
    deployment: Option<String>,
    /// Show at most this many lines, the newest ones
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 200)]
    number: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// The oldest script first.
#[derive(Debug, Serialize)]
struct Report {
    /// Result of the check.
    chain: Verified,
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    entries: VecDeque<Line<Value>>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    show(&context, arguments).unwrap_or_else(|error| fail(&error))
}

fn show(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut entries = VecDeque::new();
    let chain = audit::verify(&context.layout, |line| {
        if arguments.verify {
            return;
        }
        let Ok(line) = serde_json::from_slice::<Line<Value>>(line) else { return };
        if arguments.deployment.as_ref().is_none_or(|wanted| line.entry["deployment"] == wanted.as_str()) {
            entries.push_back(line);
            if entries.len() > arguments.number {
                entries.pop_front();
            }
        }
    })?;
    let is_whole = chain.broken.is_empty();
    let report = Report { chain, entries };
    match arguments.json {
        true => print_json(&report)?,
        false => print(&text(&report, arguments))?,
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn text(report: &Report, arguments: &Arguments) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    for line in &report.entries {
        let of = |name: &str| visible_text(line.entry[name].as_str().unwrap_or("-"));
        let (user, uid) = (of("user"), &line.entry["uid"]);
        let result =
            line.entry["result"].as_str().map(|result| format!(" with {}", visible_text(result))).unwrap_or_default();
        let _ = writeln!(
            out,
            "{:>6}  {}  {} {} {}{result}, as {user} ({uid}), {} of group {}",
            line.number,
            when(line.at),
            of("event"),
            of("script"),
            of("what"),
            of("deployment"),
            of("group"),
        );
        if line.entry["what"] == "begun" {
            let key = line.entry["bundle_key"]
                .as_str()
                .map(|key| format!(", bundle signed by the key {}", visible_text(key)));
            let _ = writeln!(out, "        sha256 {}, {}{}", of("sha256"), of("signer"), key.unwrap_or_default());
        }
    }
    let chain = &report.chain;
    for broken in &chain.broken {
        let _ = writeln!(out, "BROKEN {}:{}: {}", broken.place.file.display(), broken.place.line, broken.why);
    }
    for place in &chain.cut_off {
        let _ = writeln!(out, "{}:{}: a crash cut this line off", place.file.display(), place.line);
    }
    if chain.to == 0 {
        let _ = writeln!(out, "No script is on record.");
    } else if arguments.verify || !chain.broken.is_empty() {
        let state = if chain.broken.is_empty() { "whole" } else { "BROKEN" };
        let _ = writeln!(
            out,
            "The record is {state} from line {} to {}, which has the SHA-256 {}.",
            chain.from, chain.to, chain.head
        );
    }
    out
}
