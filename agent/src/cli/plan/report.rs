//! A plan as it is shown and as JSON.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::diff;
use super::tree;
use crate::cli::output::shown;
use crate::disk::{self, Dir, Kind, Stat};
use crate::engine::Planned;
use crate::ids::{DeploymentId, GroupId};
use crate::plan::conflict::PathOwner;
use crate::plan::manifest::Installer;
use crate::plan::{Acl, Attrs, Change, Conflict, Conflicts, PathState, Plan, Step, path_text};

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
    summary: Summary,
    warnings: Vec<String>,
    /// None; the member is there so that programs need not ask.
    clashes: [(); 0],
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
        acls: Acls,
        size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
    Directory {
        mode: String,
        uid: u32,
        gid: u32,
        #[serde(flatten)]
        acls: Acls,
    },
    Symlink {
        uid: u32,
        gid: u32,
        #[serde(with = "path_text")]
        target: PathBuf,
    },
    Other,
}

/// Access control lists, as `getfacl --numeric` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Acls {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_acl: Option<String>,
}

impl Report {
    pub(super) fn of(planned: &Planned) -> Result<Self, disk::Error> {
        let Plan { group, steps, warnings, .. } = &planned.plan;
        let occupied = occupied(steps)?;
        let mut report = Self {
            group: group.clone(),
            replaces: planned.previous.clone(),
            changes: Vec::new(),
            stays: Vec::new(),
            summary: Summary::default(),
            warnings: planned.warnings.iter().chain(warnings).cloned().collect(),
            clashes: [],
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
            if step.change == Change::Replace && step.was.is_directory() {
                report.goes_with(&step.path)?;
            }
        }
        Ok(report)
    }

    fn stays(&mut self, step: &Step, why: &'static str) {
        self.stays.push(Stays { path: step.path.clone(), why, is_directory: step.was.is_directory() });
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
        let mut out = match &self.replaces {
            Some(deployment) => {
                format!("Plan for group {}, which has deployment {deployment} installed:\n", self.group)
            }
            None => format!("Plan for group {}, which has nothing installed here:\n", self.group),
        };
        out.push_str(&tree::drawn(&self.changes, &self.stays));
        for warning in &self.warnings {
            out.push_str(&format!("warning: {warning}\n"));
        }
        for diff in self.changes.iter().filter_map(|changed| changed.diff.as_deref()) {
            out.push('\n');
            out.push_str(diff);
        }
        let Summary { add, change, remove, unchanged } = self.summary;
        out.push_str(&format!("\n{add} to add, {change} to change, {remove} to remove, {unchanged} unchanged\n"));
        out
    }
}

impl Changed {
    fn of(step: &Step) -> Self {
        Self {
            path: step.path.clone(),
            change: step.change,
            was: State::from(&step.was),
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
            Kind::File => Self::File { mode, uid, gid, acls: Acls::default(), size, sha256: None },
            Kind::Directory => Self::Directory { mode, uid, gid, acls: Acls::default() },
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
                acls: Acls::from(attrs),
                size: *size,
                sha256: sha256.map(String::from),
            },
            PathState::Directory { attrs } => {
                Self::Directory { mode: octal(attrs), uid: attrs.uid, gid: attrs.gid, acls: Acls::from(attrs) }
            }
            PathState::Symlink { uid, gid, target } => Self::Symlink { uid: *uid, gid: *gid, target: target.clone() },
            PathState::Other => Self::Other,
        }
    }
}

impl From<&Attrs> for Acls {
    fn from(attrs: &Attrs) -> Self {
        let text = |acl: Option<&Acl>| acl.map(Acl::to_string);
        Self { acl: text(attrs.access_acl()), default_acl: text(attrs.default_acl()) }
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

/// Why a deployment would fail before it changed anything.
#[derive(Debug, Serialize)]
pub(super) struct Clashing {
    group: GroupId,
    /// None; the member is there so that programs need not ask.
    changes: [(); 0],
    clashes: Vec<Clash>,
}

#[derive(Debug, Serialize)]
struct Clash {
    #[serde(with = "path_text::option", skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    /// To whom something that exists already belongs, if anybody is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    message: String,
}

/// To whom a path belongs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Owner {
    Group { group: GroupId, deployment: DeploymentId },
    Packages { packages: Vec<String> },
}

impl Clashing {
    pub(super) fn new(group: &GroupId, conflicts: &Conflicts) -> Self {
        let clash = |conflict: &Conflict| Clash {
            path: path_of(conflict),
            owner: owner_of(conflict),
            message: conflict.to_string(),
        };
        Self { group: group.clone(), changes: [], clashes: conflicts.0.iter().map(clash).collect() }
    }

    /// For people: all of them, however many.
    pub(super) fn text(&self) -> String {
        let mut out = format!("Plan for group {}: nothing can be installed.\n", self.group);
        for clash in &self.clashes {
            out.push_str(&format!("! {}\n", shown(Path::new(&clash.message))));
        }
        let count = self.clashes.len();
        out.push_str(&format!("\n{count} {}\n", if count == 1 { "clash" } else { "clashes" }));
        out
    }
}

/// The path on the host that a clash is about, if it is about one.
fn path_of(conflict: &Conflict) -> Option<PathBuf> {
    match conflict {
        Conflict::Exists { path, .. }
        | Conflict::DuplicateTarget { path, .. }
        | Conflict::TwoPermissions { path, .. }
        | Conflict::FileObject { path, .. }
        | Conflict::DefaultAclOnFile { path, .. }
        | Conflict::NoAcls { path, .. }
        | Conflict::NoLabels { path, .. }
        | Conflict::ForeignEntries { path, .. }
        | Conflict::SymlinkInTheWay { path, .. }
        | Conflict::Unchangeable { path, .. }
        | Conflict::OwnState { path, .. } => Some(path.clone()),
        Conflict::MissingSource { .. }
        | Conflict::UnsupportedSource { .. }
        | Conflict::SameAccount { .. }
        | Conflict::NoSemanage { .. }
        | Conflict::UnknownLabel { .. }
        | Conflict::UnknownAccount { .. } => None,
    }
}

fn owner_of(conflict: &Conflict) -> Option<Owner> {
    let Conflict::Exists { owner, .. } = conflict else { return None };
    match owner {
        PathOwner::Group(Installer { group, deployment }) => {
            Some(Owner::Group { group: group.clone(), deployment: deployment.clone() })
        }
        PathOwner::Packages(packages) => Some(Owner::Packages { packages: packages.clone() }),
        PathOwner::Unknown => None,
    }
}
