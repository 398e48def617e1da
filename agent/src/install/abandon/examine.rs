//! What is at each path of an install that is about to be given up.

use std::path::{Path, PathBuf};

use super::Abandonment;
use crate::disk;
use crate::install::names::Names;
use crate::install::root::{Root, name, shallow_state};
use crate::install::settle::{Drift, Seen, SettleError, look, missing_of};
use crate::install::story::Story;
use crate::install::transaction::Phase;
use crate::install::{attributes, lost};
use crate::layout::Layout;
use crate::plan::{Change, Identity, PathState, Step, trees};

/// An install, and the host as it is now.
pub(super) struct Scene<'a> {
    pub(super) root: &'a Root,
    pub(super) story: &'a Story,
    names: &'a Names,
    /// Whether the journal tells all that was done.
    is_certain: bool,
    /// A file system of the plan that is not mounted.
    missing: Option<PathBuf>,
    /// Names of the transaction beside what the groups own, where the journal does not tell all.
    beside: Vec<PathBuf>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// What was there before the install.
    Old,
    /// What the install wants there.
    New,
    /// Something else.
    Neither(String),
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        layout: &Layout,
        root: &'a Root,
        story: &'a Story,
        names: &'a Names,
    ) -> Result<Self, SettleError> {
        let missing = match &story.begin {
            Some(begin) => missing_of(&begin.filesystems, &story.steps)?,
            None => None,
        };
        let told =
            story.begin.as_ref().map(|begin| lost::Told { phase: story.phase, names, begin, steps: &story.steps });
        // Without its file system nothing can be looked for.
        let is_certain = story.is_whole
            && missing.is_none()
            && match told {
                Some(told) => lost::check(layout, root, &told).is_ok(),
                None => lost::check_begun(layout, root, names).is_ok(),
            };
        let beside = if is_certain { Vec::new() } else { lost::names_beside(layout, root, names)? };
        Ok(Self { root, story, names, is_certain, missing, beside })
    }

    /// Whether the journal tells all that was done.
    pub(super) fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Whether some paths may have their new state and others not.
    pub(super) fn may_have_moved(&self) -> bool {
        !self.is_certain || matches!(self.story.phase, Phase::Prepared | Phase::Committed)
    }

    /// Whether a path is where a file system is not mounted.
    pub(super) fn is_out_of_reach(&self, path: &Path) -> bool {
        self.missing.as_ref().is_some_and(|missing| path.starts_with(missing))
    }

    pub(super) fn abandonment(&self, record: PathBuf) -> Abandonment {
        let mut left = Abandonment {
            transaction: self.names.0.clone(),
            install: self.story.install(),
            old: 0,
            new: 0,
            neither: Vec::new(),
            kept: Vec::new(),
            record,
        };
        for (number, step, members) in trees(&self.story.steps) {
            match self.at(number, step) {
                Found::Old => left.old += 1 + members.len(),
                Found::New => left.new += 1 + members.len(),
                Found::Neither(found) => left.neither.push(Drift { path: step.path.clone(), found }),
            }
            left.kept.extend(self.kept(number, step));
        }
        left.kept.extend(self.beside.iter().cloned());
        left.kept.sort();
        left.kept.dedup();
        if !self.story.rules.is_empty() && self.may_have_moved() {
            let found = "it is as it is in the host's own rules (`semanage fcontext -l -C`)".to_owned();
            let rules = self.story.rules.iter();
            left.neither.extend(
                rules.map(|rule| Drift { path: rule.paths.as_str().into(), found: format!("SELinux rule: {found}") }),
            );
        }
        left
    }

    /// What is at the path of a step.
    pub(super) fn at(&self, number: usize, step: &Step) -> Found {
        if self.is_out_of_reach(&step.path) {
            return Found::Neither("its file system is not mounted".to_owned());
        }
        self.look(number, step).unwrap_or_else(|error| Found::Neither(error.to_string()))
    }

    fn look(&self, number: usize, step: &Step) -> Result<Found, disk::Error> {
        let (old, new) = self.inodes(number, step);
        let seen = look(self.root, &step.path, old, new)?;
        Ok(match (step.change, seen) {
            (Change::Attributes, Seen::Old) => self.attributes(step)?,
            (Change::Touch, Seen::Old) => self.touched(step)?,
            (Change::Create, Seen::Nothing) | (_, Seen::Old) => Found::Old,
            (Change::Remove | Change::RemoveDirectory, Seen::Nothing) | (_, Seen::New) => Found::New,
            (_, Seen::Nothing) => Found::Neither("nothing is there".to_owned()),
            (_, Seen::Strange) => Found::Neither(self.describe(&step.path)?),
        })
    }

    /// What is known of the inodes: less, as long as nothing was prepared.
    fn inodes(&self, number: usize, step: &Step) -> (Option<Identity>, Option<Identity>) {
        match self.story.staged.iter().find(|staged| staged.step == number) {
            Some(staged) => (staged.old, staged.new),
            None => (step.identity.as_deref().copied(), None),
        }
    }

    fn attributes(&self, step: &Step) -> Result<Found, disk::Error> {
        let (PathState::Directory { attrs: was }, PathState::Directory { attrs: want }) = (step.was(), &step.want)
        else {
            return Ok(Found::Old);
        };
        let now = attributes::of_directory(&self.root.dir(&step.path)?)?;
        Ok(if now == want.clone().with_label(None) {
            Found::New
        } else if now == was.clone().with_label(None) {
            Found::Old
        } else {
            Found::Neither(format!("a directory with {now}"))
        })
    }

    fn touched(&self, step: &Step) -> Result<Found, disk::Error> {
        let Some(facts) = self.root.facts(&step.path)? else { return Ok(Found::Old) };
        let is_new = match (shallow_state(&facts.stat), &step.want) {
            (PathState::File { modified: now, .. }, PathState::File { modified: wanted, .. }) => now == *wanted,
            _ => false,
        };
        Ok(if is_new { Found::New } else { Found::Old })
    }

    fn describe(&self, path: &Path) -> Result<String, disk::Error> {
        let Some(facts) = self.root.facts(path)? else { return Ok("nothing is there".to_owned()) };
        Ok(match shallow_state(&facts.stat) {
            PathState::File { size, .. } => format!("a file of {size} bytes that is neither"),
            other => format!("a {} that is neither", other.kind()),
        })
    }

    /// Where old states are kept that nothing puts back: what is known to be one, and what may be.
    fn kept(&self, number: usize, step: &Step) -> Vec<PathBuf> {
        let (old, new) = self.inodes(number, step);
        let names = [self.names.staged(&step.path), self.names.old(&step.path)];
        let is_committed = self.story.phase == Phase::Committed && self.is_certain;
        let is_kept = |at: &PathBuf| match look(self.root, at, old, new) {
            Ok(Seen::Old) => !is_committed,
            Ok(Seen::New) => !self.is_certain,
            Ok(Seen::Strange) => !(self.is_certain && self.story.phase == Phase::Planned),
            Ok(Seen::Nothing) => false,
            Err(_) => self.root.parent(&step.path).is_ok_and(|parent| parent.stat(name(at)).is_ok()),
        };
        names.into_iter().filter(is_kept).collect()
    }
}
