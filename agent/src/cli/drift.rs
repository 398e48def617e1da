//! `drift`: what on the host no longer is what was installed.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::groups::{GroupName, Groups};
use super::output::{print, print_json, shown};
use super::settings::Context;
use super::when::when;
use super::{ConfigFile, FAILED, logging, unreadable};
use crate::install::{self, Additions, Audit, Difference, Drifted, InstalledBy};
use crate::store::{self, DriftCheck};

/// Which groups, and how to show what was found.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Look at this deployment group alone: its id, its name, or its application's
    #[arg(short = 'g', long, value_name = "GROUP")]
    group: Option<GroupName>,
    /// Report what somebody put into the deployments' directories too
    #[arg(long)]
    added: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Serialize)]
struct Report {
    groups: Vec<Checked>,
    /// Groups that could not be checked, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Checked {
    checked: Timestamp,
    #[serde(flatten)]
    audit: Audit,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start_quiet(context.shape());
    context.warn();
    // Whoever watches for drift must be able to tell it from a check that could not be made.
    drift(&context, arguments).unwrap_or_else(|error| unreadable(&error))
}

fn drift(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let groups = match &arguments.group {
        Some(name) => Groups::look(&context.layout)?.called(name)?,
        None => install::installed_groups(&context.layout)?.into_iter().collect(),
    };
    let additions = if arguments.added { Additions::Reported } else { Additions::Passed };
    let mut report = Report { groups: Vec::new(), unreadable: Vec::new() };
    // A group whose files are damaged hides no other one.
    for group in groups {
        match install::audit(&context.layout, &group, additions) {
            Ok(audit) => report.groups.extend(audit.map(|audit| checked(context, audit))),
            Err(error) => report.unreadable.push(format!("group {group}: {error}")),
        }
    }
    if let Some(name) = &arguments.group
        && report.groups.is_empty()
        && report.unreadable.is_empty()
    {
        bail!("group {name} has nothing installed on this host; `slipway-agent status` lists the groups");
    }
    if arguments.json {
        print_json(&report)?
    } else {
        print(&text(&report))?
    }
    if !report.unreadable.is_empty() {
        bail!("not checked: {}", report.unreadable.join("\n"));
    }
    let is_clean = report.groups.iter().all(|checked| checked.audit.drift.is_empty());
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Remembers the check for `status`. What was found stands also where that cannot be done.
fn checked(context: &Context, audit: Audit) -> Checked {
    let checked = Timestamp::now();
    let check = DriftCheck { at: checked, deployment: audit.deployment.clone(), drifted: audit.drift.len() };
    if let Err(error) = store::write_drift_check(&context.layout, &audit.group, &check) {
        tracing::warn!(%error, "`status` will not know of this check");
    }
    Checked { checked, audit }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    if report.groups.is_empty() && report.unreadable.is_empty() {
        out.push_str("Nothing is installed on this host.\n");
    }
    for Checked { audit, .. } in &report.groups {
        // Writing to a string cannot fail.
        let _ = write_group(&mut out, audit);
    }
    out
}

fn write_group(out: &mut String, audit: &Audit) -> std::fmt::Result {
    let Audit { group, deployment, installed_by, installed, paths, drift } = audit;
    let by = match installed_by {
        InstalledBy::ThisAgent => "",
        InstalledBy::AwsAgent => " by AWS's agent, which records no owners and modes",
    };
    write!(out, "Group {group}, deployment {deployment}, installed {}{by}: ", when(*installed))?;
    if drift.is_empty() {
        return writeln!(out, "{paths} paths, all as they were installed");
    }
    writeln!(out, "{} drifted, {paths} installed", drift.len())?;
    for Drifted { path, differences } in drift {
        let words: Vec<String> = differences.iter().map(words).collect();
        writeln!(out, "  {}: {}", shown(path), words.join(", "))?;
    }
    Ok(())
}

fn words(difference: &Difference) -> String {
    match difference {
        Difference::Missing => "missing".to_owned(),
        Difference::Type { was, is } => format!("{was} became {is}"),
        Difference::Content { was, is } if was == is => "content".to_owned(),
        Difference::Content { was, is } => format!("content, {was} → {is} bytes"),
        Difference::Mode { was, is } => format!("mode {was} → {is}"),
        Difference::Acl { was, is } => format!("acl {} → {}", list(was), list(is)),
        Difference::DefaultAcl { was, is } => format!("default acl {} → {}", list(was), list(is)),
        Difference::Label { was, is } => {
            format!("label {was} → {}", is.as_ref().map_or("none".to_owned(), ToString::to_string))
        }
        Difference::Owner { was, is } => format!("owner {}:{} → {}:{}", was.0, was.1, is.0, is.1),
        Difference::Target { was, is } => format!("link to {} → {}", shown(was), shown(is)),
        Difference::Added { is } => format!("{is} added by somebody"),
    }
}

/// An access control list, or that there is none.
fn list(acl: &Option<String>) -> &str {
    acl.as_deref().unwrap_or("none")
}
