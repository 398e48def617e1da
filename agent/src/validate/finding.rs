use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::Excerpt;
use crate::yaml::Position;

/// Findings beyond these are counted, not kept.
const KEPT: usize = 500;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A deployment fails of it.
    Error,
    /// A deployment does not fail of it, but hardly does what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The file that it is in.
    pub file: String,
    /// Where in the file, if it is about a place in it.
    #[serde(flatten)]
    pub at: Option<At>,
    /// What is wrong, and what to do.
    pub message: String,
    /// The line that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Excerpt>,
}

/// A place in a file, both numbers from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct At {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// All that is wrong with a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    findings: Vec<Finding>,
    omitted: [usize; 2],
}

impl Validation {
    /// What stands for a revision that cannot be deployed at all, for one reason.
    pub fn refused(shown: &Path, reason: &dyn fmt::Display) -> Self {
        let finding = Finding {
            severity: Severity::Error,
            file: shown.display().to_string(),
            at: None,
            message: reason.to_string(),
            source: None,
        };
        Self { findings: vec![finding], omitted: [0; 2] }
    }

    /// Adds a warning of the whole of a revision.
    pub fn warn(&mut self, shown: &Path, message: &dyn fmt::Display) {
        self.add(Finding {
            severity: Severity::Warning,
            file: shown.display().to_string(),
            at: None,
            message: message.to_string(),
            source: None,
        });
    }

    /// The findings, those of one file together, in its order.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings there are, beyond those that were kept too.
    pub fn count(&self, severity: Severity) -> usize {
        let kept = self.findings.iter().filter(|finding| finding.severity == severity).count();
        kept + self.omitted[severity as usize]
    }

    /// How many findings were counted and not kept.
    pub fn omitted(&self) -> usize {
        self.omitted.iter().sum()
    }

    /// Adds a finding to those of its file; the same one again is not.
    pub(super) fn add(&mut self, finding: Finding) {
        if self.findings.contains(&finding) {
            return;
        }
        if self.findings.len() == KEPT {
            return self.omit(finding.severity, 1);
        }
        let place = self.findings.iter().rposition(|other| other.file == finding.file && other.at <= finding.at);
        let first = self.findings.iter().position(|other| other.file == finding.file);
        let place = place.map(|before| before + 1).or(first).unwrap_or(self.findings.len());
        self.findings.insert(place, finding);
    }

    /// Counts findings that were not kept.
    pub(super) fn omit(&mut self, severity: Severity, count: usize) {
        self.omitted[severity as usize] += count;
    }
}

impl From<Position> for At {
    fn from(position: Position) -> Self {
        Self { line: position.line, column: position.column }
    }
}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some((self.line, self.column).cmp(&(other.line, other.column)))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// In the form that editors and CI services know, with the source below it.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.file)?;
        if let Some(at) = self.at {
            write!(out, "{}:{}:", at.line, at.column)?;
        }
        write!(out, " {}: {}", self.severity, self.message)?;
        if let (Some(at), Some(source)) = (self.at, &self.source) {
            let number = at.line.to_string();
            write!(out, "\n{number:>5} | {}", source.line)?;
            let (blank, carets) = (" ".repeat(source.caret), "^".repeat(source.width));
            write!(out, "\n{:>5} | {blank}{carets}", "")?;
        }
        Ok(())
    }
}
