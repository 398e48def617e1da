//! What a journal tells of an install, read without changing anything: for an install that cannot be settled.

use super::transaction::{Phase, is_plain};
use crate::ids::{DeploymentId, GroupId, TransactionId};
use crate::journal::{Begin, Journal, Record, Staged};
use crate::layout::Layout;
use crate::plan::{Rule, Step};

/// The readable part of a journal.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) begin: Option<Begin>,
    /// The steps that change something; all of them once the phase is past [`Phase::Begun`].
    pub(super) steps: Vec<Step>,
    pub(super) rules: Vec<Rule>,
    pub(super) staged: Vec<Staged>,
    pub(super) phase: Phase,
    /// Whether all of the journal was read.
    pub(super) is_whole: bool,
}

impl Story {
    pub(super) fn read(layout: &Layout, id: &TransactionId) -> Self {
        let (records, problem) = Journal::peek(&layout.journal(id));
        let mut story = Self {
            begin: None,
            steps: Vec::new(),
            rules: Vec::new(),
            staged: Vec::new(),
            phase: Phase::Begun,
            is_whole: problem.is_none(),
        };
        for record in records {
            if !story.take(record) {
                story.is_whole = false;
                break;
            }
        }
        story
    }

    /// Whose install it is, where that can be read.
    pub(super) fn install(&self) -> Option<(GroupId, DeploymentId)> {
        self.begin.as_ref().map(|begin| (begin.group.clone(), begin.deployment.clone()))
    }

    /// Whether the record makes sense after those before it.
    fn take(&mut self, record: Record) -> bool {
        match record {
            Record::Begin(begin) if self.begin.is_none() => self.begin = Some(begin),
            Record::Step(step) if self.phase == Phase::Begun && is_plain(&step.path) => self.steps.push(*step),
            Record::Rule(rule) if self.phase == Phase::Begun => self.rules.push(rule),
            Record::Staged(staged) if staged.step < self.steps.len() => self.staged.push(staged),
            Record::Planned { .. } => self.phase = Phase::Planned,
            Record::Prepared => self.phase = Phase::Prepared,
            Record::Commit => self.phase = Phase::Committed,
            Record::RolledBack => self.phase = Phase::RolledBack,
            Record::Done => self.phase = Phase::Done,
            Record::Begin(_) | Record::Step(_) | Record::Rule(_) | Record::Staged(_) => return false,
        }
        true
    }
}
