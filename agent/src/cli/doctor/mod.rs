//! `doctor`: everything that this host needs to deploy, looked at one after the other, with what to do about it.

mod access;
mod endpoints;
mod files;
mod finding;
mod installs;
mod probe;
mod running;
mod space;
mod systemd;

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::finding::{Finding, Verdict};
use self::probe::Network;
use super::output::{print, print_json, visible_lines};
use super::settings::Context;
use super::terminal::{Terminal, Tone};
use super::{ConfigFile, FAILED, fail};
use crate::causes::with_causes;

pub(super) use files::warnings as exposed;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The bundle to ask S3 for, instead of the one that was fetched last
    #[arg(long, value_name = "s3://BUCKET/KEY")]
    bundle: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
}

/// All checks, in the order in which they are told: what others depend on comes first. Each looks at one thing,
/// which can be there several times, and leaves untried what cannot be looked at.
const CHECKS: [fn(&Host<'_>) -> Vec<Finding>; 16] = [
    configuration,
    exposure,
    endpoints::clock,
    endpoints::names,
    endpoints::tls,
    endpoints::endpoints,
    access::credentials,
    access::poll,
    access::bundle,
    access::state,
    installs::installs,
    space::space,
    files::permissions,
    systemd::unit,
    running::daemon,
    running::other_agent,
];

/// What the checks look at.
struct Host<'a> {
    arguments: &'a Arguments,
    /// The configuration, or what is wrong with it.
    context: Result<Context, String>,
    /// The services are asked once, by the first check that wants to know.
    network: OnceCell<Result<Network, String>>,
}

impl Host<'_> {
    /// The configuration; what needs it cannot be tried without.
    fn context(&self) -> Result<&Context, Verdict> {
        self.context.as_ref().map_err(|_| Verdict::NotTried("the configuration cannot be used".to_owned()))
    }

    /// The configuration, and what the services say.
    fn asked(&self) -> Result<(&Context, &Network), Verdict> {
        let context = self.context()?;
        let network = self.network.get_or_init(|| Network::ask(context).map_err(|error| with_causes(&error)));
        match network {
            Ok(network) => Ok((context, network)),
            Err(trouble) => Err(Verdict::NotTried(trouble.clone())),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Finding>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = Context::load(arguments.config.path.as_deref()).map_err(|error| with_causes(&error));
    let host = Host { arguments, context, network: OnceCell::new() };
    let checks: Vec<Finding> = CHECKS.iter().flat_map(|check| check(&host)).collect();
    let report = Report { healthy: !checks.iter().any(Finding::has_failed), checks };
    let printed = if arguments.json { print_json(&report) } else { print(&text(&report, Terminal::stdout())) };
    match printed {
        Ok(()) if report.healthy => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(FAILED),
        Err(error) => fail(&error),
    }
}

fn configuration(host: &Host<'_>) -> Vec<Finding> {
    let path = host.arguments.config.path.as_deref();
    let file = path.map_or_else(|| crate::config_files::DEFAULT_FILE.to_owned(), |path| path.display().to_string());
    let tried = format!("read {file}, conf.d beside it, and the environment");
    let verdict = match &host.context {
        Ok(context) => {
            let warnings: Vec<String> = context.warnings().collect();
            let found = match warnings.as_slice() {
                [] => "valid".to_owned(),
                warnings => format!("valid; {}", warnings.join("; ")),
            };
            Verdict::Passed(found)
        }
        Err(mistakes) => Verdict::Failed {
            found: mistakes.clone(),
            remedy: "correct what is named; `slipway-agent config` shows what is then in effect".to_owned(),
        },
    };
    vec![Finding::new("configuration", tried, verdict)]
}

/// What the configuration leaves open to others on the way to the services. It keeps nothing from working.
fn exposure(host: &Host<'_>) -> Vec<Finding> {
    let finding = |verdict| Finding::new("trust in services", "looked for plain HTTP and unchecked signers", verdict);
    match host.context() {
        Err(verdict) => vec![finding(verdict)],
        Ok(context) if context.exposed.is_empty() => {
            vec![finding(Verdict::Passed(
                "no plain HTTP leaves this host, and signers are checked or AWS's".to_owned(),
            ))]
        }
        Ok(context) => context
            .exposed
            .iter()
            .map(|exposure| {
                let found = format!("{exposure} ({})", exposure.origin);
                finding(Verdict::Warned { found, remedy: exposure.remedy().to_owned() })
            })
            .collect(),
    }
}

fn text(report: &Report, terminal: Terminal) -> String {
    let mut out = String::new();
    let width = report.checks.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for Finding { check, tried, verdict } in &report.checks {
        let (tone, word, found) = match verdict {
            Verdict::Passed(found) => (Tone::Good, "ok", format!("{found} ({tried})")),
            Verdict::Warned { found, .. } => (Tone::Warning, "warning", found.clone()),
            Verdict::Failed { found, .. } => (Tone::Bad, "FAILED", found.clone()),
            Verdict::NotTried(reason) => (Tone::Faint, "not tried", reason.clone()),
        };
        let line = terminal.wrap(&format!("{word:<9}  {check:<width$}  "), &visible_lines(&found));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}{}", terminal.paint(tone, word), line.strip_prefix(word).unwrap_or(&line));
        if let Verdict::Failed { remedy, .. } | Verdict::Warned { remedy, .. } = verdict {
            for (what, text) in [("tried", tried), ("remedy", remedy)] {
                let _ = writeln!(out, "{}", terminal.wrap(&format!("           {what}: "), &visible_lines(text)));
            }
        }
    }
    let count = |wanted: fn(&Verdict) -> bool| report.checks.iter().filter(|finding| wanted(&finding.verdict)).count();
    let failed = count(|verdict| matches!(verdict, Verdict::Failed { .. }));
    let untried = count(|verdict| matches!(verdict, Verdict::NotTried(_)));
    let _ = writeln!(out, "{} checks: {failed} failed, {untried} not tried", report.checks.len());
    out
}
