//! What a person, or a program, sees of a local deployment.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::live::{Live, Painter};
use super::{BroughtBack, LocalDeployment};
use crate::cli::next_steps::{self, Aftermath};
use crate::cli::notices::{self, Notices};
use crate::cli::output::{print_json, say, visible_lines, visible_text};
use crate::cli::terminal::{Terminal, Tone};
use crate::cli::when::{lasting, when};
use crate::ids::{DeploymentId, GroupId};
use crate::layout::Layout;
use crate::outcome::{ErrorCode, Failure, Outcome};

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Manner {
    /// A line for each event, and what runs as long as it does.
    Table,
    /// Nothing unless it fails.
    Quiet,
    /// One object at the end.
    Json,
}

/// A local deployment as it is shown. Warnings that come meanwhile stand below the line of their event.
pub(super) struct Show<'a> {
    layout: &'a Layout,
    deployment: &'a LocalDeployment,
    manner: Manner,
    terminal: Terminal,
    notices: &'a Notices,
    begun: Instant,
    /// The event that runs.
    event: Option<(String, Instant, Option<Live>)>,
    /// Behind whom the deployment waits.
    waits: Arc<Mutex<Option<String>>>,
    report: Report,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    deployment: DeploymentId,
    group: GroupId,
    application: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    brings_back: Option<DeploymentId>,
    outcome: Standing,
    seconds: f64,
    events: Vec<Event>,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureReport>,
    /// The scripts' output.
    log: PathBuf,
}

#[derive(Debug, Serialize)]
struct Event {
    name: String,
    outcome: Standing,
    seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct FailureReport {
    event: String,
    /// The protocol's code.
    code: ErrorCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    message: String,
    /// The end of the scripts' output.
    log: String,
    installed: Option<DeploymentId>,
    rollback_to: Option<DeploymentId>,
    next: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Succeeded,
    Failed,
    NoScripts,
}

impl<'a> Show<'a> {
    pub(super) fn begin(
        layout: &'a Layout,
        deployment: &'a LocalDeployment,
        manner: Manner,
        notices: &'a Notices,
    ) -> Self {
        notices.hold();
        let spec = &deployment.spec;
        let show = Self {
            layout,
            deployment,
            manner,
            terminal: Terminal::stdout(),
            notices,
            begun: Instant::now(),
            event: None,
            waits: Arc::default(),
            report: Report {
                deployment: spec.deployment_id.clone(),
                group: spec.group_id.clone(),
                application: spec.application_name.clone(),
                brings_back: deployment.brings_back.as_ref().map(|back| back.deployment.clone()),
                outcome: Standing::Succeeded,
                seconds: 0.0,
                events: Vec::new(),
                warnings: Vec::new(),
                failure: None,
                log: layout.scripts_log(&spec.group_id, &spec.deployment_id),
            },
        };
        let (id, application) = (&spec.deployment_id, visible_text(&spec.application_name));
        show.line(&format!("Deployment {id} of {application} to group {}", spec.group_id));
        if let Some(BroughtBack { deployment, good }) = &deployment.brings_back {
            let good = good.as_ref().map(|mark| format!(", good since {}", when(mark.at))).unwrap_or_default();
            show.line(&format!("  brings back          {deployment}{good}"));
        }
        show
    }

    /// To be told behind whom the deployment waits.
    pub(super) fn wait_listener(&self) -> impl Fn(Option<&str>) + Send + Sync + 'static {
        let (waits, is_table) = (Arc::clone(&self.waits), self.manner == Manner::Table);
        let is_live = self.terminal.is_terminal();
        move |holder| {
            *waits.lock().unwrap_or_else(PoisonError::into_inner) = holder.map(str::to_owned);
            if let Some(holder) = holder.filter(|_| is_table && !is_live) {
                eprintln!("  waiting behind {holder}");
            }
        }
    }

    /// An event without scripts.
    pub(super) fn skipped(&mut self, name: &str) {
        self.report.events.push(Event { name: name.to_owned(), outcome: Standing::NoScripts, seconds: None });
        self.line(&format!("  {name:<20} no scripts"));
        self.tell_notices();
    }

    pub(super) fn event_begins(&mut self, name: &str) {
        let begun = Instant::now();
        let live = (self.manner == Manner::Table)
            .then(|| Painter::new(self.terminal, name, begun, self.report.log.clone(), Arc::clone(&self.waits)))
            .and_then(Live::begin);
        self.event = Some((name.to_owned(), begun, live));
    }

    pub(super) fn event_ended(&mut self, outcome: &Outcome) {
        let Some((name, begun, live)) = self.event.take() else { return };
        if let Some(live) = live {
            live.end();
        }
        let took = begun.elapsed();
        let (standing, word) = match outcome {
            Outcome::Succeeded { .. } => {
                (Standing::Succeeded, format!("{} in {}", self.terminal.paint(Tone::Good, "succeeded"), lasting(took)))
            }
            Outcome::Failed(_) => {
                (Standing::Failed, format!("{} after {}", self.terminal.paint(Tone::Bad, "FAILED"), lasting(took)))
            }
        };
        self.line(&format!("  {name:<20} {word}"));
        outcome.warnings().lines().for_each(|warning| self.warn(warning));
        self.report.events.push(Event { name, outcome: standing, seconds: Some(took.as_secs_f64()) });
        self.tell_notices();
    }

    /// The end of a deployment that failed: why, and what to do next.
    pub(super) fn failed(mut self, event: &str, failure: &Failure, findings: Option<&str>) -> anyhow::Result<()> {
        let (id, group) = (self.report.deployment.clone(), self.report.group.clone());
        // Markers that cannot be read are told by the next command that needs them.
        let aftermath = Aftermath::read(self.layout, &group, Some(&id)).unwrap_or_default();
        let steps = aftermath.next_steps(Some(&id), Some(&group));
        if self.manner == Manner::Json {
            self.report.outcome = Standing::Failed;
            self.report.failure = Some(FailureReport {
                event: event.to_owned(),
                code: failure.code,
                script: Some(failure.script.clone()).filter(|script| !script.is_empty()),
                message: failure.message.clone(),
                log: failure.log.clone(),
                installed: aftermath.installed,
                rollback_to: aftermath.rollback_to,
                next: steps,
            });
            return self.print_report();
        }
        let terminal = Terminal::stderr();
        let gap = if self.manner == Manner::Table { "\n" } else { "" };
        let message = terminal.wrap("", &visible_lines(&failure.message));
        let mut out = format!("{gap}{} {event}\n{message}\n", terminal.paint(Tone::Bad, "FAILED in"));
        if !failure.log.is_empty() {
            out.push_str("\nThe end of the scripts' output:\n");
            for line in failure.log.lines() {
                out.push_str(&format!("  {}\n", visible_text(line)));
            }
        }
        if let Some(findings) = findings {
            out.push_str(&format!("\nAll else that `validate` finds in this revision:\n{findings}"));
        }
        eprintln!("{out}\n{}", next_steps::listed(&steps).trim_end());
        Ok(())
    }

    /// The end of one that did not.
    pub(super) fn succeeded(self) -> anyhow::Result<()> {
        if self.manner == Manner::Json {
            return self.print_report();
        }
        let took = lasting(self.begun.elapsed());
        let (id, group) = (&self.report.deployment, &self.report.group);
        self.line(&match &self.deployment.brings_back {
            Some(back) => format!("Group {group} is back at the revision of {}, in {took}.", back.deployment),
            None => format!("Deployed {id} in {took}."),
        });
        Ok(())
    }

    fn print_report(mut self) -> anyhow::Result<()> {
        self.report.seconds = self.begun.elapsed().as_secs_f64();
        print_json(&self.report)
    }

    /// Below the line of the event that brought them.
    fn tell_notices(&mut self) {
        self.notices.take().into_iter().for_each(|warning| self.warn(warning));
    }

    fn warn(&mut self, warning: String) {
        match self.manner {
            Manner::Json => self.report.warnings.push(warning),
            Manner::Quiet => notices::show(&warning),
            Manner::Table => notices::show_below(&warning),
        }
    }

    /// Whether anybody reads it is no matter of the deployment.
    fn line(&self, line: &str) {
        if self.manner == Manner::Table {
            let _ = say(&format!("{line}\n"));
        }
    }
}

impl Drop for Show<'_> {
    fn drop(&mut self) {
        if let Some((.., Some(live))) = self.event.take() {
            live.end();
        }
        self.notices.release();
    }
}
