//! `image-clean`: makes a host ready to be an image, and proves that it is.

mod secrets;
mod traces;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use self::traces::{Extent, Trace, Way, traces, warnings};
use super::cancel::daemon_runs;
use super::other_agent::{self, OtherAgent};
use super::output::{print, print_json, visible_text};
use super::settings::Context;
use super::{ConfigFile, FAILED, fail, logging, unreadable};
use crate::disk::{self, Dir, Lock, LockError};
use crate::hooks::attach;
use crate::install;
use crate::layout::Layout;

/// How much goes, or is looked at.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Remove too what belongs to deployments: revisions, lists of what is installed, and which was the last good one
    #[arg(long)]
    all: bool,
    /// Remove nothing: say what of this host is left, and exit with 1 if anything is
    #[arg(long)]
    check: bool,
    /// Print JSON
    #[arg(long, requires = "check")]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// What `--check` found.
#[derive(Debug, Serialize)]
struct Report {
    clean: bool,
    left: Vec<Trace>,
    warnings: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    logging::start_quiet(context.shape());
    let extent = if arguments.all { Extent::All } else { Extent::Host };
    if arguments.check {
        // Whoever bakes images must be able to tell what is left from what could not be looked at.
        return check(&context, extent, arguments).unwrap_or_else(|error| unreadable(&error));
    }
    match clean(&context, extent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn check(context: &Context, extent: Extent, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut left = traces(context, extent)?;
    left.extend(daemon(context)?);
    if let OtherAgent::Runs(_) = other_agent::look(context)? {
        let way =
            Way::ByHand("stop it: `systemctl disable --now codedeploy-agent`, then run `slipway-agent image-clean`");
        left.push(Trace { what: "AWS's agent runs".to_owned(), path: context.layout.root().to_owned(), way });
    }
    let report = Report { clean: left.is_empty(), left, warnings: warnings()? };
    match arguments.json {
        true => print_json(&report)?,
        false => print(&text(&report))?,
    }
    Ok(if report.clean { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// An agent that runs writes down again what was removed.
fn daemon(context: &Context) -> anyhow::Result<Option<Trace>> {
    let way = Way::ByHand("stop it: `systemctl stop slipway-agent`, then run `slipway-agent image-clean`");
    let trace = Trace { what: "the agent runs".to_owned(), path: context.layout.daemon_lock(), way };
    Ok(daemon_runs(context)?.then_some(trace))
}

fn clean(context: &Context, extent: Extent) -> anyhow::Result<()> {
    let layout = &context.layout;
    other_agent::refuse(context)?;
    // Held to the end: nothing begins meanwhile.
    let _locks = lock(layout)?;
    if let Some(script) = attach::any_running(&layout.hooks())? {
        bail!(
            "a script of a deployment still runs (its runner's directory is {}): wait for its end, or end it, and try again",
            script.display()
        );
    }
    for settled in install::settle_all_the_same(layout)? {
        print(&format!("{settled}\n"))?;
        if settled.is_unsettled() {
            bail!("nothing was removed, since transaction {} is not settled", settled.transaction);
        }
    }
    let mut by_hand = 0;
    for trace in traces(context, extent)? {
        match &trace.way {
            Way::ByHand(_) => {
                by_hand += 1;
                print(&line("left", &trace))?;
            }
            way => {
                remove(way, &trace.path).with_context(|| format!("not all was removed: {}", trace.what))?;
                print(&line("removed", &trace))?;
            }
        }
    }
    for warning in warnings()? {
        print(&format!("warning  {}\n", visible_text(&warning)))?;
    }
    print(match (by_hand, extent) {
        (0, Extent::Host) => {
            "Nothing of this host is left. What is deployed was kept; --all removes what the agent knows of that.\n"
        }
        (0, Extent::All) => {
            "Nothing of this host is left, and nothing that the agent knew of deployments. Their files were kept.\n"
        }
        _ => {
            "What is marked as left has to be removed by hand; `slipway-agent image-clean --check` says when nothing is left.\n"
        }
    })
}

/// All locks below the root but the one on paths, which recovery takes.
fn lock(layout: &Layout) -> anyhow::Result<Vec<Lock>> {
    let names = match Dir::open(layout.locks()) {
        Ok(locks) => locks.entries()?,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut held = Vec::new();
    for path in names.into_iter().map(|entry| layout.locks().join(entry.name)) {
        if path == layout.paths_lock() {
            continue;
        }
        match Lock::try_now(&path) {
            Ok(lock) => held.push(lock),
            Err(LockError::Held(_)) if path == layout.daemon_lock() => bail!(
                "the agent runs on {}: stop it (`systemctl stop slipway-agent`), and do not start it again before the image is taken",
                layout.root().display()
            ),
            Err(LockError::Held(_)) => {
                let holder = Lock::holder(&path)?.unwrap_or_else(|| "another command".to_owned());
                bail!("{holder} is under way ({} is locked): wait for its end, and try again", path.display())
            }
            Err(LockError::Disk(error)) => return Err(error.into()),
        }
    }
    Ok(held)
}

fn remove(way: &Way, path: &Path) -> Result<(), disk::Error> {
    match way {
        Way::Erased => disk::erase(path),
        Way::Removed => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
            let parent = Dir::open(parent)?;
            parent.remove_tree(name)?;
            parent.sync()
        }
        Way::Emptied => {
            let directory = Dir::open(path)?;
            for entry in directory.entries()? {
                directory.remove_tree(&entry.name)?;
            }
            directory.sync()
        }
        Way::ByHand(_) => Ok(()),
    }
}

fn text(report: &Report) -> String {
    let mut out: String = report.left.iter().map(|trace| line("left", trace)).collect();
    for warning in &report.warnings {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "warning  {}", visible_text(warning));
    }
    let _ = match report.left.len() {
        0 => writeln!(out, "Nothing of this host is left."),
        left => writeln!(out, "{left} things are left that must not be in an image: run `slipway-agent image-clean`"),
    };
    out
}

fn line(word: &str, Trace { what, path, way }: &Trace) -> String {
    let mut line = format!("{word:<7}  {what}: {}", path.display());
    if let Way::ByHand(remedy) = way {
        let _ = write!(line, " ({remedy})");
    }
    visible_text(&line) + "\n"
}
