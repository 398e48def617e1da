//! `status`: what is deployed, what runs, and the last error.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::cancel::daemon_runs;
use super::groups::{self, GroupName, Groups};
use super::settings::Context;
use super::settings_daemon::Outdated;
use super::status_problems::{self, Problem};
use super::terminal::Terminal;
use super::when::when;
use super::{ConfigFile, fail, output, status_watch, unreadable};
use crate::daemon::status::{self, Connection, Status};
use crate::disk::Dir;
use crate::ids::{DeploymentId, GroupId};
use crate::install::{self, Unsettled};
use crate::layout::Layout;
use crate::ledger::Ledger;
use crate::store::{self, DriftCheck, Markers, Request};

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Go on showing it as it changes, with the scripts' last lines, until it is interrupted
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Show this deployment group alone: its id, its name, or its application's
    #[arg(short = 'g', long, value_name = "GROUP")]
    group: Option<GroupName>,
    #[command(flatten)]
    config: ConfigFile,
}

/// All that there is to show.
#[derive(Debug, Serialize)]
struct Report {
    root: std::path::PathBuf,
    /// What somebody has to look at, the worst first.
    problems: Vec<Problem>,
    /// What the configuration leaves open to others on the way to the services.
    exposed: Vec<String>,
    daemon: Option<Daemon>,
    /// Since when, by whom and why no new work is taken.
    paused: Option<Request>,
    cancelled: Vec<Cancelled>,
    groups: Vec<Group>,
    unreported: Vec<Unreported>,
    /// Installs that are not settled, and hold back their groups and paths.
    unsettled: Vec<Unsettled>,
}

#[derive(Debug, Serialize)]
struct Daemon {
    alive: bool,
    /// Settings that it has otherwise than the files, while it runs.
    outdated: Vec<Outdated>,
    #[serde(flatten)]
    status: Status,
}

#[derive(Debug, Serialize)]
struct Cancelled {
    deployment: DeploymentId,
    #[serde(flatten)]
    request: Request,
}

#[derive(Debug, Serialize)]
struct Group {
    id: GroupId,
    #[serde(flatten)]
    markers: Markers,
    retained: Vec<DeploymentId>,
    /// The last check of what is installed.
    drift: Option<DriftCheck>,
    /// Why what is kept of the group cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl Group {
    /// All that can be read of it: what cannot hides nothing of it, and no other group.
    fn look(layout: &Layout, id: GroupId) -> Self {
        let mut why = None;
        let markers = kept(store::read_markers(layout, &id), &mut why);
        let retained = kept(retained(layout, &id), &mut why);
        let drift = kept(store::read_drift_check(layout, &id), &mut why);
        Self { id, markers, retained, drift, unreadable: why }
    }
}

/// What was read, or nothing of it and the reason.
fn kept<T: Default, E: std::fmt::Display>(read: Result<T, E>, why: &mut Option<String>) -> T {
    read.unwrap_or_else(|error| {
        why.get_or_insert_with(|| error.to_string());
        T::default()
    })
}

#[derive(Debug, Serialize)]
struct Unreported {
    command: String,
    deployment: Option<DeploymentId>,
    state: String,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    show(&context, arguments).unwrap_or_else(|error| fail(&error))
}

fn show(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let named = arguments.group.as_ref().map(|name| Groups::look(&context.layout)?.called(name)).transpose()?;
    let only = Only(named);
    if arguments.watch {
        status_watch::watch(context, &only)?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = report(context, &only)?;
    if arguments.json {
        output::print_json(&report)?;
    } else {
        output::print(&text(&report, Terminal::stdout()))?;
    }
    Ok(status_problems::exit_code(&report.problems))
}

/// The groups that are shown; all of them where none is named.
#[derive(Debug)]
pub(super) struct Only(Option<Vec<GroupId>>);

impl Only {
    /// Whether a group is one of them.
    pub(super) fn shows(&self, group: &GroupId) -> bool {
        self.0.as_ref().is_none_or(|groups| groups.contains(group))
    }

    /// Whether all of the host is shown.
    pub(super) fn is_all(&self) -> bool {
        self.0.is_none()
    }
}

/// All of it as text, for whoever watches.
pub(super) fn text_of(context: &Context, only: &Only) -> anyhow::Result<String> {
    Ok(text(&report(context, only)?, Terminal::stdout()))
}

/// Whether a daemon runs and how it stands with its service, in a line.
pub(super) fn write_daemon_line(context: &Context, status: Option<&Status>) -> anyhow::Result<String> {
    let Some(status) = status else {
        return Ok(format!("No daemon has run on {} yet.", context.layout.root().display()));
    };
    let is_paused = if store::read_pause(&context.layout)?.is_some() { ", PAUSED" } else { "" };
    if !daemon_runs(context)? {
        return Ok(format!("slipway-agent does not run{is_paused}."));
    }
    let service = match &status.connection {
        Connection::Failing { why, .. } => format!("polls fail: {why}"),
        Connection::Connecting => "no answer yet".to_owned(),
        Connection::Connected { .. } | Connection::Stopped { .. } => "polls are answered".to_owned(),
    };
    Ok(format!("slipway-agent {} runs with pid {}{is_paused}; {service}.", status.version, status.pid))
}

fn report(context: &Context, only: &Only) -> anyhow::Result<Report> {
    let layout = &context.layout;
    let mut problems = Vec::new();
    let status = status::read(&layout.status()).unwrap_or_else(|error| {
        problems.push(Problem::RecordUnreadable { group: None, why: error.to_string() });
        None
    });
    let daemon = match status {
        Some(status) => {
            let alive = daemon_runs(context)?;
            let outdated = if alive { context.outdated()? } else { Vec::new() };
            Some(Daemon { alive, outdated, status })
        }
        None => None,
    };
    let mut groups = Vec::new();
    for id in groups::with_revisions(layout)? {
        if only.shows(&id) {
            groups.push(Group::look(layout, id));
        }
    }
    let unreported = match Dir::open(layout.ledger()) {
        Err(error) if error.is_not_found() => Vec::new(),
        _ => {
            let ledger = Ledger::look(layout);
            let pending =
                ledger.pending()?.entries.into_iter().map(|entry| (entry, "its result waits for the service"));
            let unfinished = ledger.unfinished()?.entries.into_iter().map(|entry| (entry, "begun"));
            pending
                .chain(unfinished)
                .map(|(entry, state)| Unreported {
                    command: entry.name,
                    deployment: entry.work.map(|work| work.deployment),
                    state: state.to_owned(),
                })
                .collect()
        }
    };
    // The files and not the daemon's word: they count whether or not one runs.
    let found = store::cancels(layout)?;
    for error in &found.unreadable {
        eprintln!("slipway-agent: {error}");
    }
    let cancelled = found.found.into_iter().map(|(deployment, request)| Cancelled { deployment, request }).collect();
    problems.extend(groups.iter().filter_map(|group| {
        let why = group.unreadable.clone()?;
        Some(Problem::RecordUnreadable { group: Some(group.id.clone()), why })
    }));
    let of_daemon = daemon.as_ref().map(|daemon| (daemon.alive, &daemon.status));
    problems.extend(status_problems::find(layout, of_daemon, only)?);
    Ok(Report {
        root: layout.root().to_owned(),
        problems,
        exposed: context.exposures().collect(),
        daemon,
        paused: store::read_pause(layout)?,
        cancelled,
        groups,
        unreported,
        unsettled: install::unsettled(layout)?,
    })
}

/// The deployments of a group whose revisions are on this host, the oldest first.
pub(super) fn retained(layout: &Layout, group: &GroupId) -> anyhow::Result<Vec<DeploymentId>> {
    let mut found = Vec::new();
    let dir = match Dir::open(layout.group(group)) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    for entry in dir.entries()? {
        if let Some(id) = entry.name.to_str().and_then(|name| DeploymentId::parse(name).ok())
            && let Ok(archive) = Dir::open(layout.archive(group, &id))
        {
            found.push((archive.stat_self()?.modified, id));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

fn text(report: &Report, terminal: Terminal) -> String {
    // A failure is what somebody looks for.
    let mut out = status_problems::text(&report.problems, terminal);
    // Writing to a string cannot fail.
    let _ = write_daemon(&mut out, report, terminal);
    for exposed in &report.exposed {
        let _ = writeln!(out, "{}", terminal.wrap("  EXPOSED   ", exposed));
    }
    let _ = write_requests(&mut out, report);
    let _ = write_groups(&mut out, report, terminal);
    out
}

fn write_daemon(out: &mut String, report: &Report, terminal: Terminal) -> std::fmt::Result {
    let Some(Daemon { alive, outdated, status }) = &report.daemon else {
        return writeln!(out, "No daemon has run on {} yet.", report.root.display());
    };
    if *alive {
        writeln!(out, "slipway-agent {} runs with pid {}.", status.version, status.pid)?;
        writeln!(out, "  started   {}", when(status.started))?;
    } else {
        writeln!(out, "slipway-agent does not run.")?;
        writeln!(out, "  started   {}, the last time", when(status.started))?;
    }
    if !outdated.is_empty() {
        let keys: Vec<&str> = outdated.iter().map(|setting| setting.key.as_str()).collect();
        writeln!(out, "  OUTDATED  the configuration has changed since it was read: {}", keys.join(", "))?;
        writeln!(out, "            `systemctl restart slipway-agent` takes it; `slipway-agent doctor` compares")?;
    }
    if let Some(host) = &status.host {
        writeln!(out, "  host      {host}")?;
    }
    if let Some(endpoint) = &status.endpoint {
        writeln!(out, "  service   {endpoint}")?;
    }
    match &status.connection {
        Connection::Connecting => writeln!(out, "            no answer yet")?,
        Connection::Connected { since } => writeln!(out, "            polls are answered, first {}", when(*since))?,
        Connection::Failing { next, .. } if *alive => {
            writeln!(out, "            polls fail; the next one is made {}", when(*next))?;
        }
        Connection::Failing { since, .. } => writeln!(out, "            polls failed at last, first {}", when(*since))?,
        Connection::Stopped { at } => writeln!(out, "            stopped in order {}", when(*at))?,
    }
    for running in &status.running {
        let deployment = running.deployment.as_deref().unwrap_or("a deployment whose specification is being fetched");
        let began = when(running.since);
        match &running.behind {
            Some(holder) => {
                writeln!(out, "  queued    {} of {deployment}, behind {holder}; it came {began}", running.command)?
            }
            None => writeln!(out, "  running   {} of {deployment}, which began {began}", running.command)?,
        }
    }
    for waiting in &report.unreported {
        let deployment = waiting.deployment.as_ref().map_or("?", |id| id.as_str());
        writeln!(out, "  pending   {} of {deployment}: {}", waiting.command, waiting.state)?;
    }
    // What still fails has been said.
    let said = match &status.connection {
        Connection::Failing { why, .. } if *alive => Some(why),
        _ => None,
    };
    if let Some(error) = status.last_error.as_ref().filter(|error| Some(&error.message) != said) {
        let text = format!("last error, {}: {}", when(error.at), output::visible_lines(&error.message));
        writeln!(out, "{}", terminal.wrap("  ", &text))?;
    }
    Ok(())
}

fn write_requests(out: &mut String, report: &Report) -> std::fmt::Result {
    if let Some(request) = &report.paused {
        writeln!(out, "  PAUSED    {request}; no new work is taken until `slipway-agent resume`")?;
    }
    for Cancelled { deployment, request } in &report.cancelled {
        writeln!(out, "  cancelled {deployment}, {request}")?;
    }
    Ok(())
}

fn write_groups(out: &mut String, report: &Report, terminal: Terminal) -> std::fmt::Result {
    if report.groups.is_empty() {
        return writeln!(out, "Nothing is deployed under {}.", report.root.display());
    }
    for group in &report.groups {
        match &group.markers.who {
            Some(who) => writeln!(out, "Group {} ({}, {})", group.id, who.application, who.group)?,
            None => writeln!(out, "Group {}", group.id)?,
        }
        if group.unreadable.is_some() {
            writeln!(out, "  record    UNREADABLE: see above; nothing is deployed to the group until it is mended")?;
            continue;
        }
        match &group.markers.last_successful {
            Some(mark) => writeln!(out, "  current   {}, installed {}", mark.deployment, when(mark.at))?,
            None => writeln!(out, "  current   none: no install has succeeded")?,
        }
        match group.markers.good.first() {
            Some(mark) => writeln!(out, "  good      {}", mark.deployment)?,
            None => writeln!(out, "  good      none to go back to")?,
        }
        writeln!(out, "  drift     {}", drift(group))?;
        let retained: Vec<&str> = group.retained.iter().map(DeploymentId::as_str).collect();
        let retained = if retained.is_empty() { "none".to_owned() } else { retained.join(" ") };
        writeln!(out, "{}", terminal.wrap("  retained  ", &retained))?;
    }
    Ok(())
}

fn drift(group: &Group) -> String {
    let current = group.markers.last_successful.as_ref().map(|mark| &mark.deployment);
    match &group.drift {
        Some(check) if current.is_none_or(|current| *current == check.deployment) => match check.drifted {
            0 => format!("none, checked {}", when(check.at)),
            1 => format!("1 path, checked {}", when(check.at)),
            count => format!("{count} paths, checked {}", when(check.at)),
        },
        Some(check) => format!("not checked since deployment {}, {}", check.deployment, when(check.at)),
        None => "never checked: `slipway-agent drift` does".to_owned(),
    }
}
