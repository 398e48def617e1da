//! A plan as it is shown and as JSON.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::clash::Clash;
use super::diff;
use super::tree;
use crate::cli::output::shown;
use crate::disk::{self, Dir, Kind, Stat};
use crate::engine::Planned;
use crate::ids::{DeploymentId, GroupId};
use crate::plan::{Acl, Attrs, Change, Label, PathExpression, PathState, Plan, Rule, Sha256, Step, path_text};

/// What a deployment would do.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    group: GroupId,
    /// The deployment whose files are there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<DeploymentId>,
    /// In the order of paths.
    pub(super) changes: Vec<Changed>,
    /// Paths where something is that is left as it is, though the deployment would have it otherwise.
    pub(super) stays: Vec<Stays>,
    /// Rules for SELinux labels that change.
    rules: Vec<ChangedRule>,
    summary: Summary,
    warnings: Vec<String>,
    /// What is in the way. If there is anything, nothing of the rest would happen.
    clashes: Vec<Clash>,
}

/// One path that changes.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    #[serde(with = "path_text")]
    pub(super) path: PathBuf,
    pub(super) change: Change,
    pub(super) was: State,
    pub(super) becomes: State,
    #[serde(with = "path_text::option", skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) diff: Option<String>,
}

/// A rule that gives a label to a path.
#[derive(Debug, Serialize)]
struct ChangedRule {
    paths: PathExpression,
    was: Option<Label>,
    becomes: Option<Label>,
}

/// One path that stays.
#[derive(Debug, Serialize)]
pub(super) struct Stays {
    #[serde(with = "path_text")]
    pub(super) path: PathBuf,
    pub(super) why: &'static str,
    #[serde(skip)]
    pub(super) is_directory: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    add: usize,
    change: usize,
    remove: usize,
    unchanged: usize,
}

/// What is at a path, for people's programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum State {
    Nothing,
    File {
        /// Four octal digits.
        mode: String,
        uid: u32,
        gid: u32,
        #[serde(flatten)]
        extended: Extended,
        size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<Sha256>,
    },
    Directory {
        mode: String,
        uid: u32,
        gid: u32,
        #[serde(flatten)]
        extended: Extended,
    },
    Symlink {
        uid: u32,
        gid: u32,
        #[serde(with = "path_text")]
        target: PathBuf,
    },
    Other,
}

/// Access control lists, as `getfacl --numeric` shows them, and the SELinux label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Extended {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_acl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<Label>,
}

impl Report {
    pub(super) fn of(group: &GroupId, planned: &Planned) -> Result<Self, disk::Error> {
        let (steps, rules, warnings, clashes) = match &planned.plan {
            Ok(Plan { steps, rules, warnings, .. }) => (steps, rules, warnings, Vec::new()),
            Err(blocked) => {
                let clashes = blocked.conflicts.0.iter().map(Clash::from).collect();
                (&blocked.steps, &blocked.rules, &blocked.warnings, clashes)
            }
        };
        let occupied = occupied(steps)?;
        let mut report = Self {
            group: group.clone(),
            replaces: planned.previous.clone(),
            changes: Vec::new(),
            stays: Vec::new(),
            rules: rules.iter().map(ChangedRule::of).collect(),
            summary: Summary::default(),
            warnings: planned.warnings.iter().chain(warnings).cloned().collect(),
            clashes,
        };
        for step in steps {
            let count = match step.change {
                Change::Keep => {
                    report.summary.unchanged += 1;
                    continue;
                }
                Change::Retain => {
                    report.stays(step, "it was there before, and RETAIN leaves it");
                    continue;
                }
                Change::RemoveDirectory if occupied.contains(step.path.as_path()) => {
                    report.stays(step, "it holds what the deployment group did not install");
                    continue;
                }
                Change::Create => &mut report.summary.add,
                Change::Replace | Change::Attributes | Change::Touch => &mut report.summary.change,
                Change::Remove | Change::RemoveDirectory => &mut report.summary.remove,
            };
            *count += 1;
            report.changes.push(Changed::of(step));
            if step.change == Change::Replace && step.was().is_directory() {
                report.goes_with(&step.path)?;
            }
        }
        Ok(report)
    }

    fn stays(&mut self, step: &Step, why: &'static str) {
        self.stays.push(Stays { path: step.path.clone(), why, is_directory: step.was().is_directory() });
    }

    /// What is in a directory that something else takes the place of: the plan knows only that nobody
    /// else has anything in it.
    fn goes_with(&mut self, directory: &Path) -> Result<(), disk::Error> {
        let dir = Dir::root()?.open_dir(directory.strip_prefix("/").unwrap_or(directory))?;
        for entry in dir.entries()? {
            let path = directory.join(&entry.name);
            let was = State::found(&dir, &entry.name)?;
            let is_directory = matches!(was, State::Directory { .. });
            let change = if is_directory { Change::RemoveDirectory } else { Change::Remove };
            let gone = Changed { path: path.clone(), change, was, becomes: State::Nothing, source: None, diff: None };
            self.summary.remove += 1;
            self.changes.push(gone);
            if is_directory {
                self.goes_with(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn add_diffs(&mut self, planned: &Planned) -> Result<(), disk::Error> {
        diff::add(&mut self.changes, &planned.revision)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let installed = match &self.replaces {
            Some(deployment) => format!("deployment {deployment}"),
            None => "nothing".to_owned(),
        };
        let here = if self.replaces.is_some() { "" } else { " here" };
        let mut out = format!("Plan for group {}, which has {installed} installed{here}:\n", self.group);
        out.push_str(&tree::drawn(&self.changes, &self.stays, &self.clashes));
        for ChangedRule { paths, was, becomes } in &self.rules {
            let [was, becomes] = [was, becomes].map(|label| label.as_ref().map_or("none".to_owned(), Label::to_string));
            out.push_str(&format!("SELinux rule for {paths}: {was} → {becomes}\n"));
        }
        for warning in &self.warnings {
            out.push_str(&format!("warning: {warning}\n"));
        }
        for clash in &self.clashes {
            out.push_str(&format!("! {}\n", shown(Path::new(&clash.message))));
        }
        for diff in self.changes.iter().filter_map(|changed| changed.diff.as_deref()) {
            out.push('\n');
            out.push_str(diff);
        }
        let Summary { add, change, remove, unchanged } = self.summary;
        out.push_str(&format!("\n{add} to add, {change} to change, {remove} to remove, {unchanged} unchanged\n"));
        match self.clashes.len() {
            0 => {}
            1 => out.push_str("1 clash: nothing would be installed\n"),
            count => out.push_str(&format!("{count} clashes: nothing would be installed\n")),
        }
        out
    }
}

impl ChangedRule {
    fn of(rule: &Rule) -> Self {
        Self { paths: rule.paths.clone(), was: rule.was.clone(), becomes: rule.want.clone() }
    }
}

impl Changed {
    fn of(step: &Step) -> Self {
        Self {
            path: step.path.clone(),
            change: step.change,
            was: State::from(step.was()),
            becomes: State::from(&step.want),
            source: step.source.clone(),
            diff: None,
        }
    }
}

impl State {
    /// What is at a place of the host, without a digest and without access control lists.
    fn found(dir: &Dir, name: &OsStr) -> Result<Self, disk::Error> {
        let Stat { kind, mode, uid, gid, size, .. } = dir.stat(name)?;
        let mode = format!("{mode:04o}");
        Ok(match kind {
            Kind::File => Self::File { mode, uid, gid, extended: Extended::default(), size, sha256: None },
            Kind::Directory => Self::Directory { mode, uid, gid, extended: Extended::default() },
            Kind::Symlink => Self::Symlink { uid, gid, target: dir.read_link(name)? },
            Kind::Other => Self::Other,
        })
    }

    /// The kind in one word.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::File { .. } => "file",
            Self::Directory { .. } => "directory",
            Self::Symlink { .. } => "symlink",
            Self::Other => "device, socket or pipe",
        }
    }
}

impl From<&PathState> for State {
    fn from(state: &PathState) -> Self {
        let octal = |attrs: &Attrs| format!("{:04o}", attrs.mode);
        match state {
            PathState::Absent => Self::Nothing,
            PathState::File { attrs, size, sha256, .. } => Self::File {
                mode: octal(attrs),
                uid: attrs.uid,
                gid: attrs.gid,
                extended: Extended::from(attrs),
                size: *size,
                sha256: *sha256,
            },
            PathState::Directory { attrs } => {
                Self::Directory { mode: octal(attrs), uid: attrs.uid, gid: attrs.gid, extended: Extended::from(attrs) }
            }
            PathState::Symlink { uid, gid, target } => Self::Symlink { uid: *uid, gid: *gid, target: target.clone() },
            PathState::Other => Self::Other,
        }
    }
}

impl From<&Attrs> for Extended {
    fn from(attrs: &Attrs) -> Self {
        let text = |acl: Option<&Acl>| acl.map(Acl::to_string);
        Self { acl: text(attrs.access_acl()), default_acl: text(attrs.default_acl()), label: attrs.label.clone() }
    }
}

/// The directories that would go if they were empty by then, and will not be.
fn occupied(steps: &[Step]) -> Result<BTreeSet<&Path>, disk::Error> {
    let root = Dir::root()?;
    let goes = |step: &Step| matches!(step.change, Change::Remove | Change::RemoveDirectory);
    let mut going: BTreeSet<&Path> = steps.iter().filter(|step| goes(step)).map(|step| step.path.as_path()).collect();
    let mut occupied = BTreeSet::new();
    // What is in a directory comes after it.
    for step in steps.iter().rev().filter(|step| step.change == Change::RemoveDirectory) {
        let directory = root.open_dir(step.path.strip_prefix("/").unwrap_or(&step.path))?;
        if directory.entries()?.iter().any(|entry| !going.contains(step.path.join(&entry.name).as_path())) {
            going.remove(step.path.as_path());
            occupied.insert(step.path.as_path());
        }
    }
    Ok(occupied)
}
