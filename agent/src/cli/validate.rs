//! `validate`: what is wrong with a revision, before anybody deploys it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::output::{print, print_json};
use super::settings::Context;
use super::terminal::{Terminal, Tone};
use super::{FAILED, unreadable};
use crate::appspec::schema::schema;
use crate::deployment::{BundleType, RelativePath};
use crate::disk::{self, Dir, Scratch};
use crate::process;
use crate::revision::Revision;
use crate::unpack::{self, Content, UnpackError};
use crate::validate::{self, Audience, Finding, HostRules, Severity, Validation};

/// The longest AppSpec that is read: one byte more than its reader takes, which then says so.
const MAX_APPSPEC: u64 = (1 << 20) + 1;

/// What to look at, and how to show what was found.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A revision as a directory or a bundle (tar, tgz, tar.zst, zip), or an AppSpec file by itself
    #[arg(value_name = "PATH", required_unless_present = "print_schema")]
    path: Option<PathBuf>,
    /// Exit with 1 for warnings too
    #[arg(long)]
    strict: bool,
    /// Also warn of what AWS's agent refuses or takes differently
    #[arg(long)]
    portable: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where in the revision the AppSpec is
    #[arg(short = 'A', long, value_name = "FILE", default_value = "appspec.yml", value_parser = parse_filename)]
    appspec_filename: RelativePath,
    /// Configuration file of the hosts that it is for: what they refuse is an error too
    #[arg(long, short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the JSON Schema of AppSpec files, for an editor, and do nothing else
    #[arg(long)]
    print_schema: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    path: &'a Path,
    errors: usize,
    warnings: usize,
    /// Findings that are counted above and not listed below.
    omitted: usize,
    findings: &'a [Finding],
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let result = match &arguments.path {
        Some(path) if !arguments.print_schema => check(path, arguments),
        _ => print_json(&schema()).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| unreadable(&error))
}

fn check(path: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut hosts = match &arguments.config {
        Some(config) => {
            let context = Context::load(Some(config))?;
            context.warn_on_stderr();
            Host { rules: context.host_rules(), unpack: context.unpack_policy() }
        }
        None => Host { rules: HostRules::default(), unpack: unpack::Policy::default() },
    };
    if arguments.portable {
        hosts.rules.audience = Audience::BothAgents;
    }
    let validation = validated(path, &arguments.appspec_filename, &hosts)?;
    let (errors, warnings) = (validation.count(Severity::Error), validation.count(Severity::Warning));
    if arguments.json {
        let (omitted, findings) = (validation.omitted(), validation.findings());
        print_json(&Report { path, errors, warnings, omitted, findings })?;
    } else {
        print(&text(path, &validation, Terminal::stdout()))?;
    }
    let failed = errors > 0 || (arguments.strict && warnings > 0);
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// What the hosts are like that a revision is for.
struct Host {
    rules: HostRules,
    unpack: unpack::Policy,
}

fn validated(path: &Path, wanted: &RelativePath, host: &Host) -> anyhow::Result<Validation> {
    match Dir::open(path) {
        Ok(directory) => {
            let root = unpack::revision_root(&directory, wanted)?;
            Ok(validate::revision(&Revision::at(path.join(&root)), &path.join(root), wanted, &host.rules)?)
        }
        Err(error) if error.is_not_a_directory() => match unpack::recognize(path)? {
            Some(bundle_type) => bundle(path, bundle_type, wanted, host),
            None => {
                let text = disk::read_bounded(path, MAX_APPSPEC)?;
                Ok(validate::appspec_alone(&text, &path.display().to_string(), &host.rules))
            }
        },
        Err(error) => Err(error.into()),
    }
}

/// Unpacks a bundle into a private directory, which is removed in any case.
fn bundle(path: &Path, bundle_type: BundleType, wanted: &RelativePath, host: &Host) -> anyhow::Result<Validation> {
    let scratch = Scratch::make(&std::env::temp_dir()).context("there is no place to unpack the bundle")?;
    let remover = scratch.remover()?;
    process::on_interrupt(move || drop(remover.remove()))?;
    // Whose the files are does not matter here, and giving them away would only get in the way.
    let policy = unpack::Policy { ownership: unpack::Ownership::Own, ..host.unpack };
    let content = Content::Bundle { path, bundle_type };
    match unpack::into_scratch(content, scratch.dir(), wanted, &policy, |_| Vec::new()) {
        Ok(staged) => {
            let mut validation = validate::revision(&staged.revision, path, wanted, &host.rules)?;
            for warning in &staged.report.warnings {
                validation.warn(path, warning);
            }
            Ok(validation)
        }
        // What the agent refuses is a finding; what cannot be read is not known.
        Err(
            error @ (UnpackError::Path { .. }
            | UnpackError::Through { .. }
            | UnpackError::HardLink { .. }
            | UnpackError::Special { .. }
            | UnpackError::Covers { .. }
            | UnpackError::Symlink { .. }
            | UnpackError::UnsafeMode { .. }
            | UnpackError::Limit { .. }
            | UnpackError::Unsupported { .. }),
        ) => Ok(Validation::refused(path, &error)),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn text(path: &Path, validation: &Validation, terminal: Terminal) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut out, path, validation, terminal);
    out
}

fn write_text(out: &mut String, path: &Path, validation: &Validation, terminal: Terminal) -> std::fmt::Result {
    for finding in validation.findings() {
        let text = finding.to_string();
        // The excerpt that follows has its columns.
        let (message, excerpt) = text.split_once('\n').unwrap_or((&text, ""));
        let (tone, word) = match finding.severity {
            Severity::Error => (Tone::Bad, "error:"),
            Severity::Warning => (Tone::Warning, "warning:"),
        };
        writeln!(out, "{}", terminal.wrap("", message).replacen(word, &terminal.paint(tone, word), 1))?;
        if !excerpt.is_empty() {
            writeln!(out, "{excerpt}")?;
        }
    }
    let (errors, warnings) = (validation.count(Severity::Error), validation.count(Severity::Warning));
    if validation.omitted() > 0 {
        writeln!(out, "and {} more that are not shown", validation.omitted())?;
    }
    write!(out, "{}: ", path.display())?;
    match (errors, warnings) {
        (0, 0) => writeln!(out, "no mistakes found"),
        (0, warnings) => writeln!(out, "{}", counted(warnings, "warning")),
        (errors, 0) => writeln!(out, "{}", counted(errors, "error")),
        (errors, warnings) => writeln!(out, "{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn parse_filename(text: &str) -> Result<RelativePath, String> {
    RelativePath::parse(text).and_then(|path| {
        if path.is_root() { Err("the name of a file in the revision is expected".to_owned()) } else { Ok(path) }
    })
}
