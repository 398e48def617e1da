//! One install from its plan to its end.

use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use super::claims::Before;
use super::filesystems::Filesystems;
use super::names::Names;
use super::root::Root;
use super::threads::beside;
use super::{Cause, InstallRequest, apply, publish, rules, space, stage};
use crate::disk::{self, Dir, Mounts};
use crate::ids::TransactionId;
use crate::journal::{Begin, FORMAT, Journal, JournalError, Record, Replay, Staged};
use crate::layout::Layout;
use crate::plan::{Plan, Rule, Step};

/// Bytes that the records of one step take once it is prepared, and some for the last records.
const RESERVED_PER_STEP: u64 = 256;
const RESERVED: u64 = 4096;

/// An install that has a journal.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) names: Names,
    pub(super) begin: Begin,
    /// The steps that change something.
    pub(super) steps: Vec<Step>,
    /// Changes of the host's rules for SELinux labels.
    pub(super) rules: Vec<Rule>,
    /// The inodes of each step that stands for itself; empty before it was prepared.
    pub(super) staged: Vec<Staged>,
    pub(super) phase: Phase,
    pub(super) journal: Journal,
}

/// How far an install came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was staged.
    Begun,
    /// Something may be staged.
    Planned,
    /// Some targets may have their new state.
    Prepared,
    /// All targets have their new state.
    Committed,
    /// All targets have their old state.
    RolledBack,
    /// Nothing is left to do.
    Done,
}

/// Why an attempt failed, and how far it came.
pub(super) struct Failed {
    pub(super) cause: Cause,
    pub(super) phase: Phase,
}

impl Failed {
    /// What failed in that phase.
    pub(super) fn at<E: Into<Cause>>(phase: Phase) -> impl Fn(E) -> Self {
        move |error| Self { cause: error.into(), phase }
    }
}

/// An install that is begun.
#[derive(Clone, Copy)]
struct Begun<'a> {
    request: &'a InstallRequest<'a>,
    before: &'a Before,
    id: &'a TransactionId,
}

impl Begun<'_> {
    fn make_directory(&self) -> Result<(), Cause> {
        let all = Dir::open_or_create(self.request.layout.transactions(), 0o700)?;
        Ok(all.make_dir(self.id.as_str(), 0o700)?)
    }

    fn write_ahead(&self, plan: &Plan) -> Result<(), Cause> {
        let manifest = plan.manifest(self.before.serial, Timestamp::now());
        Ok(publish::write_ahead(self.request.layout, self.id, &manifest)?)
    }

    fn stage(&self, changes: (Vec<Step>, Vec<Rule>)) -> Result<(Transaction, Filesystems), Failed> {
        let transaction = Transaction::plan(self, changes).map_err(Failed::at(Phase::Begun))?;
        let staged = || {
            let filesystems = Filesystems::open(self.request.layout, self.id, &transaction.begin)?;
            stage::stage(&Root::open()?, &transaction.steps, &transaction.names, self.request.revision)?;
            Ok::<_, Cause>(filesystems)
        };
        let filesystems = staged().map_err(Failed::at(transaction.phase))?;
        Ok((transaction, filesystems))
    }
}

impl Transaction {
    /// Writes the plan down and stages what it brings. What the commit will publish is written before that, or,
    /// where most of it stays as it is, meanwhile.
    pub(super) fn begin(
        request: &InstallRequest<'_>,
        plan: Plan,
        before: &Before,
        id: &TransactionId,
    ) -> Result<(Self, Filesystems), Failed> {
        let begun = Begun { request, before, id };
        begun.make_directory().map_err(Failed::at(Phase::Begun))?;
        if !plan.is_mostly_kept() {
            begun.write_ahead(&plan).map_err(Failed::at(Phase::Begun))?;
            return begun.stage(plan.into_changes());
        }
        let changes = (plan.changes().cloned().collect(), plan.rules.clone());
        let (written, staged) = beside("ahead", || begun.write_ahead(&plan), || begun.stage(changes));
        let (transaction, filesystems) = staged?;
        written.map_err(Failed::at(transaction.phase))?;
        Ok((transaction, filesystems))
    }

    /// Writes the plan down. Nothing outside of the transaction's directory is changed.
    fn plan(begun: &Begun<'_>, (steps, rules): (Vec<Step>, Vec<Rule>)) -> Result<Self, Cause> {
        let Begun { request, before, id } = begun;
        let filesystems = space::filesystems(&steps, &Mounts::read()?)?;
        let mut journal = Journal::create(&request.layout.journal(id))?;
        Dir::open(request.layout.transaction(id))?.sync()?;
        Dir::open(request.layout.transactions())?.sync()?;
        let begin = Begin {
            format: FORMAT,
            group: request.group.clone(),
            deployment: request.deployment.clone(),
            previous: before.previous.clone(),
            filesystems,
            list: Some(before.list),
        };
        journal.append(&Record::Begin(begin.clone()))?;
        for step in &steps {
            journal.append(&Record::Step(Box::new(step.clone())))?;
        }
        for rule in &rules {
            journal.append(&Record::Rule(rule.clone()))?;
        }
        journal.reserve(RESERVED + RESERVED_PER_STEP * steps.len() as u64)?;
        journal.append(&Record::Planned { steps: steps.len(), rules: rules.len() })?;
        journal.sync()?;
        let names = Names(TransactionId::clone(id));
        Ok(Self { names, begin, steps, rules, staged: Vec::new(), phase: Phase::Planned, journal })
    }

    /// Prepares, applies and commits what was staged.
    pub(super) fn commit(&mut self, filesystems: &Filesystems) -> Result<(), Cause> {
        let root = Root::open()?;
        filesystems.sync()?;
        self.staged = apply::prepare(&root, &self.steps, &self.names)?;
        for staged in &self.staged {
            self.journal.append(&Record::Staged(*staged))?;
        }
        self.record(Record::Prepared, Phase::Prepared)?;
        // The rules first: of all that is still to come they are the likeliest to fail.
        rules::apply(&self.rules)?;
        apply::apply(&root, self)?;
        apply::sync_targets(&root, &self.steps, filesystems)?;
        self.record(Record::Commit, Phase::Committed)?;
        Ok(())
    }

    /// The transaction that a journal tells of; nothing if it did not get as far as a plan.
    pub(super) fn from_replay(id: TransactionId, path: &Path, replay: Replay) -> Result<Option<Self>, JournalError> {
        let nonsense = |problem: String| JournalError::Nonsense { path: path.to_owned(), problem };
        let mut records = replay.records.into_iter();
        let Some(Record::Begin(begin)) = records.next() else { return Ok(None) };
        let (mut steps, mut rules, mut staged, mut phase) = (Vec::new(), Vec::new(), Vec::new(), Phase::Begun);
        for record in records {
            phase = match (record, phase) {
                (Record::Step(step), Phase::Begun) if is_plain(&step.path) => {
                    steps.push(*step);
                    Phase::Begun
                }
                (Record::Rule(rule), Phase::Begun) => {
                    rules.push(rule);
                    Phase::Begun
                }
                (Record::Planned { steps: planned, rules: changed }, Phase::Begun)
                    if (planned, changed) == (steps.len(), rules.len()) =>
                {
                    Phase::Planned
                }
                (Record::Staged(one), Phase::Planned) if one.step < steps.len() => {
                    staged.push(one);
                    Phase::Planned
                }
                (Record::Prepared, Phase::Planned) => Phase::Prepared,
                (Record::Commit, Phase::Prepared) => Phase::Committed,
                (Record::RolledBack, Phase::Planned | Phase::Prepared) => Phase::RolledBack,
                (Record::Done, Phase::Committed) => Phase::Done,
                (record, phase) => return Err(nonsense(format!("{record:?} follows {phase:?}"))),
            };
        }
        Ok(Some(Self { names: Names(id), begin, steps, rules, staged, phase, journal: replay.journal }))
    }

    /// Writes down how far the install came, durably.
    pub(super) fn record(&mut self, record: Record, phase: Phase) -> Result<(), JournalError> {
        self.journal.append(&record)?;
        self.journal.sync()?;
        self.phase = phase;
        Ok(())
    }

    /// The steps that stand for themselves, with their inodes.
    pub(super) fn staged_steps(&self) -> impl DoubleEndedIterator<Item = (&Staged, &Step)> {
        self.staged.iter().filter_map(|staged| Some((staged, self.steps.get(staged.step)?)))
    }

    /// Removes the transaction's own directory.
    pub(super) fn forget(layout: &Layout, id: &TransactionId) -> Result<(), disk::Error> {
        let all = match Dir::open(layout.transactions()) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        if all.stat_if_exists(id.as_str())?.is_some() {
            all.remove_tree(id.as_str())?;
            all.sync()?;
        }
        Ok(())
    }
}

/// Whether a path is absolute, goes straight down, and is spelt as all of a plan are.
pub(super) fn is_plain(path: &Path) -> bool {
    path.file_name().is_some()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && path.is_absolute()
        && path.components().collect::<PathBuf>().as_os_str() == path.as_os_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_about_a_plain_path() {
        for (path, plain) in [
            ("/srv/app", true),
            ("/srv", true),
            ("/", false),
            ("", false),
            ("srv/app", false),
            ("/srv/../app", false),
            ("/srv/app/", false),
            ("/srv//app", false),
            ("/srv/./app", false),
        ] {
            assert_eq!(is_plain(Path::new(path)), plain, "{path}");
        }
    }
}
